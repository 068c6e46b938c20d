"""Which task a label column holds, and why: said to the user, who can overrule it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from profactory.errors import ColumnError, ConfigError
from profactory.tasks import cells as reading
from profactory.tasks.task import Task, TaskKind

MOST_INTEGER_CLASSES = 20
MOSTLY = 0.8  # share of cells that decides what the column is meant to be; the rest are bad rows


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
    for attempt in (_as_residues, _as_numbers, _as_sets, _as_classes):
        found = attempt(filled)
        if found:
            return found
    raise ColumnError(
        f"The label column holds {len({c for c, _ in filled}):,} different texts in {len(filled):,} rows;"
        " it looks like names, not like labels.",
        expected="classes that repeat, numbers, lists of classes, or one label per residue",
        fix="choose the column with --label-column, or the task with --task",
    )


def fit_task(
    kind: TaskKind,
    cells: Sequence[str],
    lengths: Sequence[int] = (),
    *,
    targets: Sequence[str] = ("label",),
) -> Task:
    """Collect the classes of a label column.

    Cells that cannot be read are passed over here; :meth:`Task.encode` names them.

    Raises
    ------
    ConfigError
        If a classification column holds fewer than two classes.
    """
    if not kind.is_classification:
        return Task(kind, targets=tuple(targets))
    separator = reading.separator_of(list(cells)) if kind is TaskKind.MULTI_LABEL else ","
    names = _collect_names(kind, cells, lengths, separator)
    if not names or (len(names) < 2 and kind is not TaskKind.MULTI_LABEL):
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


def _collect_names(kind: TaskKind, cells: Sequence[str], lengths: Sequence[int], separator: str) -> set[str]:
    names: set[str] = set()
    if kind is TaskKind.RESIDUE_CLASSIFICATION:
        for cell, length in zip(cells, lengths, strict=True):
            if len(cell) == length and not cell.startswith("["):
                names.update(cell)
            else:
                names.update(_readable_residue_names(cell, int(length)))
        return names - {reading.UNLABELLED}
    for cell in set(cells):
        if kind is TaskKind.SINGLE_LABEL:
            names.update({cell.strip()} - {""})
        else:
            names.update(_readable_names(cell, separator))
    return names


def _readable_residue_names(cell: str, length: int) -> set[str]:
    try:
        return {name for name in reading.parse_residue_classes(cell, length) if name is not None}
    except reading.LabelError:
        return set()  # named with its row by Task.encode


def _readable_names(cell: str, separator: str) -> set[str]:
    try:
        return set(reading.parse_names(cell, separator))
    except reading.LabelError:
        return set()  # named with its row by Task.encode


def _mostly(flags: Sequence[bool]) -> bool:
    return sum(flags) >= MOSTLY * len(flags)


def _as_residues(filled: list[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    if _mostly([len(cell) == n and n > 1 for cell, n in filled]):
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is as long as its sequence"
    sample = filled[:200]
    items = [(_items(cell), n) for cell, n in sample]
    if not _mostly([len(parts) == n and n > 1 for parts, n in items]):
        return None
    flat = [item for parts, n in items if len(parts) == n for item in parts]
    flat = [item for item in flat if item not in reading.MISSING_ITEMS]
    numbers = [item for item in flat if reading.is_number(item)]
    if len(numbers) < MOSTLY * len(flat):
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is a list with one class per residue"
    if all(map(reading.is_integer, numbers)) and len(set(numbers)) <= MOST_INTEGER_CLASSES:
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is a list with one small integer per residue"
    return TaskKind.RESIDUE_REGRESSION, "each label is a list with one number per residue"


def _items(cell: str) -> list[str]:
    try:
        return reading.split_items(cell)
    except reading.LabelError:
        return []


def _as_numbers(filled: list[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    texts = [cell for cell, _ in filled]
    numbers = [cell for cell in texts if reading.is_number(cell)]
    if len(numbers) < MOSTLY * len(texts):
        return None
    different = set(numbers)
    if all(map(reading.is_integer, numbers)) and len(different) <= MOST_INTEGER_CLASSES:
        if len(numbers) == len(texts):
            return TaskKind.SINGLE_LABEL, f"the labels are {len(different)} different integers"
        return TaskKind.SINGLE_LABEL, "the labels are a few integers and words"
    return TaskKind.REGRESSION, f"the labels are numbers ({len(different):,} different ones)"


def _as_sets(filled: list[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    texts = [cell.strip() for cell, _ in filled]
    separator = reading.separator_of(texts)
    sets = [reading.parse_names(text, separator) for text in texts if not text.startswith("[")]
    sets += [_items(text) for text in texts if text.startswith("[")]
    names = {name for group in sets for name in group}
    different = len(set(texts))
    if all(len(group) <= 1 for group in sets) or len(names) >= different:
        return None
    # "cell membrane" is one class of two words; "3 7 12" is three classes.
    if separator == " " and not all(map(reading.is_integer, names)) and different <= len(texts) / 2:
        return None
    shown = {" ": "spaces", ",": "commas", ";": "semicolons", "|": "bars"}[separator]
    return TaskKind.MULTI_LABEL, f"the labels are lists of {len(names)} classes separated by {shown}"


def _as_classes(filled: list[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    names = {cell.strip() for cell, _ in filled}
    if len(names) > max(2, len(filled) // 2):
        return None
    return TaskKind.SINGLE_LABEL, f"the labels are {len(names)} different words"
