"""Reading one label cell: strict, so that ``1,5`` is an error and not fifteen or one and a half."""

from __future__ import annotations

import json
import math
import re

UNLABELLED = "?"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
MISSING_ITEMS = frozenset({"", UNLABELLED, "nan", "NaN", "NA", "null", "None"})


class LabelError(ValueError):
    """A label cell that cannot be read; the message is a clause for a row problem."""


def is_number(cell: str) -> bool:
    """Tell whether the cell is a plain decimal number without spaces around it."""
    return _NUMBER.match(cell) is not None


def is_integer(cell: str) -> bool:
    """Tell whether the cell is a plain integer."""
    return _INTEGER.match(cell) is not None


def parse_number(cell: str) -> float:
    """Read one number.

    Raises
    ------
    LabelError
        If it is missing, no number (``1,5``, ``nan``, ``1.5 ``), or beyond the range of 32 bits.
    """
    if not cell:
        raise LabelError("the label is missing")
    if not is_number(cell):
        raise LabelError("the label is not a number (digits with a decimal point, no spaces, no comma)")
    value = float(cell)
    if not math.isfinite(value) or abs(value) > 3.4e38:
        raise LabelError("the number is too large for a 32-bit float")
    return value


def parse_class(cell: str) -> str:
    """Read one class name; white space around it does not count."""
    name = cell.strip()
    if not name:
        raise LabelError("the label is missing")
    return name


def separator_of(cells: list[str]) -> str:
    """Return what separates the names of a multi-label column: comma, semicolon, bar or space."""
    for candidate in (",", ";", "|"):
        if any(candidate in cell for cell in cells):
            return candidate
    return " "


def parse_names(cell: str, separator: str) -> list[str]:
    """Read the class names of a multi-label cell; an empty cell is the empty set."""
    text = cell.strip()
    if text.startswith("["):
        return [str(item) for item in parse_json_list(text)]
    items = text.split() if separator == " " else [item.strip() for item in text.split(separator)]
    return list(dict.fromkeys(item for item in items if item))


def parse_json_list(text: str) -> list[object]:
    """Read a JSON list."""
    try:
        value = json.loads(text.replace("NaN", "null"))
    except ValueError as error:
        raise LabelError(f"the list cannot be read: {error}") from error
    if not isinstance(value, list):
        raise LabelError("the label is not a list")
    return value


def split_items(cell: str) -> list[str]:
    """Split a per-residue cell that is a list: JSON, or separated by commas or white space."""
    text = cell.strip()
    if text.startswith("["):
        return ["" if item is None else str(item) for item in parse_json_list(text)]
    return [item.strip() for item in text.split(",")] if "," in text else text.split()


def parse_residue_classes(cell: str, length: int) -> list[str | None]:
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


def parse_residue_numbers(cell: str, length: int) -> list[float]:
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


def _check_count(items: list[str], length: int) -> None:
    if len(items) != length:
        raise LabelError(f"{len(items):,} labels for {length:,} residues")
