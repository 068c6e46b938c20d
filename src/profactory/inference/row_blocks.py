"""A table in blocks of consecutive rows, those that could not be read included in their places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from profactory.data.reading import Chunk
from profactory.data.residues import clean_sequences
from profactory.errors import Problem

#: Rows predicted together: enough for batches of equal length, few enough for flat memory.
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class RowBlock:
    """Some consecutive rows of the input.

    Parameters
    ----------
    cells
        All columns as text; empty where a row could not be read.
    lines
        Line of each row in the file, shape ``(rows,)``.
    unreadable
        Row to the reason for which it could not be read.
    """

    cells: pa.RecordBatch
    lines: list[int]
    unreadable: dict[int, Problem]

    def __len__(self) -> int:
        return len(self.lines)

    def clean(self, column: str) -> tuple[pa.Array, dict[int, str]]:
        """Return the clean sequences of a column, and of each row that cannot be used why."""
        cleaned = clean_sequences(self.cells.column(column))
        unreadable = {row: problem.reason for row, problem in self.unreadable.items()}
        return cleaned.sequences, {**cleaned.reasons, **unreadable}


def row_blocks(chunks: Iterable[Chunk], size: int = BLOCK_ROWS) -> Iterator[RowBlock]:
    """Cut a table into blocks; the same file is cut in the same way every time."""
    for chunk in chunks:
        whole = _with_unreadable(chunk)
        for start in range(0, len(whole), size):
            stop = start + size
            broken = {
                row - start: problem for row, problem in whole.unreadable.items() if start <= row < stop
            }
            yield RowBlock(whole.cells.slice(start, size), whole.lines[start:stop], broken)


def count_rows(chunks: Iterable[Chunk]) -> int:
    """Count the rows, for the time that is left; reading is nothing beside predicting."""
    return sum(len(chunk.lines) + len(chunk.problems) for chunk in chunks)


def _with_unreadable(chunk: Chunk) -> RowBlock:
    lines = chunk.lines.tolist()
    if not chunk.problems:
        return RowBlock(chunk.columns, lines, {})
    rows: list[tuple[int, int | None, Problem | None]] = [(line, row, None) for row, line in enumerate(lines)]
    rows += [(problem.line or 0, None, problem) for problem in chunk.problems]
    rows.sort(key=lambda entry: entry[0])
    cells = chunk.columns.take(pa.array([row for _, row, _ in rows], pa.int64()))
    broken = {place: problem for place, (_, _, problem) in enumerate(rows) if problem is not None}
    return RowBlock(cells, [line for line, _, _ in rows], broken)
