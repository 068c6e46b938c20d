"""Dividing a table into files for train, validation and test."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.dataset import Dataset
from profactory.data.leakage import Leakage, find_leakage_anyhow, not_compared
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
    leakage
        How near the test sequences are to the training sequences; None without a test or a training set, and
        where there are too many rows, which `note` then says.
    """

    out: Path
    counts: dict[str, int]
    note: str
    leakage: Leakage | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        leakage = self.leakage.to_dict() if self.leakage else None
        return {"out": str(self.out), "counts": self.counts, "note": self.note, "leakage": leakage}

    def text(self) -> str:
        """Return the report as lines for people."""
        files = [f"{name:<11}{rows:>10,}  {self.out / (name + '.csv')}" for name, rows in self.counts.items()]
        found = self.leakage
        said = [f"Test against train: {found.summary}", found.warning] if found else []
        return "\n".join(filter(None, [self.note, *files, *said]))


def split_data(
    source: str | Path,
    out: str | Path,
    *,
    method: str = "auto",
    ratios: tuple[float, float, float] = (0.8, 0.1, 0.1),
    identity: float = 0.3,
    seed: int = 0,
    overwrite: bool = False,
    **columns: Any,
) -> SplitReport:
    """Divide a table; every row goes to exactly one file, with all its columns;
    sequences are cleaned by the residue policy.

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
    result = assign_splits(dataset, prepared.task, method=method, ratios=ratios, seed=seed, identity=identity)
    counts = {}
    for name in SPLITS:
        indices = np.flatnonzero(result.splits == name)
        counts[name] = len(indices)
        (folder / f"{name}.csv").unlink(missing_ok=True)
        if len(indices):
            _write(dataset, indices, name, folder / f"{name}.csv")
    note, leakage = result.note, None
    if counts["train"] and counts["test"]:
        if said := not_compared(len(dataset)):
            note = f"{note} {said}"
        else:
            leakage = find_leakage_anyhow(dataset, result.splits, seed=seed)
    return SplitReport(folder, counts, note, leakage)


def _write(dataset: Dataset, rows: NDArray[np.int64], split: str, path: Path) -> None:
    names = dataset.table.column_names
    with open_writer(path, names, verbatim=True) as writer:
        for start in range(0, len(rows), WINDOW):
            cells = dataset.select(rows[start : start + WINDOW]).table.to_pydict()
            if dataset.columns.split is not None:  # says what the rows were before
                cells[dataset.columns.split] = [split] * len(cells[names[0]])
            writer.write(cells)


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
