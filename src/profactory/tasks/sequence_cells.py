"""Label cells of whole sequences: how each kind of task reads and recognises its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from profactory.tasks.cells import (
    MOST_INTEGER_CLASSES,
    MOSTLY,
    LabelError,
    Reader,
    is_integer,
    is_number,
    parse_json_list,
    parse_number,
    readable,
    separator_of,
)
from profactory.tasks.kinds import TaskKind


def parse_class(cell: str, length: int = 0, separator: str = ",") -> str:
    """Read one class name; white space around it does not count."""
    name = cell.strip()
    if not name:
        raise LabelError("the label is missing")
    return name


def parse_names(cell: str, length: int, separator: str) -> list[str]:
    """Read the class names of a multi-label cell; an empty cell is the empty set."""
    text = cell.strip()
    if text.startswith("["):
        return [str(item) for item in parse_json_list(text)]
    items = text.split() if separator == " " else [item.strip() for item in text.split(separator)]
    return list(dict.fromkeys(item for item in items if item))


def parse_targets(cell: str | Sequence[str], length: int = 0, separator: str = ",") -> list[float]:
    """Read a number, or one for each target; of several, some may be missing (NaN)."""
    row = [cell] if isinstance(cell, str) else list(cell)
    if len(row) == 1:
        return [parse_number(row[0])]
    if not any(row):
        raise LabelError("every target is missing")
    return [parse_number(item) if item else math.nan for item in row]


READERS: Mapping[TaskKind, Reader] = {
    TaskKind.SINGLE_LABEL: parse_class,
    TaskKind.MULTI_LABEL: parse_names,
    TaskKind.REGRESSION: parse_targets,
}


def _as_numbers(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    texts = [cell for cell, _ in filled]
    numbers = [cell for cell in texts if is_number(cell)]
    if len(numbers) < MOSTLY * len(texts):
        return None
    different = set(numbers)
    if all(map(is_integer, numbers)) and len(different) <= MOST_INTEGER_CLASSES:
        if len(numbers) == len(texts):
            return TaskKind.SINGLE_LABEL, f"the labels are {len(different)} different integers"
        return TaskKind.SINGLE_LABEL, "the labels are a few integers and words"
    return TaskKind.REGRESSION, f"the labels are numbers ({len(different):,} different ones)"


def _as_sets(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    texts = [cell.strip() for cell, _ in filled]
    separator = separator_of(texts)
    sets = [readable(parse_names, text, 0, separator) for text in texts]
    names = {name for group in sets for name in group}
    different = len(set(texts))
    if all(len(group) <= 1 for group in sets) or len(names) >= different:
        return None
    # "cell membrane" is one class of two words; "3 7 12" is three classes.
    if separator == " " and not all(map(is_integer, names)) and different <= len(texts) / 2:
        return None
    shown = {" ": "spaces", ",": "commas", ";": "semicolons", "|": "bars"}[separator]
    return TaskKind.MULTI_LABEL, f"the labels are lists of {len(names)} classes separated by {shown}"


def _as_classes(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    names = {cell.strip() for cell, _ in filled}
    if len(names) > max(2, len(filled) // 2):
        return None
    return TaskKind.SINGLE_LABEL, f"the labels are {len(names)} different words"


RECOGNISERS = (_as_numbers, _as_sets, _as_classes)
