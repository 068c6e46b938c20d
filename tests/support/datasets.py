"""Data sets in memory, without a file behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from profactory.data.columns import Columns
from profactory.data.dataset import FILE, LENGTH, LINE, SPLIT, SPLIT_CODES, Dataset


def make_dataset(
    sequences: Sequence[str], labels: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> Dataset:
    """Make a data set with the columns sequence, label (if given) and split (if given)."""
    columns = {"sequence": pa.array(sequences, pa.large_string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.large_string())
    codes = [SPLIT_CODES.index(split) for split in splits or [""] * len(sequences)]
    columns[LINE] = pa.array(np.arange(len(sequences)) + 2, pa.int64())
    columns[FILE] = pa.array(np.zeros(len(sequences)), pa.int32())
    columns[SPLIT] = pa.array(codes, pa.int8())
    columns[LENGTH] = pa.array([len(sequence) for sequence in sequences], pa.int32())
    names = Columns("sequence", ("label",) if labels is not None else ())
    meta = {"columns": names.to_dict(), "sha256": "", "sources": [{"path": "memory.csv"}]}
    return Dataset(Path("memory"), pa.table(columns), meta)
