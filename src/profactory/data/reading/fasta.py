"""FASTA: records over any number of lines, columns out of the header lines.

Default columns: ``id`` (the header up to the first blank), ``sequence``, ``header`` (the whole header line
without ``>``), and one for each ``key=value`` found in the headers of the first 1,000 records. A value goes
up to the next ``key=``, ``|``, ``;`` or the end, so UniProt's ``OS=Homo sapiens OX=9606`` gives ``OS`` and
``OX``, and ``>P1 label=lyase split=train`` gives ``label`` and ``split``.

With a header pattern, a regular expression searched in the header, its named groups are the columns:
``(?P<id>[^|]+)\\|(?P<label>[^|]+)`` reads ``>P1|lyase``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from profactory.data.reading.blocks import blocks
from profactory.data.reading.table import Chunk, Limits, check_header, rows_to_batch
from profactory.errors import ConfigError, Problem, ReadError, shorten

KEY_VALUE = re.compile(r"(?:(?<=[\s|;])|^)([A-Za-z_][\w.-]*)=(.*?)\s*(?=$|[|;]|\s[A-Za-z_][\w.-]*=)")
HEADERS_LOOKED_AT = 1000
CHUNK_RECORDS = 10_000
CHUNK_CHARACTERS = 8_000_000

Record = tuple[int, str, str | None]  # line, header without ">", sequence (None: longer than the limit)


class FastaTable:
    """Records of a FASTA file, plain or gzip.

    Parameters
    ----------
    path
        The file.
    limits
        ``limits.field`` bounds a sequence.
    header_pattern
        Regular expression with named groups; see above.

    Raises
    ------
    ReadError
        Text before the first ``>``.
    ConfigError
        A pattern that is no regular expression or names no group.
    """

    format = "fasta"

    def __init__(self, path: Path, limits: Limits, header_pattern: str | None = None) -> None:
        self.path = path
        self.limits = limits
        self._pattern = _compile(header_pattern) if header_pattern else None
        self._fields = self._find_fields()
        self.columns = check_header([*self._fields, "sequence"], path)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the records; see :class:`~profactory.data.reading.table.Table`."""
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        size = 0
        for line, header, sequence in self._records():
            reason = (
                "" if sequence is not None else f"the sequence is longer than {self.limits.field:,} letters"
            )
            cells = self._cells(header)
            if cells is None:
                reason = "the header does not match the header pattern"
            elif "\0" in header or "\0" in (sequence or ""):
                reason = "the record holds a NUL byte"
            if reason or cells is None:
                problems.append(Problem(reason, file=str(self.path), line=line, value=shorten(header)))
            else:
                rows.append([*cells, sequence or ""])
                lines.append(line)
                size += len(sequence or "")
            if len(rows) + len(problems) >= CHUNK_RECORDS or size >= CHUNK_CHARACTERS:
                yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)
                rows, lines, problems, size = [], [], [], 0
        if rows or problems:
            yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)

    def _find_fields(self) -> list[str]:
        if self._pattern:
            return list(self._pattern.groupindex)
        keys: dict[str, None] = {}
        for _, header, _ in itertools.islice(self._records(), HEADERS_LOOKED_AT):
            keys.update((key, None) for key, _ in KEY_VALUE.findall(header))
        return ["id", "header", *(key for key in keys if key not in ("id", "header", "sequence"))]

    def _cells(self, header: str) -> list[str] | None:
        if self._pattern:
            found = self._pattern.search(header)
            return [found[name] or "" for name in self._fields] if found else None
        values = dict(reversed(KEY_VALUE.findall(header)))  # the first of two equal keys counts
        values |= {"id": header.split(maxsplit=1)[0] if header.split() else "", "header": header}
        return [values.get(name, "") for name in self._fields]

    def _records(self) -> Iterator[Record]:
        header: str | None = None
        parts: list[str] = []
        start = size = 0
        for number, line in self._lines():
            if line.startswith(">"):
                if header is not None:
                    yield start, header, "".join(parts) if size <= self.limits.field else None
                header, start, parts, size = line[1:].strip(), number, [], 0
            elif header is not None:
                size += len(line)
                if size <= self.limits.field:
                    parts.append(line)
            elif line.strip():
                raise ReadError(
                    f"{self.path}: line {number:,} stands before the first '>'.",
                    expected="a FASTA file, whose records begin with '>'",
                    fix="remove what stands before the first record",
                )
        if header is not None:
            yield start, header, "".join(parts) if size <= self.limits.field else None

    def _lines(self) -> Iterator[tuple[int, str]]:
        for block in blocks(self.path, self.limits):
            for number, line in enumerate(block.text_lines(), block.line):
                yield number, line.rstrip("\r\n")


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"The header pattern {pattern!r} is no regular expression: {error}.",
            expected="a regular expression with named groups",
            fix=r"--header-pattern '(?P<id>\S+).*label=(?P<label>\S+)'",
        ) from error
    if not compiled.groupindex:
        raise ConfigError(
            f"The header pattern {pattern!r} names no group.",
            expected="a regular expression whose named groups are the columns",
            fix=r"--header-pattern '(?P<id>\S+).*label=(?P<label>\S+)'",
        )
    return compiled
