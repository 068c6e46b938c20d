"""Which character separates the cells of a text table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from profactory.data.columns import SEQUENCE, normalise
from profactory.errors import ReadError

CANDIDATES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_LINES = 50
_SEQUENCE_NAMES = frozenset(name for group in SEQUENCE for name in group)


def sniff_delimiter(lines: Sequence[str], path: Path) -> str:
    """Return the delimiter from the header and the first lines.

    A candidate must occur in the header. Of several, the one that gives every line as many cells as the
    header wins; then the one that makes a sequence column; then a tab in a file named ``.tsv``.

    Raises
    ------
    ReadError
        If more than one is left.
    """
    tables = {mark: _parse(lines, mark) for mark in CANDIDATES}
    left = [mark for mark, rows in tables.items() if rows and len(rows[0]) > 1]
    for keep in (_is_even, _has_sequence):
        kept = [mark for mark in left if keep(tables[mark])]
        left = kept or left
    if len(left) > 1 and "\t" in left and path.name.removesuffix(".gz").endswith((".tsv", ".tab")):
        left = ["\t"]
    if len(left) > 1:
        raise ReadError(
            f"{path}: the cells could be separated by {' or by '.join(CANDIDATES[mark] for mark in left)}.",
            expected="one of comma, semicolon, tab or bar between the cells of every line",
            fix="write the table with commas, and quote cells that hold one",
        )
    return left[0] if left else ","


def _parse(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Split the first lines; the last may be a record cut in the middle and counts only alone."""
    rows: list[list[str]] = []
    try:
        rows.extend(row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row)
    except csv.Error:
        return rows  # what was read so far decides; the reader itself names the fault with its line
    return rows


def _is_even(rows: list[list[str]]) -> bool:
    return all(len(row) == len(rows[0]) for row in rows)


def _has_sequence(rows: list[list[str]]) -> bool:
    return any(normalise(name) in _SEQUENCE_NAMES for name in rows[0])
