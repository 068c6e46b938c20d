"""Per-residue predictions as a long table: a row per residue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from profactory.data.residues import clean_sequences
from profactory.tasks import Task
from profactory.tasks.cells import UNLABELLED


class ResidueTable:
    """Turns rows with a string or list per sequence into rows per residue.

    Parameters
    ----------
    task
        A residue task.
    identifier, sequence
        Columns of the input: the one that names its rows, if there is one, and the sequences.
    ours
        What is called what among the columns of the predictions.
    """

    def __init__(self, task: Task, identifier: str | None, sequence: str, ours: Mapping[str, str]) -> None:
        self._task = task
        self._sequence = sequence
        self._identifier = identifier
        lists = ("prediction", "probability_")
        self._lists = {name: column for name, column in ours.items() if name.startswith(lists)}
        self._row = 0

    @property
    def columns(self) -> list[str]:
        """Names of the columns: the row of the input (from 1), its identifier, position, residue, outputs."""
        named = [] if self._identifier is None else [self._identifier]
        return ["row", *named, "position", "residue", *self._lists]

    def expand(self, cells: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the rows of the residues that have a prediction."""
        long: dict[str, list[Any]] = {name: [] for name in self.columns}
        sequences = clean_sequences(pa.array(cells[self._sequence], pa.string())).sequences.to_pylist()
        for row, sequence in enumerate(sequences):
            self._row += 1
            items = {name: self._items(name, cells[column][row]) for name, column in self._lists.items()}
            read = [place for place, item in enumerate(items["prediction"]) if self._is_prediction(item)]
            long["row"] += [self._row] * len(read)
            if self._identifier is not None:
                long[self._identifier] += [cells[self._identifier][row]] * len(read)
            long["position"] += [place + 1 for place in read]
            long["residue"] += [sequence[place] for place in read]
            for name, values in items.items():
                long[name] += [self._value(name, values[place]) for place in read]
        return long

    def _items(self, name: str, cell: str | None) -> Sequence[str]:
        """Take the text of a whole sequence apart."""
        if cell is None:
            return []
        return cell if self._task.is_string and name == "prediction" else cell.split(",")

    def _is_prediction(self, item: str) -> bool:
        """Tell a prediction from what fills the place of a residue that was not read."""
        if self._task.is_multi_label:
            return item != UNLABELLED
        return item in self._task.classes if self._task.is_classification else bool(item)

    def _value(self, name: str, item: str) -> str | np.float32:
        is_text = self._task.is_classification and not name.startswith("probability_")
        return item if is_text else np.float32(item)
