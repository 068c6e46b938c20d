"""The input: one file or a folder of files, cut into blocks of rows. Torch-free.

A block is the unit of work. It is cut by the same strict reader as on one machine, in the same way every
time, so its name says which rows of the input it holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from profactory.data.bundled import bundled_path
from profactory.data.columns import find_columns
from profactory.data.reading import TABLE_SUFFIXES, Join, Table, open_table, suffix_of
from profactory.errors import ColumnError, ReadError
from profactory.files import sha256_file
from profactory.inference.row_blocks import BLOCK_ROWS, RowBlock, count_rows, row_blocks
from profactory.progress import Progress

#: A small input is cut into about so many blocks, so that all workers have some.
_BLOCKS, _LEAST_ROWS = 64, 64


@dataclass(frozen=True)
class Piece:
    """A block of the input, known by its place.

    Parameters
    ----------
    file, number
        Which file of the input, and which block of it, from 0.
    first, rows
        Row of the whole input with which it begins, from 1, and how many it has.
    """

    file: int
    number: int
    first: int
    rows: int

    @property
    def name(self) -> str:
        """File of the part; in the order of their names the parts are in the order of the input."""
        return f"part-{self.file:05d}-{self.number:06d}.parquet"


@dataclass(frozen=True)
class Input:
    """Files with the same columns, read one after the other.

    Parameters
    ----------
    names, paths
        Each file as the user would name it, and where every machine finds it.
    columns
        Of all files, those of a join included.
    sequence, identifier
        The columns with the sequences and, if there is one, with their names.
    join
        Adds columns while the files are read.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    sequence: str
    identifier: str | None = None
    join: Join | None = None

    def table(self, file: int) -> Table:
        """Open one of the files."""
        table = open_table(self.paths[file])
        return self.join(table) if self.join else table

    def blocks(self, file: int, size: int) -> Iterator[RowBlock]:
        """Cut one of the files into blocks of at most `size` rows."""
        return row_blocks(self.table(file).chunks(), size)


@dataclass(frozen=True)
class Survey:
    """What reading the input once has shown.

    Parameters
    ----------
    hashes
        SHA-256 of each file.
    chunks
        For each file, the rows of each chunk that its reader gives.
    """

    hashes: tuple[str, ...]
    chunks: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """Rows of the input, those that cannot be read included."""
        return sum(map(sum, self.chunks))

    def pieces(self, size: int) -> list[Piece]:
        """Return the blocks into which :func:`row_blocks` cuts the files."""
        pieces, first = [], 1
        for file, chunks in enumerate(self.chunks):
            starts = [(rows, start) for rows in chunks for start in range(0, rows, size)]
            for number, (rows, start) in enumerate(starts):
                pieces.append(Piece(file, number, first, min(size, rows - start)))
                first += pieces[-1].rows
        return pieces


def block_size(rows: int) -> int:
    """Return the rows of a block: those of one machine, or fewer of a small input."""
    return min(BLOCK_ROWS, max(_LEAST_ROWS, -(-rows // _BLOCKS)))


def open_input(source: str, *, sequence_column: str | None = None, join: Join | None = None) -> Input:
    """Find the files and their columns.

    Parameters
    ----------
    source
        A table, ``bundled:NAME``, or a folder of tables, which are taken in the order of their names.
    sequence_column
        Found by its name if not given.
    join
        Adds columns to each table.

    Raises
    ------
    ReadError
        There is no table, one cannot be read, or the folder holds other files.
    ColumnError
        There are no sequences, or the files have different columns.
    """
    names = _files(source)
    paths = tuple((bundled_path(name) or Path(name)).absolute() for name in names)
    tables = [join(table) if join else table for table in map(open_table, paths)]
    columns = tables[0].columns
    found = find_columns(columns, sequence=sequence_column, need_label=False, file=names[0])
    for name, table in zip(names, tables, strict=True):
        if table.columns != columns:
            raise ColumnError(
                f"{name} has other columns than {names[0]}: {', '.join(table.columns)}.",
                expected=", ".join(columns),
                fix="give every file of the folder the same columns in the same order",
            )
    return Input(tuple(names), paths, tuple(columns), found.sequence, found.identifier, join)


def survey(source: Input) -> Survey:
    """Read the input once, so that every part of the output is known before the first is computed."""
    chunks: list[tuple[int, ...]] = []
    with Progress("reading", unit="rows") as progress:
        for file in range(len(source.paths)):
            found = []
            for chunk in source.table(file).chunks():
                found.append(count_rows([chunk]))
                progress.advance(found[-1])
            chunks.append(tuple(found))
    return Survey(tuple(map(sha256_file, source.paths)), tuple(chunks))


def _files(source: str) -> list[str]:
    folder = Path(source)
    if bundled_path(source) or not folder.is_dir():
        return [source]
    files = sorted(file for file in folder.iterdir() if not file.name.startswith((".", "_")))
    if not files:
        raise ReadError(f"{source} is an empty folder.", expected="tables with sequences")
    foreign = [file for file in files if not file.is_file() or suffix_of(file) not in TABLE_SUFFIXES]
    if foreign:
        raise ReadError(
            f"{source} holds what is no table: {_some([file.name for file in foreign])}.",
            expected=f"only files that end in {', '.join(TABLE_SUFFIXES)}, also with .gz",
            fix="give a folder with the tables alone",
        )
    return [str(file) for file in files]


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown:,} more" if len(names) > shown else "")
