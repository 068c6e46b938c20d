"""The csv module over a stream of lines: where each record is, and every way in which one can be broken."""

from __future__ import annotations

import contextlib
import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from profactory.data.reading.blocks import Block, blocks
from profactory.data.reading.table import Chunk, Limits, ragged, rows_to_batch
from profactory.errors import Problem, ReadError

CHUNK_ROWS = 20_000
CHUNK_CHARACTERS = 8_000_000


def lines_of(path: Path, limits: Limits) -> Iterator[str]:
    """Yield the lines of a text file with their ends."""
    for block in blocks(path, limits):
        yield from block.text_lines()


class LineFeed:
    """Hands out lines of text, and whole blocks where nobody is in the middle of one."""

    def __init__(self, source: Iterator[Block]) -> None:
        self._source = source
        self._block: Block | None = next(source, None)
        self._lines: Iterator[str] | None = None
        self._next_line: str | None = None
        self.line = 1  # number of the next line to be handed out
        self.nul = False

    def __iter__(self) -> LineFeed:
        return self

    def __next__(self) -> str:
        while True:
            if self._lines is None:
                if self._block is None:
                    raise StopIteration
                self.nul = self.nul or b"\0" in self._block.data
                self._lines = iter(self._block.text_lines())
                self._next_line = next(self._lines, None)
            line = self._next_line
            if line is not None:
                self._next_line = next(self._lines, None)
                if self._next_line is None:
                    self._advance()
                self.line += 1
                return line
            self._advance()

    def _advance(self) -> None:
        self._block, self._lines, self._next_line = next(self._source, None), None, None

    def cut(self) -> None:
        """Make what is left of a block a whole block again; only where a row has ended."""
        if self._block is not None and self._lines is not None:
            taken = self._block.text_lines()[: self.line - self._block.line]
            start = sum(len(line.encode()) for line in taken)
            self._block, self._lines = Block(self._block.data[start:], self.line), None

    def more(self) -> bool:
        """Tell whether any line is left."""
        return self._block is not None

    def at_block_start(self) -> bool:
        """Tell whether a whole block is next."""
        return self._block is not None and self._lines is None

    def plain_block(self) -> Block | None:
        """Return the next block if it is whole and in it every delimiter ends a cell, every LF a line."""
        if self._block is None or self._lines is not None:
            return None
        data = self._block.data
        if b'"' in data or b"\0" in data:
            return None
        alone = b"\r" in data and data.count(b"\r") != data.count(b"\r\n")
        return None if alone else self._block

    def skip(self, block: Block) -> None:
        """Go on to what comes after a block that was read as a whole."""
        self.line += block.lines
        self._advance()


class RecordReader:
    """The csv module over a feed of lines, with the line of each record and all that can go wrong."""

    def __init__(self, path: Path, delimiter: str, limits: Limits) -> None:
        self.path = path
        self.delimiter = delimiter
        self.limits = limits
        self.feed = LineFeed(blocks(path, limits))
        self.start = 1
        self._reader = csv.reader(self.feed, delimiter=delimiter, strict=True)

    def header(self) -> list[str]:
        """Return the first record that is not blank.

        Raises
        ------
        ReadError
            If there is none, or it cannot be read.
        """
        problems: list[Problem] = []
        with _field_limit(self.limits.field):
            for row in self._records(problems):
                if row:
                    return row
                if problems:
                    raise ReadError(
                        f"{self.path}: the header cannot be read.",
                        problems=problems,
                        fix="mend the quotes in the first line",
                    )
        raise ReadError(
            f"{self.path}: the file holds nothing but blank lines.",
            expected="a header and rows",
            fix="check that the right file was exported",
        )

    def chunk(self, names: list[str]) -> Chunk | None:
        """Read rows until there are enough for a chunk, or a whole block is next; None at the end."""
        path = str(self.path)
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        size = 0
        with _field_limit(self.limits.field):
            for row in self._records(problems):
                if len(row) == len(names):
                    if self.feed.nul and any("\0" in cell for cell in row):
                        problems.append(_nul_problem(names, row, path, self.start))
                    else:
                        rows.append(row)
                        lines.append(self.start)
                        size += sum(map(len, row))
                elif row:
                    problems.append(
                        ragged(
                            len(row),
                            len(names),
                            file=path,
                            line=self.start,
                            value=self.delimiter.join(row),
                        )
                    )
                enough = len(rows) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS or len(problems) >= CHUNK_ROWS
                if enough or self.feed.at_block_start():
                    break
        if not rows and not problems and not self.feed.more():
            return None
        return Chunk(rows_to_batch(names, rows), np.array(lines, np.int64), problems)

    def _records(self, problems: list[Problem]) -> Iterator[list[str]]:
        """Yield records; a blank line or an unreadable one (noted in `problems`) gives an empty list."""
        while True:
            self.start = self.feed.line
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                row = []
                problems.append(self._problem(error))
            yield row

    def _problem(self, error: csv.Error) -> Problem:
        """Turn a fault within one line into a row problem; raise if the rows after it are in doubt."""
        last = self.feed.line - 1
        message = str(error)
        if "expected after" in message and last == self.start:
            reason = "a quote ends before the cell does; double the quotes inside a quoted cell"
            return Problem(reason, file=str(self.path), line=self.start)
        opened = _quote_opened(self, self.start, last)
        if opened is None:
            raise too_large(self.path, self.start, self.limits) from error
        until = (
            f"within {self.limits.field:,} characters"
            if "field limit" in message
            else "before the end of the file"
            if "end of data" in message
            else f"before a stray quote in line {last:,}"
        )
        raise ReadError(
            f"{self.path}: a quote opened in line {opened:,} is not closed {until}.",
            expected="quotes in pairs around a cell",
            fix=f"close or remove the quote in line {opened:,}",
        ) from error


def _nul_problem(names: list[str], row: list[str], path: str, line: int) -> Problem:
    column = next(name for name, cell in zip(names, row, strict=True) if "\0" in cell)
    value = row[names.index(column)]
    return Problem("the cell holds a NUL byte", file=path, line=line, column=column, value=value)


def _quote_opened(reader: RecordReader, first: int, last: int) -> int | None:
    """Return the line of the quote that is open at the end of a broken record; None if none is.

    Reads the file once more up to the record: this happens once, on the way to an error.
    """
    opened: int | None = None
    lines = itertools.islice(lines_of(reader.path, reader.limits), first - 1, last)
    for number, line in enumerate(lines, first):
        body = line.rstrip("\r\n")
        start_of_cell = opened is None
        position = 0
        while position < len(body):
            letter = body[position]
            if opened is not None:
                if letter == '"':
                    if body[position + 1 : position + 2] == '"':
                        position += 1
                    elif number == last and body[position + 1 : position + 2] not in ("", reader.delimiter):
                        return opened
                    else:
                        opened = None
                        start_of_cell = False
            elif letter == '"' and start_of_cell:
                opened = number
            else:
                start_of_cell = letter == reader.delimiter
            position += 1
    return opened


@contextlib.contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    """Set the csv module's only knob, which is global, while reading, and put it back."""
    old = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(old)


def too_large(path: Path, line: int, limits: Limits, column: str = "") -> ReadError:
    """Return the error for a cell above the limit."""
    where = f"{path}: a cell in line {line:,}" + (f", column {column!r}," if column else "")
    return ReadError(
        f"{where} is longer than {limits.field:,} characters.",
        expected=f"cells of at most {limits.field:,} characters",
        fix="check that the line ends of the file were not lost, and take the cell out",
    )
