"""Dividing a table into files for train, validation and test."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from profactory.data.dataset import Dataset
from profactory.data.prepare import prepare_dataset
from profactory.data.splitting import assign_splits
from profactory.data.writing import open_writer
from profactory.errors import SplitError

SPLITS = ("train", "validation", "test")
WINDOW = 8192

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class SplitReport:
    """What a table was divided into.

    Parameters
    ----------
    out
        Folder with the files.
    counts
        Rows per split.
    note
        How the rows were divided.
    """

    out: Path
    counts: dict[str, int]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {"out": str(self.out), "counts": self.counts, "note": self.note}

    def text(self) -> str:
        """Return the report as lines for people."""
        files = [f"{name:<11}{rows:>10,}  {self.out / (name + '.csv')}" for name, rows in self.counts.items()]
        return "\n".join([self.note, *files] if self.note else files)


def split_data(
    source: str | Path,
    out: str | Path,
    *,
    method: str = "auto",
    ratios: Sequence[float] = (0.8, 0.1, 0.1),
    identity: float = 0.3,
    seed: int = 0,
    overwrite: bool = False,
    **columns: Any,
) -> SplitReport:
    """Divide a table; every row goes to exactly one file, with all its columns as they are.

    Parameters
    ----------
    source
        Whatever training takes.
    out
        Folder for ``train.csv``, ``validation.csv`` and ``test.csv``.
    method, ratios, identity, seed
        As for :func:`profactory.data.splitting.assign_splits`.
    overwrite
        Replace files that are there.
    **columns
        ``sequence_column``, ``label_column``, ``split_column``, ``task``, ``bad_rows`` of
        :func:`profactory.data.prepare.prepare_dataset`.

    Raises
    ------
    SplitError
        The files exist already, or the data cannot be divided as asked.
    """
    folder = Path(out)
    _check_free(folder, overwrite)
    prepared = prepare_dataset(str(source), need_labels=False, seed=seed, **columns)
    dataset = prepared.dataset
    result = assign_splits(
        dataset, prepared.task, method=method, ratios=tuple(ratios), seed=seed, identity=identity
    )
    rows = {name: np.flatnonzero(result.splits == name) for name in SPLITS}
    for name, indices in rows.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)
        if len(indices):
            _write(_labelled(dataset, name), indices, folder / f"{name}.csv")
    return SplitReport(folder, {name: len(indices) for name, indices in rows.items()}, result.note)


def _labelled(dataset: Dataset, split: str) -> pa.Table:
    """Return the table; a split column that it has says what the rows now are."""
    column = dataset.columns.split
    if column is None:
        return dataset.table
    place = dataset.table.column_names.index(column)
    return dataset.table.set_column(place, column, pa.array([split] * len(dataset.table), pa.string()))


def _write(table: pa.Table, indices: np.ndarray[Any, np.dtype[np.int64]], path: Path) -> None:
    with open_writer(path, table.column_names) as writer:
        for cells in _windows(table, indices):
            writer.write(cells)


def _windows(
    table: pa.Table, indices: np.ndarray[Any, np.dtype[np.int64]]
) -> Iterator[Mapping[str, list[Any]]]:
    for start in range(0, len(indices), WINDOW):
        yield table.take(pa.array(indices[start : start + WINDOW])).to_pydict()


def _check_free(folder: Path, overwrite: bool) -> None:
    taken = [name for name in SPLITS if (folder / f"{name}.csv").exists()]
    if folder.exists() and not folder.is_dir():
        raise SplitError(f"{folder} is a file.", expected="a folder", fix="choose another --out")
    if taken and not overwrite:
        raise SplitError(
            f"{folder} already holds {', '.join(f'{name}.csv' for name in taken)}.",
            expected="a folder without them: nothing is overwritten unasked",
            fix="choose another --out, or add --overwrite",
        )
