"""Writing a validated table: batches joined to some megabytes, and beside them a hash of each sequence."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profactory.data.overlap import hash_rows

BATCH_BYTES = 4_000_000  # few batches, so that looking at a column touches few pages of the file


class Store:
    """An Arrow IPC file that is written by a thread, while the next rows are made ready.

    Parameters
    ----------
    target
        The file.
    schema
        Its columns.
    sequence
        The column whose hashes are kept, in a file beside it: eight bytes a row need not be in memory.
    """

    def __init__(self, target: Path, schema: pa.Schema, sequence: str) -> None:
        self.target, self.schema, self.sequence = target, schema, sequence
        self.hashes = target.with_suffix(".hashes")
        self._waiting: list[pa.RecordBatch] = []
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            sink = stack.enter_context(pa.OSFile(str(self.target), "wb"))
            self._writer = stack.enter_context(pa.ipc.new_file(sink, self.schema))
            self._hashes = stack.enter_context(self.hashes.open("wb"))
            self._pool = stack.enter_context(ThreadPoolExecutor(1))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if kind is None:
                self._flush()
                self._settle()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        hash_rows([batch.column(self.sequence)]).tofile(self._hashes)
        self._waiting.append(batch)
        if sum(waiting.nbytes for waiting in self._waiting) >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._settle()
        self._written = self._pool.submit(self._join_and_write, self._waiting)
        self._waiting = []

    def _settle(self) -> None:
        if self._written is not None:
            self._written.result()

    def _join_and_write(self, batches: list[pa.RecordBatch]) -> None:
        for batch in pa.Table.from_batches(batches, self.schema).combine_chunks().to_batches():
            self._writer.write_batch(batch)
        # Memory that one thread takes and another gives back piles up otherwise, 20 MB of it.
        pa.default_memory_pool().release_unused()


def take_hashes(target: Path) -> NDArray[np.int64]:
    """Return the hashes of a file that a :class:`Store` wrote, memory-mapped, and remove their file."""
    path = target.with_suffix(".hashes")
    hashes = np.memmap(path, np.int64, "r") if path.stat().st_size else np.empty(0, np.int64)
    path.unlink()
    return hashes
