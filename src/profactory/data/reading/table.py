"""What every reader gives: a table with named columns, read in chunks of text cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profactory.errors import Problem, ReadError, shorten


@dataclass(frozen=True)
class Limits:
    """Bounds that let a damaged or hostile file fail fast, in flat memory.

    Parameters
    ----------
    field
        Characters in one cell. Sequences have a lower limit of their own (``residues.MAX_RESIDUES``); this
        one must also let a cell with a number per residue pass.
    line
        Bytes in one line.
    columns
        Columns in one table.
    block
        Bytes read at a time.
    """

    field: int = 2_000_000
    line: int = 16_000_000
    columns: int = 10_000
    block: int = 2_000_000


@dataclass
class Chunk:
    """Some consecutive rows of a table.

    Parameters
    ----------
    columns
        All columns as strings, the text exactly as in the file.
    lines
        Where each row starts: its line in a text file, counted from 1 with the header, or the number of
        the record in Parquet, Excel (the row) and JSON arrays. Shape ``(rows,)``.
    problems
        Rows of this part of the file that could not be read; they are not in `columns`.
    """

    columns: pa.RecordBatch
    lines: NDArray[np.int64]
    problems: list[Problem] = field(default_factory=list)


@runtime_checkable
class Table(Protocol):
    """A table that can be read from its beginning as often as wanted."""

    path: Path
    format: str
    columns: list[str]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order; memory does not grow with the file."""
        ...


class Join(Protocol):
    """Adds columns to a table while it is read."""

    @property
    def key(self) -> str:
        """Hash of all that decides what is added."""
        ...

    def __call__(self, table: Table) -> Table:
        """Return the table with the columns added."""
        ...


def text_batch(columns: Sequence[str], cells: Sequence[Sequence[str] | pa.Array]) -> pa.RecordBatch:
    """Make a record batch of string columns."""
    arrays = [
        pa.array(column, pa.string()) if not isinstance(column, pa.Array) else column for column in cells
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def rows_to_batch(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """Make a record batch from rows of equal width."""
    cells: list[Any] = list(zip(*rows, strict=True)) if rows else [[] for _ in columns]
    return text_batch(columns, cells)


def check_header(
    names: Sequence[str], path: Path, *, limit: int = Limits.columns, line: int = 1
) -> list[str]:
    """Return the column names if they can name columns.

    Raises
    ------
    ReadError
        Too many columns, or names that are blank, padded with white space or used twice: all of them.
    """
    if len(names) > limit:
        raise ReadError(
            f"{path}: the header has {len(names):,} columns.",
            expected=f"at most {limit:,} columns",
            fix="keep the columns that are needed, or transpose the table if samples are its columns",
        )
    problems = _header_problems(list(names), str(path), line)
    if problems:
        raise ReadError(
            f"{path}: {len(problems)} of {len(names)} column names cannot be used.",
            expected="a name for each column, each used once, without white space around it",
            fix="write the table without its index: to_csv(…, index=False)"
            if len(problems) == 1 and not names[0].strip()
            else "rename the columns in the first line",
            problems=problems,
        )
    return list(names)


def _header_problems(names: list[str], file: str, line: int) -> list[Problem]:
    used = Counter(name.strip() for name in names)
    problems = []
    for number, name in enumerate(names, 1):
        reason = ""
        if not name.strip():
            reason = f"the name of column {number} is blank"
        elif "\0" in name:
            reason = f"the name of column {number} holds a NUL byte"
        elif name != name.strip():
            reason = f"the name of column {number} has white space around it"
        elif used[name.strip()] > 1:
            reason = f"the name of column {number} is used {used[name.strip()]} times"
        if reason:
            problems.append(Problem(reason, file=file, line=line, value=name))
    return problems


def ragged(found: int, expected: int, *, file: str, line: int, value: str = "") -> Problem:
    """Describe a row with the wrong number of cells."""
    cells = f"{found:,} cell{'s' * (found != 1)}"
    return Problem(f"{cells} where the header has {expected:,}", file=file, line=line, value=shorten(value))
