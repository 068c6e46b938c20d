"""JSON lines, and a JSON array of objects: keys are columns, values are text as written.

Numbers keep the digits of the file (``1.50`` stays ``1.50``), booleans are ``true`` and ``false``, null and
a missing key are the empty text, lists and objects become compact JSON.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from profactory.data.reading.blocks import blocks
from profactory.data.reading.table import Chunk, Limits, check_header, rows_to_batch
from profactory.errors import Problem, ReadError, shorten

RECORDS_LOOKED_AT = 1000
CHUNK_RECORDS = 10_000
CHUNK_CHARACTERS = 8_000_000


class JsonTable:
    """Objects of a JSON lines file or of one JSON array, plain or gzip.

    Parameters
    ----------
    path
        The file.
    limits
        ``limits.line`` bounds one object.
    array
        Whether the file is one array.

    Raises
    ------
    ReadError
        No object among the first records, or keys that cannot name columns.
    """

    def __init__(self, path: Path, limits: Limits, *, array: bool) -> None:
        self.path = path
        self.limits = limits
        self._array = array
        self.format = "json" if array else "jsonl"
        keys: dict[str, None] = {}
        for _, record in itertools.islice(self._records(), RECORDS_LOOKED_AT):
            if isinstance(record, dict):
                keys.update(dict.fromkeys(record))
        if not keys:
            raise ReadError(
                f"{path}: no JSON object was found.",
                expected='one object per line, such as {"sequence": "MKT", "label": 1}, or an array',
                fix="write the table as JSON lines or CSV",
            )
        self.columns = check_header(list(keys), path, limit=limits.columns)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the records; see :class:`~profactory.data.reading.table.Table`."""
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        size = 0
        for line, record in self._records():
            row = self._row(record)
            if isinstance(row, str):
                problems.append(Problem(row, file=str(self.path), line=line))
            else:
                rows.append(row)
                lines.append(line)
                size += sum(map(len, row))
            if len(rows) + len(problems) >= CHUNK_RECORDS or size >= CHUNK_CHARACTERS:
                yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)
                rows, lines, problems, size = [], [], [], 0
        if rows or problems:
            yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)

    def _row(self, record: Any) -> list[str] | str:
        """Return the cells of a record, or the reason why it is none."""
        if isinstance(record, _Fault):
            return record.reason
        if not isinstance(record, dict):
            return "not a JSON object"
        unknown = [key for key in record if key not in self.columns]
        if unknown:
            return f"key {unknown[0]!r} does not occur in the first {RECORDS_LOOKED_AT:,} records"
        row = [_text(record.get(name)) for name in self.columns]
        if any(len(cell) > self.limits.field for cell in row):
            return f"a value is longer than {self.limits.field:,} characters"
        return "a value holds a NUL character" if any("\0" in cell for cell in row) else row

    def _records(self) -> Iterator[tuple[int, Any]]:
        return self._array_records() if self._array else self._line_records()

    def _line_records(self) -> Iterator[tuple[int, Any]]:
        for block in blocks(self.path, self.limits):
            for number, line in enumerate(block.text_lines(), block.line):
                if line.strip():
                    yield number, _parse(line)

    def _array_records(self) -> Iterator[tuple[int, Any]]:
        """Yield the elements with their number; the text held is never more than a few blocks."""
        text, number, begun = "", 0, False
        for block in blocks(self.path, self.limits):
            text += block.data.decode("utf-8")
            if not begun:
                text, begun = text.lstrip().removeprefix("["), True
            position = 0
            while (found := _next_element(text, position)) is not None:
                element, position = found
                number += 1
                yield number, element
            text = text[position:]
            if len(text) > self.limits.line:
                break
        end = text.strip().removeprefix(",").strip()
        if end != "]":
            raise ReadError(
                f"{self.path}: the JSON array breaks off or is damaged after record {number:,},"
                f" at {shorten(end)!r}.",
                expected="one array of objects, or one object per line",
                fix="write the file again; JSON lines (one object per line) also show where they break",
            )


class _Fault:
    """A line that is no JSON."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Number(str):
    """A number as written."""

    __slots__ = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
    record = dict(pairs)
    return record if len(record) == len(pairs) else _Fault("a key occurs twice")


_DECODER = json.JSONDecoder(
    parse_float=_Number, parse_int=_Number, parse_constant=_Number, object_pairs_hook=_unique
)


def _parse(line: str) -> Any:
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return _Fault(f"not JSON: {error}")


def _next_element(text: str, position: int) -> tuple[Any, int] | None:
    """Return the element that begins at or after `position`, and where it ends; None if it is not whole."""
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    if position == len(text) or text[position] == "]":
        return None
    try:
        return _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None  # cut by the end of the block; at the end of the file the rest is refused


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else _nested(value)


def _nested(value: Any) -> str:
    """Write a list or object as JSON, its numbers as they were."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_nested, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_nested(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)
