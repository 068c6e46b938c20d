"""Collecting row problems: every one counted and written down, the first ten thousand also at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from profactory.data.texts import take
from profactory.errors import Problem, shorten

KEPT = 10_000
VALUE_LENGTH = 200
WINDOW = 8192
_SCHEMA = pa.schema(
    [("file", pa.int32()), ("line", pa.int64())]
    + [(name, pa.string()) for name in ("column", "value", "reason")]
)


class Problems:
    """All rows that cannot be used.

    Parameters
    ----------
    store
        Arrow file for all of them, made with the first and whole after :meth:`finish`; None for none.
    files
        Paths of the data set, in their order.
    kept
        How many (``KEPT`` if None) are remembered with their place; the rest are only in `store`, so that
        memory stays flat.
    """

    def __init__(self, store: Path | None = None, files: Sequence[str] = (), kept: int | None = None) -> None:
        self.kept = KEPT if kept is None else kept
        self.listed: list[Problem] = []
        self.total = 0
        self.kinds: Counter[str] = Counter()
        self._store = store
        self._place = {file: index for index, file in enumerate(files)}
        self._waiting: list[Problem] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, problem: Problem, *, kind: str) -> None:
        """Count a problem under a kind (``unreadable``, ``sequence``, ``label``, ``split``)."""
        self.total += 1
        self.kinds[kind] += 1
        value = shorten(problem.value, VALUE_LENGTH)
        problem = Problem(problem.reason, problem.file, problem.line, problem.column, value)
        if len(self.listed) < self.kept:
            self.listed.append(problem)
        if self._store is not None:
            self._waiting.append(problem)
            if len(self._waiting) >= WINDOW:
                self._flush()

    def extend(self, problems: Iterable[Problem], *, kind: str) -> None:
        """Count several problems of one kind."""
        for problem in problems:
            self.add(problem, kind=kind)

    def finish(self) -> None:
        """Write what waits, and close the file."""
        if self._waiting:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def summary(self) -> str:
        """Return the numbers by kind, such as ``sequence: 3, label: 1``."""
        return ", ".join(f"{kind}: {number:,}" for kind, number in self.kinds.most_common())

    def in_order(self) -> list[Problem]:
        """Return the listed problems as they stand in the files."""
        return sorted(self.listed, key=lambda problem: (self._index(problem), problem.line or 0))

    def _index(self, problem: Problem) -> int:
        return self._place.get(problem.file, -1)

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._store), _SCHEMA)
        rows = self._waiting
        columns = [[self._index(problem) for problem in rows], [problem.line or 0 for problem in rows]]
        texts = [[getattr(problem, name) for problem in rows] for name in _SCHEMA.names[2:]]
        arrays = [
            pa.array(cells, field.type) for cells, field in zip([*columns, *texts], _SCHEMA, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))
        self._waiting = []


def stored_problems(store: Path, files: Sequence[str]) -> Iterator[list[Problem]]:
    """Yield all problems of a finished file in windows, as they stand in the data's files."""
    if not store.exists():
        return
    with pa.memory_map(str(store)) as source:
        table = pa.ipc.open_file(source).read_all()
        order = np.lexsort((table.column("line").to_numpy(), table.column("file").to_numpy()))
        for start in range(0, len(order), WINDOW):
            rows = order[start : start + WINDOW]
            columns = [take(column, rows).to_pylist() for column in table.columns]
            yield [
                Problem(reason, files[file] if file >= 0 else "", line, column, value)
                for file, line, column, value, reason in zip(*columns, strict=True)
            ]
