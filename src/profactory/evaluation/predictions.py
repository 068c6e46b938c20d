"""The prediction file of one split: what was read, and beside it what was predicted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from profactory.data.writing import free_name, open_writer
from profactory.errors import DataError

BLOCK = 4096


def write_predictions(path: Path, inputs: pa.Table, predictions: Mapping[str, Any]) -> dict[str, str]:
    """Write input columns, then prediction columns, row by row.

    Parameters
    ----------
    path
        The file; its ending chooses the format.
    inputs
        The rows as they were read, all columns.
    predictions
        Columns of :meth:`Task.decode`, in the same order of rows.

    Returns
    -------
    dict
        Prediction column to the name that it has in the file: another one (``prediction_2``) if
        the input has such a column already.
    """
    for name, column in predictions.items():
        if len(column) != len(inputs):
            raise DataError(
                f"{len(column):,} predictions ({name}) for {len(inputs):,} rows.", expected="one for each"
            )
    names: dict[str, str] = {}
    for name in predictions:
        names[name] = free_name(name, [*inputs.column_names, *names.values()])
    with open_writer(path, [*inputs.column_names, *names.values()]) as writer:
        for start in range(0, len(inputs), BLOCK):
            block: dict[str, Any] = inputs.slice(start, BLOCK).to_pydict()
            block |= {names[name]: column[start : start + BLOCK] for name, column in predictions.items()}
            writer.write(block)
    return names
