"""CSV, TSV, semicolon- and bar-separated tables: strict, streaming, fast.

The grammar is Python's ``csv`` module with ``strict=True``. A block of lines that holds no quote, no lone CR,
no NUL byte and no blank line means the same to every CSV reader and goes through pyarrow's, many times
faster; the tests hold the two equal.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from profactory.data.reading.blocks import Block
from profactory.data.reading.delimiter import SAMPLE_LINES, sniff_delimiter
from profactory.data.reading.records import RecordReader, lines_of, too_large
from profactory.data.reading.table import Chunk, Limits, check_header, ragged, text_batch
from profactory.errors import Problem


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
        head = list(itertools.islice(lines_of(path, limits), SAMPLE_LINES))
        self.delimiter = sniff_delimiter(head, path)
        self.format = {",": "csv", "\t": "tsv", ";": "csv (semicolon)", "|": "csv (bar)"}[self.delimiter]
        reader = RecordReader(path, self.delimiter, limits)
        self.columns = check_header(reader.header(), path, limit=limits.columns, line=reader.start)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows; see :class:`~profactory.data.reading.table.Table`.

        Raises
        ------
        ReadError
            An unclosed quote (naming the line where it was opened), a field or line above the limits,
            a byte that is no text.
        """
        reader = RecordReader(self.path, self.delimiter, self.limits)
        reader.header()
        reader.feed.cut()
        while True:
            block = reader.feed.plain_block()
            plain = self._plain_chunk(block) if block else None
            if block and plain:
                reader.feed.skip(block)
                yield plain
            elif (chunk := reader.chunk(self.columns)) is not None:
                yield chunk
            elif not reader.feed.more():
                return

    def _plain_chunk(self, block: Block) -> Chunk | None:
        """Read a block in which lines are rows and delimiters separate cells; None if some line is blank."""
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
                delimiter=self.delimiter, quote_char=False, invalid_row_handler=note
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in self.columns}, check_utf8=False
            ),
        )
        if rows.num_rows + len(bad) != block.lines:
            return None  # pyarrow passes over blank lines, and the line numbers would be wrong
        lines = np.arange(block.line, block.line + block.lines, dtype=np.int64)
        lines = np.delete(lines, list(bad)) if bad else lines
        self._check_fields(rows, lines)
        cells = [column.combine_chunks() for column in rows.columns]
        return Chunk(text_batch(self.columns, cells), lines, list(bad.values()))

    def _check_fields(self, rows: pa.Table, lines: np.ndarray) -> None:
        """Refuse a field above the limit; like the csv module, but after the fact, for a block is small."""
        if not rows.num_rows:
            return
        for name in self.columns:
            widths = pc.binary_length(rows.column(name))
            if pc.max(widths).as_py() > self.limits.field:
                row = int(np.argmax(widths.to_numpy() > self.limits.field))
                raise too_large(self.path, int(lines[row]), self.limits, name)
