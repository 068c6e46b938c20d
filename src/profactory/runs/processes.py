"""Which process is this? A process id alone is not enough: the system hands it out again.

A process is identified by its id *and* its start time. On Linux the start time is counted in clock ticks
since boot, together with the id of that boot, so that setting the clock changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal as signals
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_STARTTIME_FIELD = 19  # field 22 of /proc/PID/stat, counted behind "pid (name) "
_DEAD_STATES = ("Z", "X")


@dataclass(frozen=True)
class Owner:
    """A process, as written down by itself.

    Attributes
    ----------
    pid
        Process id.
    started
        Start time in the form of :func:`start_of`.
    host
        Name of the machine.
    since
        When the record was written (ISO 8601, UTC); for people only.
    """

    pid: int
    started: str
    host: str
    since: str = field(default="", compare=False)

    @classmethod
    def current(cls, since: str = "") -> Owner:
        """The process that runs this line."""
        return cls(os.getpid(), start_of(os.getpid()) or "", platform.node(), since)

    @classmethod
    def from_record(cls, record: Any) -> Owner | None:
        """Read a record back; None if it is not one."""
        if not isinstance(record, Mapping):
            return None
        pid, started = record.get("pid"), record.get("started")
        if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0 or not isinstance(started, str):
            return None
        return cls(pid, started, str(record.get("host", "")), str(record.get("since", "")))

    @property
    def is_local(self) -> bool:
        """Whether the process belongs to this machine (only then can anything be said about it)."""
        return self.host == platform.node()

    @property
    def is_alive(self) -> bool:
        """Whether the process lives. One of another machine counts as living: it cannot be looked at."""
        return not self.is_local or (start_of(self.pid) or None) == self.started

    def send(self, signal: signals.Signals) -> bool:
        """Send a signal to exactly this process; False if it is gone or lives on another machine."""
        if not self.is_local:
            return False
        if not hasattr(os, "pidfd_open") or not hasattr(signals, "pidfd_send_signal"):
            return self._send_by_pid(signal)
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                # The descriptor holds on to one process: what is checked now is what gets the signal.
                if self.is_alive:
                    signals.pidfd_send_signal(descriptor, signal)
                    return True
            finally:
                os.close(descriptor)
        return False

    def _send_by_pid(self, signal: signals.Signals) -> bool:
        if not self.is_alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal)
            return True
        return False


def start_of(pid: int) -> str | None:
    """Start time of a process, as text that never changes while it lives; None if no such process lives.

    A zombie (ended, not yet collected by its parent) counts as ended.
    """
    if platform.system() == "Linux":
        return _start_on_linux(pid)
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _start_on_linux(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may itself contain brackets and spaces: cut behind the last one.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _DEAD_STATES else f"{boot}:{fields[_STARTTIME_FIELD]}"
