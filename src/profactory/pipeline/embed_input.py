"""The usable rows of a table on disk, so that memory does not grow with them. Torch-free."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.bundled import bundled_path
from profactory.data.columns import Columns, find_columns
from profactory.data.reading import Table, open_table
from profactory.errors import ConfigError, Problem, RowError, shorten
from profactory.inference.row_blocks import RowBlock, row_blocks

#: Rows and residues that are embedded together. A file within both is one entry of the cache, the same that
#: training makes of its sequences.
PART_ROWS, PART_RESIDUES = 1 << 18, 1 << 26
KEPT_PROBLEMS = 1000
_SEQUENCE, _ROW, _ID, _COLOR = "sequence", "row", "id", "color"


@dataclass
class UsableRows:
    """Clean sequences with what stands beside them, memory-mapped.

    Parameters
    ----------
    table
        Columns ``sequence``, ``row`` (from 1), and ``id`` and ``color`` where there are any.
    problems, failed
        Rows that cannot be used: at most 1,000 of them, and how many.
    """

    table: pa.Table
    problems: list[Problem] = field(default_factory=list)
    failed: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Row of the input of each sequence."""
        return np.asarray(self.table.column(_ROW), np.int64)

    @property
    def names(self) -> pa.ChunkedArray | None:
        """Identifiers, if the table has any."""
        return self.table.column(_ID) if _ID in self.table.column_names else None

    @property
    def colors(self) -> list[str] | None:
        """What colours the picture."""
        return self.table.column(_COLOR).to_pylist() if _COLOR in self.table.column_names else None

    def lengths(self, max_length: int) -> NDArray[np.int64]:
        """Return how many residues of each sequence are read."""
        lengths = np.asarray(pc.binary_length(self.table.column(_SEQUENCE)), np.int64)
        return np.minimum(lengths, max_length)

    def parts(self, max_length: int) -> Iterator[list[str]]:
        """Yield the sequences in order, as many at a time as are embedded together."""
        full = np.cumsum(self.lengths(max_length)) // PART_RESIDUES
        cuts = np.flatnonzero(np.diff(full)) + 1
        edges = sorted({0, *cuts.tolist(), *range(0, len(self), PART_ROWS), len(self)})
        for start, stop in pairwise(edges):
            yield self.table.column(_SEQUENCE).slice(start, stop - start).to_pylist()


@contextlib.contextmanager
def usable_rows(
    source: str, place: Path, *, sequence_column: str | None = None, color_by: str | None = None
) -> Iterator[UsableRows]:
    """Read a table once.

    Parameters
    ----------
    source
        Any table that can be predicted.
    place
        Folder for the rows, removed in the end; what a killed process left there is replaced.
    sequence_column, color_by
        Columns, as typed.

    Raises
    ------
    RowError
        Not one row can be used.
    """
    table = open_table(bundled_path(source) or source)
    columns = find_columns(table.columns, sequence=sequence_column, need_label=False, file=source)
    if color_by and color_by not in table.columns:
        raise ConfigError(f"{source} has no column {color_by!r}.", expected=", ".join(table.columns))
    wanted = {_SEQUENCE: columns.sequence, _ID: columns.identifier, _COLOR: color_by}
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        yield _spool(table, source, columns, {k: v for k, v in wanted.items() if v}, place / "rows.arrow")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _spool(table: Table, source: str, columns: Columns, wanted: dict[str, str], file: Path) -> UsableRows:
    """Write the usable rows; return them as they are read back."""
    schema = pa.schema([(_ROW, pa.int64()), *((name, pa.large_string()) for name in wanted)])
    problems: list[Problem] = []
    failed, first = 0, 1
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for block in row_blocks(table.chunks()):
            clean, reasons = block.clean(columns.sequence)
            good = pa.array([row for row in range(len(block)) if row not in reasons], pa.int64())
            cells = {name: block.cells.column(column).take(good) for name, column in wanted.items()}
            cells[_SEQUENCE] = clean.take(good)
            arrays = [pc.add(good, first), *(cells[name].cast(pa.large_string()) for name in wanted)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            found = block_problems(block, reasons, source, columns.sequence)
            problems += found[: KEPT_PROBLEMS - len(problems)]
            failed, first = failed + len(reasons), first + len(block)
    if failed == first - 1:
        raise RowError(f"{source}: not one row can be used.", problems=problems)
    return UsableRows(pa.ipc.open_file(pa.memory_map(str(file))).read_all(), problems, failed)


def block_problems(block: RowBlock, reasons: dict[int, str], source: str, column: str) -> list[Problem]:
    """Return what is wrong with rows of a block, with their places in the user's file."""
    given = block.cells.column(column)
    return [
        Problem(reason, source, block.lines[row], column, shorten(given[row].as_py() or ""))
        for row, reason in sorted(reasons.items())
    ]
