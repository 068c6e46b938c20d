"""What all label cells have in common; strict, so that ``1,5`` is an error and not one and a half."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from profactory.tasks.kinds import TaskKind

UNLABELLED = "?"
MOST_INTEGER_CLASSES = 20
MOSTLY = 0.8  # share of cells that decides what the column is meant to be; the rest are bad rows
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)

Item = TypeVar("Item")
#: Reads a cell, given the residues of its sequence and the separator of the task's names. For a sequence: a
#: class, a list of classes, or a number for each target; for residues: a list of such, None where unlabelled.
Reader = Callable[[Any, int, str], Any]
#: Tells which task cells with their numbers of residues hold, and why; None if it is not for this one to say.
Recogniser = Callable[[Sequence[tuple[str, int]]], tuple[TaskKind, str] | None]


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


def parse_json_list(text: str) -> list[Any]:
    """Read a JSON list."""
    try:
        value = json.loads(text.replace("NaN", "null"))
    except ValueError as error:
        raise LabelError(f"the list cannot be read: {error}") from error
    if not isinstance(value, list):
        raise LabelError("the label is not a list")
    return value


def separator_of(cells: Iterable[str], *, per_residue: bool = False) -> str:
    """Return what separates the names of several classes: comma, semicolon, bar or space.

    In labels of residues commas part the residues. The cells are gone through once.
    """
    candidates = "|;" if per_residue else ",;|"
    seen = {candidate for cell in cells for candidate in candidates if candidate in cell}
    return next((candidate for candidate in candidates if candidate in seen), "|" if per_residue else " ")


def readable(read: Callable[..., list[Item]], *arguments: Any) -> list[Item]:
    """Return what a reader finds, and nothing in a cell that it cannot read."""
    try:
        return read(*arguments)
    except LabelError:
        return []


def mostly(flags: Sequence[bool]) -> bool:
    """Tell whether what holds for so many cells is meant for all."""
    return sum(flags) >= MOSTLY * len(flags)
