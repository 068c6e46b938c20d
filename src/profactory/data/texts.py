"""A column of a memory-mapped table as texts that are read when they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BLOCK = 8192  # texts that are Python objects at a time


class Texts(Sequence[str]):
    """Texts of some rows of a column: a list to whoever reads it, eight bytes a row in memory.

    Parameters
    ----------
    values
        The column; what is memory-mapped stays on disk.
    rows
        Which of its rows, in this order, shape ``(n,)``; None for all.
    """

    def __init__(self, values: pa.ChunkedArray, rows: NDArray[np.int64] | None = None) -> None:
        self._values = values
        self._rows = rows
        self._starts = list(accumulate(map(len, values.chunks), initial=0))

    def __len__(self) -> int:
        return len(self._values) if self._rows is None else len(self._rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> str | Texts:
        """Return one text, or those of a slice, which are not read yet."""
        rows: range | NDArray[np.int64] = range(len(self)) if self._rows is None else self._rows
        if isinstance(index, slice):
            return Texts(self._values, np.asarray(rows[index], np.int64))
        row = int(rows[index])
        number = bisect_right(self._starts, row) - 1
        return str(self._values.chunk(number)[row - self._starts[number]].as_py())

    def __iter__(self) -> Iterator[str]:
        """Yield the texts in order, read some thousand at a time."""
        for start in range(0, len(self), BLOCK):
            if self._rows is None:
                block = self._values.slice(start, BLOCK)
            else:
                block = take(self._values, self._rows[start : start + BLOCK])
            yield from block.to_pylist()


def take(values: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.ChunkedArray:
    """Take rows from a chunked array touching only these; pyarrow would first join all chunks.

    Parameters
    ----------
    values
        Any type.
    rows
        Shape ``(n,)``, any order, repetitions allowed.
    """
    starts = np.cumsum([0] + [len(chunk) for chunk in values.chunks])
    order = None if (rows[1:] >= rows[:-1]).all() else np.argsort(rows, kind="stable")
    ordered = rows if order is None else rows[order]
    bounds = np.searchsorted(ordered, starts)
    parts = [
        chunk.take(pa.array(ordered[low:high] - start))
        for chunk, start, low, high in zip(values.chunks, starts[:-1], bounds[:-1], bounds[1:], strict=True)
        if high > low
    ]
    if sum(map(len, parts)) != len(rows):
        raise IndexError("a row number is outside the data set")
    if not parts:
        return pa.chunked_array([], values.type)
    if order is None:
        return pa.chunked_array(parts)
    inverse = np.empty(len(rows), np.int64)
    inverse[order] = np.arange(len(rows))
    return pa.chunked_array([pa.concat_arrays(parts).take(pa.array(inverse))])
