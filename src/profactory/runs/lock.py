"""The lock of a run: which process works in it, told by process id and start time."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from profactory.files import atomic_write_json, read_json
from profactory.runs.layout import explained, gone, locked, now
from profactory.runs.processes import Owner

if TYPE_CHECKING:
    from filelock import BaseFileLock

_GUARD_SECONDS = 20.0


class RunLock:
    """``lock.json`` of one run directory. A record of a dead process counts for nothing.

    Parameters
    ----------
    folder
        The run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "lock.json"
        self._depth = 0

    def owner(self) -> Owner | None:
        """Return the living process that holds the lock, if any."""
        owner = self.last_owner()
        return owner if owner is not None and owner.is_alive else None

    def last_owner(self) -> Owner | None:
        """Return the process that holds the lock, or that died holding it."""
        try:
            return Owner.from_record(read_json(self.record)) if self.record.is_file() else None
        except (OSError, ValueError):
            return None  # left unreadable by a crash of the whole machine: nobody holds the lock

    def acquire(self) -> None:
        """Take the lock, or one more level of it; RunLockedError if another process has it."""
        if self._depth == 0:
            with explained(self.folder, "Cannot lock the run"), self._guard():
                self._take()
        self._depth += 1

    def release(self) -> None:
        """Give back one level."""
        self._depth -= 1
        if self._depth or not self.record.exists():
            return  # without a record the directory was removed or renamed meanwhile
        with explained(self.folder, "Cannot unlock the run"), self._guard():
            owner = self.owner()
            if owner is not None and owner.pid == os.getpid():
                self.record.unlink(missing_ok=True)

    def _take(self) -> None:
        owner = self.owner()
        if owner is not None:
            raise locked(self.folder, owner)
        if self.record.exists():
            logging.getLogger("profactory").warning(
                "The run %s was left by a process that died; taking it over.", self.folder.name
            )
        atomic_write_json(self.record, asdict(Owner.current(now())))

    def _guard(self) -> BaseFileLock:
        """Lock of the system, held only while ``lock.json`` is read and written."""
        from filelock import FileLock

        if not self.folder.is_dir():
            raise gone(self.folder)
        return FileLock(self.folder / ".lock", timeout=_GUARD_SECONDS, thread_local=False)
