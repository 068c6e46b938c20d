"""Which task a label column holds, and why: said to the user, who can overrule it; and its classes."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from profactory.errors import ColumnError, ConfigError
from profactory.tasks import residue_cells, sequence_cells
from profactory.tasks.cells import LabelError, separator_of
from profactory.tasks.kinds import Answer, TaskKind
from profactory.tasks.task import READERS, Task


def infer_task(cells: Sequence[str], lengths: Sequence[int]) -> tuple[TaskKind, str]:
    """Tell which task a label column holds.

    Parameters
    ----------
    cells
        Label cells, raw text. A few thousand are enough.
    lengths
        Residues of each sequence.

    Returns
    -------
    kind, reason
        The task, and a clause that says what in the column led to it.

    Raises
    ------
    ColumnError
        If every cell is empty or nearly every cell is different text, as in a column of names.
    """
    filled = [(cell, int(n)) for cell, n in zip(cells, lengths, strict=True) if cell.strip()]
    if not filled:
        raise ColumnError("The label column is empty.", fix="choose another with --label-column")
    for attempt in (*residue_cells.RECOGNISERS, *sequence_cells.RECOGNISERS):
        found = attempt(filled)
        if found:
            return found
    raise ColumnError(
        f"The label column holds {len({c for c, _ in filled}):,} different texts in {len(filled):,} rows;"
        " it looks like names, not like labels.",
        expected="classes that repeat, numbers, lists of classes, or one label per residue",
        fix="choose the column with --label-column, or the task with --task",
    )


def name_separator(kind: TaskKind, cells: Iterable[str]) -> str:
    """Return what separates the names of several classes; the cells are gone through once."""
    if kind.answer is not Answer.CLASSES:
        return ","
    return separator_of(cells, per_residue=kind.per_residue)


def collect_names(kind: TaskKind, cells: Iterable[str], lengths: Iterable[int], separator: str) -> set[str]:
    """Return the classes that label cells name.

    Cells that cannot be read are passed over here; :meth:`Task.encode` names them with their rows.
    """
    names: set[Any] = set()
    read = READERS[kind]
    for cell, length in zip(cells, lengths, strict=True):
        try:
            found = read(cell, length, separator)
        except LabelError:
            continue
        items = found if kind.per_residue else [found]
        names.update(
            items if kind.answer is Answer.CLASS else itertools.chain.from_iterable(filter(None, items))
        )
    return names - {None}


def task_of_names(
    kind: TaskKind, names: Collection[str], separator: str = ",", *, targets: Sequence[str] = ("label",)
) -> Task:
    """Return a task with its classes in order.

    Raises
    ------
    ConfigError
        If a task of classes has fewer than it takes to learn anything.
    """
    if not kind.is_classification:
        return Task(kind, targets=tuple(targets))
    if len(names) < (1 if kind.is_multi_label else 2):
        shown = f" ({next(iter(names))!r})" if names else ""
        raise ConfigError(
            f"The label column holds {len(names)} class{'' if len(names) == 1 else 'es'}{shown};"
            " there is nothing to learn.",
            expected="at least two classes",
            fix="choose another --label-column",
        )
    return Task(kind, tuple(sorted(names, key=natural_key)), targets=tuple(targets), separator=separator)


def natural_key(name: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that puts class ``10`` after ``9``."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, float(part), "") if part.isdigit() else (1, 0.0, part) for part in parts if part)
