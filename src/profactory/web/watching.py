"""What a run says of itself, read as it grows: only new lines are read, once for all visitors."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_RUNS = 64
LOG_BYTES = 24_000


@dataclass
class EventLog:
    """The events of one run so far.

    Parameters
    ----------
    path
        ``events.jsonl`` of the run.
    """

    path: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    _place: int = 0
    _file: tuple[int, int] = (0, 0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[dict[str, Any]]:
        """Return all events, having read those that are new.

        A file that was replaced (a resumed run takes back the rows after its checkpoint) is read anew; a last
        line without its end is left for the next time.
        """
        with self._lock:
            try:
                with self.path.open("rb") as source:
                    self._follow(os.fstat(source.fileno()))
                    source.seek(self._place)
                    self._take(source.read())
            except FileNotFoundError:
                self._forget()
            return list(self.events)

    def _follow(self, found: os.stat_result) -> None:
        if (found.st_dev, found.st_ino) != self._file or found.st_size < self._place:
            self._forget()
            self._file = (found.st_dev, found.st_ino)

    def _forget(self) -> None:
        self.events, self._place = [], 0

    def _take(self, new: bytes) -> None:
        whole, _, _ = new.rpartition(b"\n")
        if not whole:
            return
        self._place += len(whole) + 1
        for line in whole.split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue  # torn by a kill or a full disk
            if isinstance(event, dict):
                self.events.append(event)


class EventLogs:
    """The event logs that visitors look at; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._logs: OrderedDict[Path, EventLog] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: Path) -> EventLog:
        """Return the log of a run."""
        path = run / "events.jsonl"
        with self._lock:
            log = self._logs.setdefault(path, EventLog(path))
            self._logs.move_to_end(path)
            while len(self._logs) > MOST_RUNS:
                self._logs.popitem(last=False)
        return log


def fingerprint(*paths: Path) -> tuple[tuple[int, int], ...]:
    """Return size and time of files: when these are the same, there is nothing new to show."""
    return tuple(map(_mark, paths))


def tail(path: Path, limit: int = LOG_BYTES) -> str:
    """Return the last lines of a text file, or nothing if there is none; of a longer line its end."""
    try:
        with path.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - limit))
            text = source.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    if size <= limit:
        return text
    _, cut, rest = text.partition("\n")
    return rest if cut and rest else f"… {text}"


def _mark(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)
