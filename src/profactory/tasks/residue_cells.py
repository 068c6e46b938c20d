"""Label cells with an item for each residue: how each kind of task reads and recognises its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from profactory.tasks.cells import (
    MOST_INTEGER_CLASSES,
    MOSTLY,
    UNLABELLED,
    LabelError,
    Reader,
    is_integer,
    is_number,
    mostly,
    parse_json_list,
    parse_number,
    readable,
    separator_of,
)
from profactory.tasks.kinds import TaskKind

MISSING_ITEMS = frozenset({"", UNLABELLED, "nan", "NaN", "NA", "null", "None"})


def split_items(cell: str) -> list[str]:
    """Split a per-residue cell that is a list: JSON, or separated by commas or white space."""
    text = cell.strip()
    if text.startswith("["):
        return ["" if item is None else str(item) for item in parse_json_list(text)]
    return [item.strip() for item in text.split(",")] if "," in text else text.split()


def parse_residue_classes(cell: str, length: int, separator: str = ",") -> list[str | None]:
    """Read one class per residue: a string as long as the sequence, or a list; ``?`` is unlabelled.

    Raises
    ------
    LabelError
        If the number of classes is not the number of residues.
    """
    if not cell:
        raise LabelError("the label is missing")
    if len(cell) == length and not cell.startswith("["):
        return [None if item == UNLABELLED else item for item in cell]
    items = split_items(cell)
    if len(items) == 1 and len(cell) != length:
        raise LabelError(f"{len(cell):,} labels for {length:,} residues")
    _check_count(items, length)
    return [None if item in MISSING_ITEMS else item for item in items]


def parse_residue_numbers(cell: str, length: int, separator: str = ",") -> list[float]:
    """Read one number per residue from a list; ``?``, ``nan`` and ``null`` are unlabelled.

    Raises
    ------
    LabelError
        If an item is no number, or the number of items is not the number of residues.
    """
    if not cell.strip():
        raise LabelError("the label is missing")
    items = split_items(cell)
    _check_count(items, length)
    numbers = []
    for position, item in enumerate(items, 1):
        if item in MISSING_ITEMS:
            numbers.append(math.nan)
            continue
        try:
            numbers.append(parse_number(item))
        except LabelError as error:
            raise LabelError(f"at residue {position}: {error}") from error
    return numbers


def parse_residue_sets(cell: str, length: int, separator: str) -> list[list[str] | None]:
    """Read the classes of each residue: ``,metal|dna,?,`` or ``[[], ["metal", "dna"], null, []]``.

    An empty item is a residue of no class, ``?`` or ``null`` one of which nothing is known.

    Raises
    ------
    LabelError
        If the number of items is not the number of residues.
    """
    text = cell.strip()
    if not text:
        raise LabelError("the label is missing")
    items = parse_json_list(text) if text.startswith("[") else text.split(",")
    _check_count(items, length)
    return [_names(item, separator) for item in items]


def _names(item: object, separator: str) -> list[str] | None:
    if isinstance(item, list):
        return [str(name) for name in item]
    name = UNLABELLED if item is None else str(item).strip()
    if name == UNLABELLED:
        return None
    return list(dict.fromkeys(part.strip() for part in name.split(separator) if part.strip()))


READERS: Mapping[TaskKind, Reader] = {
    TaskKind.RESIDUE_CLASSIFICATION: parse_residue_classes,
    TaskKind.RESIDUE_MULTI_LABEL: parse_residue_sets,
    TaskKind.RESIDUE_REGRESSION: parse_residue_numbers,
}


def _check_count(items: Sequence[object], length: int) -> None:
    if len(items) != length:
        raise LabelError(f"{len(items):,} labels for {length:,} residues")


def _as_strings(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    if mostly([len(cell) == n and n > 1 for cell, n in filled]):
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is as long as its sequence"
    return None


def _as_sets(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    sample = filled[:200]
    separator = separator_of([cell for cell, _ in sample], per_residue=True)
    groups = [readable(parse_residue_sets, cell, n, separator) for cell, n in sample]
    if not mostly([bool(group) for group in groups]):
        return None
    if not any(names and len(names) > 1 for group in groups for names in group):
        return None
    return TaskKind.RESIDUE_MULTI_LABEL, "each label is a list with any number of classes per residue"


def _as_lists(filled: Sequence[tuple[str, int]]) -> tuple[TaskKind, str] | None:
    items = [(readable(split_items, cell), n) for cell, n in filled[:200]]
    if not mostly([len(parts) == n and n > 1 for parts, n in items]):
        return None
    flat = [item for parts, n in items if len(parts) == n for item in parts]
    flat = [item for item in flat if item not in MISSING_ITEMS]
    numbers = [item for item in flat if is_number(item)]
    if len(numbers) < MOSTLY * len(flat):
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is a list with one class per residue"
    if all(map(is_integer, numbers)) and len(set(numbers)) <= MOST_INTEGER_CLASSES:
        return TaskKind.RESIDUE_CLASSIFICATION, "each label is a list with one small integer per residue"
    return TaskKind.RESIDUE_REGRESSION, "each label is a list with one number per residue"


RECOGNISERS = (_as_strings, _as_sets, _as_lists)
