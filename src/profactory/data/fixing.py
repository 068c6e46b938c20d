"""Writing a clean copy of a data set, and a log of every change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from profactory.data.dataset import Dataset
from profactory.data.prepare import Prepared
from profactory.data.reading import open_table
from profactory.data.residues import clean_sequences
from profactory.data.writing import Writer, open_writer
from profactory.errors import DataError

WINDOW = 8192
CLEAN, REJECTED, CHANGES = "clean.csv", "rejected_rows.csv", "changes.csv"
CHANGE_COLUMNS = ("file", "line", "column", "change", "before", "after")
SPLITS = ("train", "validation", "test")


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
    """Write the usable rows, the rejected rows and a log of every change into a folder.

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
    names = [*parts, REJECTED, CHANGES]
    _check_free(out, names, overwrite)
    for name, rows in parts.items():
        _write_rows(dataset, rows, out / name)
    _write_rejected(prepared, out / REJECTED)
    changed = _write_changes(prepared, out / CHANGES)
    return Fixed(
        out,
        [str(out / name) for name in names],
        {name: len(rows) for name, rows in parts.items()},
        int(prepared.counts["rejected"]),
        changed,
    )


def _parts(dataset: Dataset) -> dict[str, Any]:
    """Return the rows of each clean file."""
    if not any(source["split"] for source in dataset.sources):
        return {CLEAN: np.arange(len(dataset))}
    rows = {f"{name}.csv": np.flatnonzero(dataset.splits == name) for name in SPLITS}
    return {name: indices for name, indices in rows.items() if len(indices)}


def _check_free(out: Path, names: list[str], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file.", expected="a folder", fix="choose another --out")
    taken = [name for name in names if (out / name).exists()]
    if taken and not overwrite:
        raise DataError(
            f"{out} already holds {', '.join(taken)}.",
            expected="a folder without them: nothing is overwritten unasked",
            fix="choose another --out, or add --overwrite",
        )


def _write_rows(dataset: Dataset, rows: Any, path: Path) -> None:
    names = dataset.table.column_names
    with open_writer(path, names) as writer:
        for start in range(0, len(rows), WINDOW):
            window = rows[start : start + WINDOW]
            writer.write({name: dataset.column(name, window).to_pylist() for name in names})


def _write_rejected(prepared: Prepared, path: Path) -> None:
    fields = ("file", "line", "column", "value", "reason")
    with open_writer(path, fields) as writer:
        writer.write({name: [getattr(p, name) for p in prepared.rejected] for name in fields})


def _write_changes(prepared: Prepared, path: Path) -> int:
    """Log removed rows and changed sequences; return the number of changed sequences."""
    changed = 0
    with open_writer(path, CHANGE_COLUMNS) as writer:
        for problem in prepared.rejected:
            cells = (
                problem.file,
                problem.line,
                problem.column,
                f"row removed: {problem.reason}",
                problem.value,
                "",
            )
            _write_change(writer, cells)
        for cells in _sequence_changes(prepared.dataset):
            _write_change(writer, cells)
            changed += 1
    return changed


def _write_change(writer: Writer, cells: tuple[Any, ...]) -> None:
    writer.write({name: [cell] for name, cell in zip(CHANGE_COLUMNS, cells, strict=True)})


def _sequence_changes(dataset: Dataset) -> Iterator[tuple[Any, ...]]:
    """Read the files again and compare; the data set holds clean sequences only."""
    column = dataset.columns.sequence
    lines, files = dataset.lines, np.asarray(dataset.files)
    for source in dataset.sources:
        used = set(lines[files == source["path"]].tolist())
        for chunk in open_table(source["path"]).chunks():
            before = chunk.columns.column(column)
            after = clean_sequences(before).sequences
            differ = pc.fill_null(pc.not_equal(before, after.cast(before.type)), False)
            for row in np.flatnonzero(differ.to_numpy(zero_copy_only=False)).tolist():
                if int(chunk.lines[row]) in used:
                    texts = before[row].as_py(), after[row].as_py()
                    yield source["path"], int(chunk.lines[row]), column, "sequence cleaned", *texts
