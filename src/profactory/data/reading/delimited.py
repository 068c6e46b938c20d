"""CSV, TSV, semicolon- and bar-separated tables: strict, streaming, fast.

The grammar is Python's ``csv`` module with ``strict=True``. A block of lines that holds no quote, no lone CR,
no NUL byte and no blank line means the same to every CSV reader and goes through pyarrow's, many times
faster; the tests hold the two equal.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from profactory.data.reading.blocks import Block, blocks
from profactory.data.reading.delimiter import SAMPLE_LINES, sniff_delimiter
from profactory.data.reading.table import Chunk, Limits, check_header, ragged, rows_to_batch
from profactory.errors import Problem, ReadError

CHUNK_ROWS = 20_000
CHUNK_CHARACTERS = 8_000_000


class DelimitedTable:
    """A text table whose first line names its columns.

    Parameters
    ----------
    path
        File, plain or gzip.
    limits
        Bounds on fields, lines and columns.

    Raises
    ------
    ReadError
        A header that cannot name columns, an unclear delimiter, an encoding that is not supported.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        head = list(itertools.islice(_first_lines(path, limits), SAMPLE_LINES))
        self.delimiter = sniff_delimiter(head, path)
        self.format = {",": "csv", "\t": "tsv", ";": "csv (semicolon)", "|": "csv (bar)"}[self.delimiter]
        feed = _LineFeed(blocks(path, limits))
        reader = _RecordReader(self, feed)
        header = reader.header()
        self.columns = check_header(header, path, limit=limits.columns, line=reader.start)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows; see :class:`~profactory.data.reading.table.Table`.

        Raises
        ------
        ReadError
            An unclosed quote (naming the line where it was opened), a field or line above the limits,
            a byte that is no text.
        """
        feed = _LineFeed(blocks(self.path, self.limits))
        reader = _RecordReader(self, feed)
        reader.header()
        while True:
            if feed.at_block_start() and feed.peek_is_plain(self.delimiter):
                yield from self._plain_chunks(feed.take_block())
            elif (chunk := reader.chunk()) is not None:
                yield chunk
            elif not feed.more():
                return

    def _plain_chunks(self, block: Block) -> Iterator[Chunk]:
        """Read a block in which lines are rows and delimiters separate cells, without exception."""
        bad: dict[int, Problem] = {}

        def note(row: pacsv.InvalidRow) -> str:
            line = block.line + row.number - 1
            bad[row.number - 1] = ragged(
                row.actual_columns, len(self.columns), file=str(self.path), line=line, value=row.text
            )
            return "skip"

        rows = pacsv.read_csv(
            pa.BufferReader(block.data),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=len(block.data) + 1, column_names=self.columns
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self.delimiter, quote_char=False, ignore_empty_lines=False, invalid_row_handler=note
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in self.columns}, check_utf8=False
            ),
        )
        lines = np.arange(block.line, block.line + rows.num_rows + len(bad), dtype=np.int64)
        lines = np.delete(lines, list(bad)) if bad else lines
        self._check_fields(rows, lines)
        for batch in rows.combine_chunks().to_batches() or [rows_to_batch(self.columns, [])]:
            yield Chunk(batch, lines, list(bad.values()))

    def _check_fields(self, rows: pa.Table, lines: np.ndarray) -> None:
        """Refuse a field above the limit; like the csv module, but after the fact, for a block is small."""
        if not rows.num_rows:
            return
        for name in self.columns:
            widths = pc.binary_length(rows.column(name))
            if pc.max(widths).as_py() > self.limits.field:
                row = int(np.argmax(widths.to_numpy() > self.limits.field))
                raise self.too_large(int(lines[row]), name)

    def too_large(self, line: int, column: str = "") -> ReadError:
        """Return the error for a field above the limit."""
        where = f"{self.path}: a cell in line {line:,}" + (f", column {column!r}," if column else "")
        return ReadError(
            f"{where} is longer than {self.limits.field:,} characters.",
            expected=f"cells of at most {self.limits.field:,} characters",
            fix="check that the line ends of the file were not lost, and take the cell out",
        )


def _first_lines(path: Path, limits: Limits) -> Iterator[str]:
    for block in blocks(path, limits):
        yield from block.text_lines()


class _LineFeed:
    """Hands out lines of text, and whole blocks where nobody is in the middle of one."""

    def __init__(self, source: Iterator[Block]) -> None:
        self._source = source
        self._block: Block | None = next(source, None)
        self._lines: Iterator[str] | None = None
        self._next_line: str | None = None
        self.line = 1  # number of the next line to be handed out
        self.nul = False

    def __iter__(self) -> _LineFeed:
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

    def more(self) -> bool:
        """Tell whether any line is left."""
        return self._block is not None

    def at_block_start(self) -> bool:
        """Tell whether a whole block is next."""
        return self._block is not None and self._lines is None

    def take_block(self) -> Block:
        """Hand out the next block as a whole."""
        block = self._block
        if block is None:
            raise StopIteration
        self.line += block.data.count(b"\n") + (not block.data.endswith(b"\n"))
        self._advance()
        return block

    def peek_is_plain(self, delimiter: str) -> bool:
        """Tell whether every line of the next block is a row and every delimiter ends a cell."""
        data = self._block.data if self._block else b""
        if b'"' in data or b"\0" in data or b"\n\n" in data or data.startswith((b"\n", b"\r")):
            return False
        if b"\r" not in data:
            return True
        return data.count(b"\r") == data.count(b"\r\n") and b"\n\r\n" not in data


class _RecordReader:
    """The csv module over a feed of lines, with the line of each record and all that can go wrong."""

    def __init__(self, table: DelimitedTable, feed: _LineFeed) -> None:
        self.table = table
        self.feed = feed
        self.start = 1
        self._reader = csv.reader(feed, delimiter=table.delimiter, strict=True)

    def header(self) -> list[str]:
        """Return the first record that is not blank.

        Raises
        ------
        ReadError
            If there is none, or it cannot be read.
        """
        problems: list[Problem] = []
        with _field_limit(self.table.limits.field):
            for row in self._records(problems):
                if row:
                    return row
                if problems:
                    raise ReadError(
                        f"{self.table.path}: the header cannot be read.",
                        problems=problems,
                        fix="mend the quotes in the first line",
                    )
        raise ReadError(
            f"{self.table.path}: the file holds nothing but blank lines.",
            expected="a header and rows",
            fix="check that the right file was exported",
        )

    def chunk(self) -> Chunk | None:
        """Read rows until there are enough for a chunk, or a plain block is next; None at the end."""
        names, path = self.table.columns, str(self.table.path)
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        size = 0
        with _field_limit(self.table.limits.field):
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
                            value=self.table.delimiter.join(row),
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
            return Problem(reason, file=str(self.table.path), line=self.start)
        opened = _quote_opened(self.table, self.start, last)
        if opened is None:
            raise self.table.too_large(self.start) from error
        until = (
            f"within {self.table.limits.field:,} characters"
            if "field limit" in message
            else "before the end of the file"
            if "end of data" in message
            else f"before a stray quote in line {last:,}"
        )
        raise ReadError(
            f"{self.table.path}: a quote opened in line {opened:,} is not closed {until}.",
            expected="quotes in pairs around a cell",
            fix=f"close or remove the quote in line {opened:,}",
        ) from error


def _nul_problem(names: list[str], row: list[str], path: str, line: int) -> Problem:
    column = next(name for name, cell in zip(names, row, strict=True) if "\0" in cell)
    value = row[names.index(column)]
    return Problem("the cell holds a NUL byte", file=path, line=line, column=column, value=value)


def _quote_opened(table: DelimitedTable, first: int, last: int) -> int | None:
    """Return the line of the quote that is open at the end of a broken record; None if none is.

    Reads the file once more up to the record: this happens once, on the way to an error.
    """
    opened: int | None = None
    lines = itertools.islice(_first_lines(table.path, table.limits), first - 1, last)
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
                    elif number == last and body[position + 1 : position + 2] not in ("", table.delimiter):
                        return opened
                    else:
                        opened = None
                        start_of_cell = False
            elif letter == '"' and start_of_cell:
                opened = number
            else:
                start_of_cell = letter == table.delimiter
            position += 1
    return opened


class _field_limit:  # noqa: N801
    """Set the csv module's only knob, which is global, while reading, and put it back."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __enter__(self) -> None:
        self.old = csv.field_size_limit(self.limit)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self.old)
