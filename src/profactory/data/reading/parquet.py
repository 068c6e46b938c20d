"""Parquet: every type becomes text by a rule that loses nothing.

Text stays; integers are digits; floats are their shortest ``repr`` (``1.0``, ``0.1``); booleans ``true`` and
``false``; null is the empty text; lists and structs are JSON; dates and times ISO 8601.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from profactory.data.reading.table import Chunk, Limits, check_header, text_batch
from profactory.errors import Problem, ReadError

BATCH_ROWS = 10_000


class ParquetTable:
    """Rows of a Parquet file; their line is their number, from 1.

    Raises
    ------
    ReadError
        A damaged file, or a column of bytes.
    """

    format = "parquet"

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        with self._open() as file:
            self.columns = check_header(file.schema_arrow.names, path, limit=limits.columns)
            for field in file.schema_arrow:
                if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
                    raise ReadError(
                        f"{path}: column {field.name!r} holds bytes, not text.",
                        expected="columns of text or numbers",
                        fix="write the column as strings",
                    )

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows; see :class:`~profactory.data.reading.table.Table`."""
        row = 1
        with self._open() as file:
            batches = file.iter_batches(batch_size=BATCH_ROWS)
            while (batch := self._next(batches)) is not None:
                lines = np.arange(row, row + batch.num_rows, dtype=np.int64)
                row += batch.num_rows
                yield self._chunk(batch, lines)

    def _chunk(self, batch: pa.RecordBatch, lines: np.ndarray) -> Chunk:
        cells = [to_text(column) for column in batch.columns]
        problems: list[Problem] = []
        bad = np.zeros(len(lines), bool)
        for name, column in zip(self.columns, cells, strict=True):
            wrong = pc.or_(
                pc.greater(pc.binary_length(column), self.limits.field), pc.match_substring(column, "\0")
            ).to_numpy(zero_copy_only=False)
            reason = f"the cell holds a NUL character or more than {self.limits.field:,} characters"
            problems += [
                Problem(reason, file=str(self.path), line=int(lines[i]), column=name)
                for i in np.flatnonzero(wrong & ~bad)
            ]
            bad |= wrong
        result = text_batch(self.columns, cells)
        return Chunk(result.filter(pa.array(~bad)) if bad.any() else result, lines[~bad], problems)

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ReadError:
        return ReadError(
            f"{self.path}: the Parquet file is damaged or cut off ({error}).",
            expected="a whole Parquet file",
            fix="write or copy the file again",
        )


def to_text(column: pa.Array) -> pa.Array:
    """Turn a column of any type into text without losing anything."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return to_text(column.dictionary_decode())
    if pa.types.is_floating(kind):
        cells = _float_texts(column)
    elif pa.types.is_nested(kind):
        cells = [
            "" if item is None else json.dumps(item, default=str, ensure_ascii=False)
            for item in column.to_pylist()
        ]
    else:
        return pc.fill_null(column.cast(pa.string()), "")
    return pa.array(cells, pa.string())


def _float_texts(column: pa.Array) -> list[str]:
    """Write floats with the fewest digits that give the same number of the same width."""
    if column.type == pa.float64():
        return ["" if item is None else repr(item) for item in column.to_pylist()]
    texts = column.to_numpy(zero_copy_only=False).astype(column.type.to_pandas_dtype()).astype(str).tolist()
    missing = column.is_null().to_pylist()
    return ["" if null else text for text, null in zip(texts, missing, strict=True)]
