"""Sequences that occur more than once: with the same label, with another, across splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.columns import Columns
from profactory.data.dataset import LENGTH, SPLIT, SPLIT_CODES
from profactory.data.integers import among
from profactory.data.texts import take

BATCH_ROWS = 20_000


def count_overlaps(table: pa.Table, columns: Columns, sequences: NDArray[np.int64]) -> dict[str, Any]:
    """Count what a user should know about a data set before training on it.

    Sequences are compared by a 64-bit hash, sorted in memory, 8 bytes per row; among ten million different
    sequences the chance that any two are taken for the same is below one in 100,000.

    Parameters
    ----------
    table
        Memory-mapped, with our own columns.
    columns
        Which of them hold labels.
    sequences
        Hash of each row's sequence, by :func:`hash_rows`; shape ``(n,)``.

    Returns
    -------
    dict
        ``duplicates``: rows whose sequence stood in an earlier row. ``contradictory``: sequences with
        more than one label. ``splits``: rows per split. ``in_train``: rows of validation and test whose
        sequence also occurs in train. ``length``: shortest, mean and longest, and all ``residues``.
    """
    splits = table.column(SPLIT).to_numpy()
    lengths = table.column(LENGTH)
    residues = pc.sum(lengths).as_py()
    ordered = np.sort(sequences)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    rows = np.flatnonzero(among(sequences, again)) if columns.labels else np.empty(0, np.int64)
    counts: dict[str, Any] = {
        "duplicates": len(again),
        "contradictory": _contradictory(sequences[rows], _label_hashes(table, columns, rows)),
        "splits": {name: int((splits == code).sum()) for code, name in enumerate(SPLIT_CODES) if name},
        "length": {
            "shortest": pc.min(lengths).as_py(),
            "mean": round(residues / len(lengths), 1),
            "longest": pc.max(lengths).as_py(),
        },
        "total_residues": residues,
    }
    train = np.sort(sequences[splits == SPLIT_CODES.index("train")])
    counts["in_train"] = {
        name: int(among(sequences[splits == SPLIT_CODES.index(name)], train).sum())
        for name in ("validation", "test")
    }
    return counts


def hash_rows(columns: Sequence[pa.Array]) -> NDArray[np.int64]:
    """Return a hash of the cells of each row; Python's own, keyed anew in every process."""
    cells: list[Any] = [column.to_pylist() for column in columns]
    rows = cells[0] if len(cells) == 1 else zip(*cells, strict=True)
    return np.fromiter(map(hash, rows), np.int64, len(columns[0]))


def _label_hashes(table: pa.Table, columns: Columns, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    parts = [
        hash_rows([take(table.column(name), rows[start : start + BATCH_ROWS]) for name in columns.labels])
        for start in range(0, len(rows), BATCH_ROWS)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def _contradictory(sequences: NDArray[np.int64], labels: NDArray[np.int64]) -> int:
    """Count the sequences that occur with more than one label."""
    order = np.lexsort((labels, sequences))
    sequences, labels = sequences[order], labels[order]
    same_sequence = sequences[1:] == sequences[:-1]
    return len(np.unique(sequences[1:][same_sequence & (labels[1:] != labels[:-1])]))
