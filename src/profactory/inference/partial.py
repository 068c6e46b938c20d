"""What is finished of a long computation over the rows of a file, kept beside the output until all is.

``.NAME.partial/`` holds ``request.json`` (all that decides the output) and one Arrow file per finished
block of rows, each written whole or not at all. The same request goes on behind the last of them, and
since the output is written from these files alone, it does not depend on how often the work was
interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock, Timeout

from profactory.errors import RunLockedError
from profactory.files import atomic_file, atomic_write_json, read_json

SCHEMA_VERSION = 1
LOCK = ".lock"

log = logging.getLogger("profactory")


@contextlib.contextmanager
def working_alone(target: Path) -> Iterator[Path]:
    """Yield the folder beside a file in which it is made, to one process at a time; removed if it ends empty.

    The system gives the lock back when a process dies.

    Raises
    ------
    RunLockedError
        Another process makes the file.
    """
    folder = target.with_name(f".{target.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise RunLockedError(
            f"{target} is being written by another process.",
            expected="one process per output",
            fix="wait for it, end it, or choose another --out",
        ) from None
    try:
        yield folder
    finally:
        if [file.name for file in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder)
        lock.release()


class Partial:
    """The finished blocks of one output file.

    Parameters
    ----------
    folder
        From :func:`working_alone`.
    target
        The file that is to be written in the end.
    request
        All that decides its content, as JSON; blocks of another request are thrown away, and that is said.
    """

    def __init__(self, folder: Path, target: Path, request: Mapping[str, Any]) -> None:
        self.folder, self.target = folder, target
        self._request = {"schema_version": SCHEMA_VERSION, **request}
        if not self._is_ours():
            if self._file(0).exists():
                log.warning("%s is of another input, model or option: starting anew.", self.folder)
            self.discard()
            atomic_write_json(self.folder / "request.json", self._request)

    def __len__(self) -> int:
        """Return how many blocks are finished, counted without a gap from the first."""
        number = 0
        while self._file(number).exists():
            number += 1
        return number

    def add(self, number: int, table: pa.Table) -> None:
        """Keep a finished block."""
        with (
            atomic_file(self._file(number)) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the finished blocks in order."""
        for number in range(len(self)):
            yield self._read(number)

    def room_needed(self, blocks: float) -> int:
        """Estimate the bytes for the blocks that are missing and the output, from those that are there."""
        sizes = [self._file(number).stat().st_size for number in range(len(self))]
        each = sum(sizes) / len(sizes) if sizes else 0.0
        return round(each * (2 * blocks - len(sizes)))

    def discard(self) -> None:
        """Remove everything but the lock."""
        for file in [*self.folder.glob("block-*"), self.folder / "request.json"]:
            file.unlink(missing_ok=True)

    def _read(self, number: int) -> pa.Table:
        with pa.OSFile(str(self._file(number)), "rb") as source:
            return pa.ipc.open_file(source).read_all()

    def _file(self, number: int) -> Path:
        return self.folder / f"block-{number:06d}.arrow"

    def _is_ours(self) -> bool:
        try:
            return bool(read_json(self.folder / "request.json") == self._request)
        except (OSError, ValueError):
            return False
