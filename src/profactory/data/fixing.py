"""Writing what a check found: rejected rows; a clean copy of the data and a log of every change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.dataset import FILE, Dataset
from profactory.data.prepare import Prepared
from profactory.data.reading import open_table
from profactory.data.residues import clean_sequences
from profactory.data.writing import open_writer
from profactory.errors import DataError, Problem

WINDOW = 8192
CLEAN, REJECTED, CHANGES = "clean.csv", "rejected_rows.csv", "changes.csv"
REJECTED_COLUMNS = ("file", "line", "column", "value", "reason")
CHANGE_COLUMNS = ("file", "line", "column", "change", "before", "after")
SPLITS = ("train", "validation", "test")
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fixed:
    """What was written.

    Parameters
    ----------
    out
        The folder.
    files
        All files written.
    rows
        Rows in each clean file.
    removed, changed
        Rows left out, and sequences written differently.
    """

    out: Path
    files: list[str]
    rows: dict[str, int]
    removed: int
    changed: int

    @property
    def data(self) -> Path:
        """What to train on: the folder of split files, or the one clean file."""
        return self.out / CLEAN if CLEAN in self.rows else self.out

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {**vars(self), "out": str(self.out)}


def fix_dataset(prepared: Prepared, out: Path, *, overwrite: bool = False) -> Fixed:
    """Write the usable rows and a log of every change into a folder.

    Nothing but what the reader's rules say is changed: rows that cannot be used are left out; sequences
    lose white space and a stop codon at the end and become upper case. Labels, other columns and the order of
    rows stay. Data in files for train, validation and test stay in such files.

    Parameters
    ----------
    prepared
        A data set prepared with ``bad_rows="drop"``.
    out
        Folder; made if it is not there.
    overwrite
        Replace files of the same names.

    Raises
    ------
    DataError
        Files of these names are there already.
    """
    dataset = prepared.dataset
    parts = _parts(dataset)
    check_free(out, [*parts, CHANGES], overwrite=overwrite)
    for name, rows in parts.items():
        _write_rows(dataset, rows, out / name)
    changed = _write_changes(prepared, out / CHANGES)
    return Fixed(
        out,
        [str(out / name) for name in (*parts, CHANGES)],
        {name: len(rows) for name, rows in parts.items()},
        int(prepared.counts["rejected"]),
        changed,
    )


def write_rejected(prepared: Prepared, out: Path, *, overwrite: bool = False) -> Path:
    """Write every row that cannot be used into ``rejected_rows.csv`` of a folder; return its path.

    Raises
    ------
    DataError
        The file is there already.
    """
    return write_problems(prepared.all_rejected(), out, overwrite=overwrite)


def write_problems(rejected: Iterator[list[Problem]], out: Path, *, overwrite: bool = False) -> Path:
    """Do what :func:`write_rejected` does, where there is no data set."""
    check_free(out, [REJECTED], overwrite=overwrite)
    with open_writer(out / REJECTED, REJECTED_COLUMNS) as writer:
        for problems in rejected:
            writer.write({name: [getattr(p, name) for p in problems] for name in REJECTED_COLUMNS})
    return out / REJECTED


def check_free(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse to overwrite unasked.

    Raises
    ------
    DataError
        `out` is a file, or holds one of the names.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file.", expected="a folder", fix="choose another --out")
    taken = [name for name in names if (out / name).exists()]
    if taken and not overwrite:
        raise DataError(
            f"{out} already holds {', '.join(taken)}.",
            expected="a folder without them: nothing is overwritten unasked",
            fix="choose another --out, or add --overwrite",
        )


def _parts(dataset: Dataset) -> dict[str, Rows]:
    """Return the rows of each clean file."""
    if not any(source["split"] for source in dataset.sources):
        return {CLEAN: np.arange(len(dataset))}
    rows = {f"{name}.csv": np.flatnonzero(dataset.splits == name) for name in SPLITS}
    return {name: indices for name, indices in rows.items() if len(indices)}


def _write_rows(dataset: Dataset, rows: Rows, path: Path) -> None:
    names = dataset.table.column_names
    with open_writer(path, names, verbatim=True) as writer:
        for start in range(0, len(rows), WINDOW):
            window = rows[start : start + WINDOW]
            writer.write({name: dataset.column(name, window).to_pylist() for name in names})


def _write_changes(prepared: Prepared, path: Path) -> int:
    """Log removed rows and changed sequences; return the number of changed sequences."""
    changed = 0
    with open_writer(path, CHANGE_COLUMNS) as writer:
        for problems in prepared.all_rejected():
            rows = [(p.file, p.line, p.column, f"row removed: {p.reason}", p.value, "") for p in problems]
            writer.write(dict(zip(CHANGE_COLUMNS, zip(*rows, strict=True), strict=True)))
        for rows in _sequence_changes(prepared.dataset):
            writer.write(dict(zip(CHANGE_COLUMNS, zip(*rows, strict=True), strict=True)))
            changed += len(rows)
    return changed


def _sequence_changes(dataset: Dataset) -> Iterator[list[tuple[Any, ...]]]:
    """Read the files again and compare; the data set holds clean sequences only."""
    column, pattern = dataset.columns.sequence, dataset.meta["header_pattern"]
    files = dataset.column(FILE).to_numpy()
    for index, source in enumerate(dataset.sources):
        used = dataset.lines[files == index]  # ascending, as in the file
        for chunk in open_table(source["path"], header_pattern=pattern).chunks():
            before = chunk.columns.column(column)
            after = clean_sequences(before).sequences.cast(before.type)
            differ = pc.fill_null(pc.not_equal(before, after), False).to_numpy(zero_copy_only=False)
            rows = np.flatnonzero(differ & np.isin(chunk.lines, _between(used, chunk.lines)))
            if len(rows):
                yield [
                    (source["path"], line, column, "sequence cleaned", old, new)
                    for line, old, new in zip(
                        chunk.lines[rows].tolist(), _texts(before, rows), _texts(after, rows), strict=True
                    )
                ]


def _between(used: Rows, lines: Rows) -> Rows:
    """Return the part of the ascending `used` that lies within the lines of a chunk."""
    if not len(lines):
        return used[:0]
    low, high = np.searchsorted(used, [lines.min(), lines.max() + 1])
    return used[low:high]


def _texts(cells: pa.Array, rows: Rows) -> list[str]:
    return list(cells.take(pa.array(rows)).to_pylist())
