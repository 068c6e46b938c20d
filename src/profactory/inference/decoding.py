"""Outputs of a model as the columns that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from profactory.inference.novelty import Predicted
from profactory.tasks import Calibration, Task, Values
from profactory.tasks.cells import UNLABELLED
from profactory.tasks.task import Column


def no_outputs(task: Task) -> Predicted:
    """Return the outputs of no sequence at all."""
    empty = np.empty((0, task.n_outputs), np.float32)
    return Predicted(empty, np.zeros(1, np.int64) if task.per_residue else None)


def decode_rows(
    task: Task,
    sequences: Sequence[str],
    outputs: Values,
    *,
    calibration: Calibration,
    probabilities: bool = True,
) -> dict[str, list[Any]]:
    """Turn outputs into columns; per-residue text is exactly as long as its sequence.

    Residues that the model did not read get an empty item (``-`` in strings of one-letter classes, or
    ``?`` if that is a class; ``?`` in lists of several classes).

    Parameters
    ----------
    task
        What was predicted.
    sequences, outputs
        Clean sequences, and what :meth:`Predictor.predict_outputs` gave for them.
    calibration
        Adds sets or intervals.
    probabilities
        Give ``probability_<class>`` too.
    """
    decoded = {**task.decode(outputs, probabilities=probabilities), **calibration.columns(task, outputs)}
    return fill_unread(task, sequences, outputs, decoded)


def fill_unread(
    task: Task, sequences: Sequence[str], outputs: Values, decoded: Mapping[str, Column]
) -> dict[str, list[Any]]:
    """Give per-residue text an empty item for each residue that was not read; see :func:`decode_rows`."""
    columns = {name: list(column) for name, column in decoded.items()}
    if not task.per_residue:
        return columns
    unread = [len(sequence) - int(read) for sequence, read in zip(sequences, outputs.lengths, strict=True)]
    for name, column in columns.items():
        item = _unread_item(task) if name == "prediction" else ","
        for row, missing in enumerate(unread):
            column[row] += item * missing
    return columns


def _unread_item(task: Task) -> str:
    """Return what a prediction says of a residue that was not read."""
    if task.is_string:
        return "?" if "-" in task.classes else "-"
    return f",{UNLABELLED}" if task.is_multi_label else ","  # an empty item is a residue of no class
