"""Progress that suits where it is shown: a bar with ETA on a terminal, plain lines elsewhere.

Work that runs as a job (``PROFACTORY_JOB`` names its folder) notes it in ``progress.json`` too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from profactory.files import atomic_write_json

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

T = TypeVar("T")
SILENT_SECONDS = 2.0  # shorter work shows nothing
LINE_SECONDS = 5.0  # between two plain lines
NOTE_SECONDS = 1.0  # between two notes of a job

log = logging.getLogger("profactory")


class Progress:
    """Count work done; use as a context manager.

    Parameters
    ----------
    description
        What is being done, e.g. ``"embedding"``.
    total
        Units of work, or None if unknown.
    unit
        Name of a unit for the plain lines, e.g. ``"sequences"``.
    """

    def __init__(self, description: str, total: int | None = None, *, unit: str = "") -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.done = 0
        self._start = self._last_line = self._last_note = time.monotonic()
        job = os.environ.get("PROFACTORY_JOB")
        self._note = Path(job) / "progress.json" if job else None
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._note is not None:
            self._note.unlink(missing_ok=True)

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more units."""
        self.done += amount
        now = time.monotonic()
        if now - self._start < SILENT_SECONDS:
            return
        if self._note is not None and now - self._last_note >= NOTE_SECONDS:
            self._last_note = now
            self._write_note(self._note)
        if sys.stderr.isatty():
            self._show_bar()
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            log.info("%s", self.line())

    def line(self) -> str:
        """Return the state as one line of text."""
        left = self._seconds_left()
        if not self.total or left is None:
            return f"{self.description}: {self.done:,} {self.unit}".rstrip()
        share = 100 * self.done / self.total
        return (
            f"{self.description}: {self.done:,}/{self.total:,} {self.unit} ({share:.0f} %, {left:.0f} s left)"
        )

    def _seconds_left(self) -> float | None:
        if not self.total or not self.done:
            return None
        return (self.total - self.done) * (time.monotonic() - self._start) / self.done

    def _write_note(self, path: Path) -> None:
        left = self._seconds_left()
        note = {
            "description": self.description,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "seconds_left": None if left is None else round(left, 1),
        }
        with contextlib.suppress(OSError):  # whoever looks sees an older note; the work goes on
            atomic_write_json(path, note)

    def _show_bar(self) -> None:
        if self._bar is None:
            from rich import progress as rich_progress
            from rich.console import Console

            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self.description, total=self.total)
            self._bar.start()
        if self._task is not None:
            self._bar.update(self._task, completed=self.done)


def track(iterable: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
    """Yield from `iterable`, showing progress by item."""
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Progress(description, total) as progress:
        for item in iterable:
            yield item
            progress.advance()
