"""From source files to one Arrow file: sequences cleaned, splits named, bad rows set aside; flat memory."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.columns import SPLIT as SPLIT_NAMES
from profactory.data.columns import Columns, find_columns, normalise
from profactory.data.dataset import FILE, LENGTH, LINE, SPLIT, SPLIT_CODES
from profactory.data.problems import Problems
from profactory.data.reading import Chunk, Join, Table, open_table
from profactory.data.residues import clean_sequences, lengths_of
from profactory.data.sources import SPLIT_WORDS, SourceFile
from profactory.data.storing import Store
from profactory.errors import ColumnError, Problem, ReadError, shorten
from profactory.progress import Progress

logger = logging.getLogger("profactory")

_CODES = {word: SPLIT_CODES.index(split) for word, split in SPLIT_WORDS.items()}


@dataclass(frozen=True)
class Reading:
    """What the user asked of the reader.

    Parameters
    ----------
    sequence, labels, split
        Column names typed, or None.
    model_labels
        Names of the label columns that a model was trained on; taken if the table has them all.
    need_labels
        Whether a table without a label column is an error.
    header_pattern
        For FASTA.
    limit
        Rows read of each split at most (of the whole, if files are not splits).
    sample
        Share of the rows to keep, drawn with `seed`.
    """

    sequence: str | None = None
    labels: tuple[str, ...] = ()
    split: str | None = None
    model_labels: tuple[str, ...] = ()
    need_labels: bool = True
    header_pattern: str | None = None
    limit: int | None = None
    sample: float | None = None
    seed: int = 0


@dataclass
class Ingested:
    """What came of reading.

    Parameters
    ----------
    columns
        The columns found.
    names
        All columns of the user's tables, in order.
    rows_read, counts
        Rows looked at, and the counts of the residue policy.
    empty_cells
        Cells without text, by column, where there are any.
    """

    columns: Columns
    names: list[str]
    rows_read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    empty_cells: Counter[str] = field(default_factory=Counter)


def ingest(
    files: Sequence[SourceFile],
    reading: Reading,
    target: Path,
    problems: Problems,
    join: Join | None = None,
) -> Ingested:
    """Read all files into one Arrow IPC file.

    Parameters
    ----------
    files
        In the order in which their rows shall stand.
    reading
        Options.
    target
        Arrow file to be written; beside it the hashes of the sequences, for :func:`.storing.take_hashes`.
    problems
        Collects the rows that are left out.
    join
        Adds columns to each table.

    Raises
    ------
    ReadError, ColumnError
        A file cannot be read, or lacks a column that it must have.
    """
    tables = [open_table(file.path, header_pattern=reading.header_pattern) for file in files]
    tables = [join(table) for table in tables] if join else tables
    columns = _columns_of(tables, files, reading)
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    result = Ingested(columns, names)
    schema = pa.schema(
        [(name, pa.large_string()) for name in names]
        + [(LINE, pa.int64()), (FILE, pa.int32()), (SPLIT, pa.int8()), (LENGTH, pa.int32())]
    )
    with Store(target, schema, columns.sequence) as store:
        _Ingestion(reading, result, store, problems).run(tables, files)
    if not result.rows_read:
        raise ReadError(
            f"{', '.join(str(file.path) for file in files[:3])}: there is a header but no row.",
            expected="at least one row below the header",
            fix="check that the export ended",
        )
    return result


def _columns_of(tables: Sequence[Table], files: Sequence[SourceFile], reading: Reading) -> Columns:
    """Find the columns in the first table and make sure that the others have them too."""
    first = tables[0]
    trained_on = reading.model_labels if set(reading.model_labels) <= set(first.columns) else ()
    columns = find_columns(
        first.columns,
        sequence=reading.sequence,
        label=reading.labels or trained_on,
        split=reading.split,
        need_label=reading.need_labels,
        file=str(first.path),
    )
    if columns.split and (files[0].split or not _is_split_column(first, columns.split, reading)):
        columns = Columns(columns.sequence, columns.labels, None, columns.identifier)
    needed = [columns.sequence, *columns.labels, *([columns.split] if columns.split else [])]
    for table in tables[1:]:
        missing = [name for name in needed if name not in table.columns]
        if missing:
            raise ColumnError(
                f"{table.path}: column {missing[0]!r} of {first.path.name} is missing.",
                expected=f"the columns {', '.join(map(repr, needed))} in every file",
                fix=f"rename the column; this file has {', '.join(map(repr, table.columns[:20]))}",
            )
    return columns


def _is_split_column(table: Table, name: str, reading: Reading) -> bool:
    """Tell whether a column found by a vague name such as `fold` or `set` really holds splits."""
    if reading.split or normalise(name) in SPLIT_NAMES[0]:
        return True
    first = next((chunk for chunk in table.chunks() if chunk.columns.num_rows), None)
    values = first.columns.column(name).unique().to_pylist() if first else []
    if all(value.strip().casefold() in SPLIT_WORDS for value in values):
        return True
    logger.info("%s: column %r holds other words than train, validation and test; not used", table.path, name)
    return False


def _ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield chunks, the next read in a thread while one is used: pyarrow parses without Python's lock."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk


class _Ingestion:
    """The state of one pass over all files."""

    def __init__(self, reading: Reading, result: Ingested, store: Store, problems: Problems) -> None:
        self.reading = reading
        self.result = result
        self.store = store
        self.problems = problems
        self.random = np.random.default_rng(reading.seed)

    def run(self, tables: Sequence[Table], files: Sequence[SourceFile]) -> None:
        left: dict[str, float] = {}
        with Progress("reading", unit="rows") as progress:
            for index, (table, file) in enumerate(zip(tables, files, strict=True)):
                room = left.setdefault(file.split, self.reading.limit or float("inf"))
                for chunk in _ahead(table.chunks()) if room > 0 else ():
                    chunk = self._narrowed(chunk, room)
                    room -= chunk.columns.num_rows + len(chunk.problems)
                    progress.advance(chunk.columns.num_rows)
                    self._take(chunk, index, file)
                    if room <= 0:
                        break
                left[file.split] = room

    def _narrowed(self, chunk: Chunk, room: float) -> Chunk:
        """Apply --sample and --limit to a chunk."""
        rows = chunk.columns.num_rows
        keep = np.ones(rows, bool)
        problems = chunk.problems
        if self.reading.sample is not None:
            keep = self.random.random(rows) < self.reading.sample
            problems = [p for p in problems if self.random.random() < self.reading.sample]
        if keep.sum() + len(problems) > room:
            lines = np.concatenate([chunk.lines[keep], [p.line or 0 for p in problems]])
            last = np.sort(lines)[int(room) - 1]
            keep &= chunk.lines <= last
            problems = [p for p in problems if (p.line or 0) <= last]
        if keep.all() and problems is chunk.problems:
            return chunk
        return Chunk(chunk.columns.filter(pa.array(keep)), chunk.lines[keep], problems)

    def _take(self, chunk: Chunk, index: int, file: SourceFile) -> None:
        """Clean a chunk and write what is good."""
        result, columns = self.result, self.result.columns
        rows = chunk.columns.num_rows
        result.rows_read += rows + len(chunk.problems)
        self.problems.extend(chunk.problems, kind="unreadable")
        result.empty_cells.update(_empty_cells(chunk.columns))
        cleaned = clean_sequences(chunk.columns.column(columns.sequence))
        result.counts.update(cleaned.counts)
        good = cleaned.good
        for row, reason in sorted(cleaned.reasons.items()):
            self._refuse(chunk, file, row, columns.sequence, reason, "sequence")
        splits = np.full(rows, SPLIT_CODES.index(file.split), np.int8)
        if columns.split:
            splits, known = self._splits(chunk.columns.column(columns.split))
            reason = "the split is none of train, validation (valid, val, dev) and test"
            for row in np.flatnonzero(~known & good).tolist():
                self._refuse(chunk, file, row, columns.split, reason, "split")
            good &= known
        self._write(chunk, cleaned.sequences, splits, good, index)

    def _write(
        self,
        chunk: Chunk,
        sequences: pa.Array,
        splits: NDArray[np.int8],
        good: NDArray[np.bool_],
        index: int,
    ) -> None:
        rows = chunk.columns.num_rows
        arrays = []
        for name in self.result.names:
            if name == self.result.columns.sequence:
                cells = sequences
            elif name in chunk.columns.schema.names:
                cells = chunk.columns.column(name)
            else:
                cells = pa.array([""] * rows, pa.string())
            arrays.append(cells.cast(pa.large_string()))
        own = [chunk.lines, np.full(rows, index, np.int32), splits, lengths_of(sequences)]
        arrays += [pa.array(values) for values in own]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.store.schema)
        batch = batch if good.all() else batch.filter(pa.array(good))
        if batch.num_rows:
            self.store.write(batch)

    def _splits(self, cells: pa.Array) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Return the code of each row's split, and whether it is known."""
        encoded = pc.dictionary_encode(cells)
        codes = [_CODES.get(word.strip().casefold(), -1) for word in encoded.dictionary.to_pylist()]
        values = np.array(codes, np.int8)[encoded.indices.to_numpy()] if codes else np.empty(0, np.int8)
        return values, values >= 0

    def _refuse(self, chunk: Chunk, file: SourceFile, row: int, column: str, reason: str, kind: str) -> None:
        value = shorten(chunk.columns.column(column)[row].as_py())
        line = int(chunk.lines[row])
        self.problems.add(Problem(reason, str(file.path), line, column, value), kind=kind)


def _empty_cells(columns: pa.RecordBatch) -> dict[str, int]:
    """Count the cells without text of each column that has any."""
    empty = {
        name: pc.sum(pc.equal(pc.binary_length(cells), 0)).as_py()
        for name, cells in zip(columns.schema.names, columns.columns, strict=True)
    }
    return {name: count for name, count in empty.items() if count}
