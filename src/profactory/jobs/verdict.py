"""How a process ended, in words: by itself, stopped, killed, for want of memory, with the machine."""

from __future__ import annotations

import contextlib
import signal as signals
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_RESUME = "its last checkpoint is kept"


@dataclass(frozen=True)
class JobState:
    """How a job stands.

    Parameters
    ----------
    name
        ``created``, ``running``, ``finished``, ``stopped`` (asked to), ``failed`` (it said why), ``killed``,
        ``out of memory``, ``crashed`` (a fault in native code) or ``died`` (gone, and nobody saw how).
    reason
        One sentence; empty while it runs and when it finished.
    exit_code
        Of the process, or ``128 + signal``; None while it runs and if nobody saw it.
    peak_memory
        Bytes of memory that the process held at its highest, if known.
    """

    name: str
    reason: str = ""
    exit_code: int | None = None
    peak_memory: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.name not in ("created", "running")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)


def verdict(end: Mapping[str, Any], *, asked_to_stop: bool, killed_by_us: bool, last_words: str) -> JobState:
    """Say how a process ended.

    Parameters
    ----------
    end
        ``end.json``: ``exit_code`` (negative for a signal), ``peak_memory``, ``memory_kills``: processes that
        the system ended for want of memory while this one ran.
    asked_to_stop, killed_by_us
        Whether ``runs stop`` asked it to stop, or ended it at once.
    last_words
        The error that it printed, if any.
    """
    code, peak = int(end["exit_code"]), end.get("peak_memory")
    number = -code if code < 0 else code - 128 if code > 128 else 0
    name, reason = _judged(number, code, int(end.get("memory_kills") or 0), asked_to_stop, killed_by_us)
    if name == "out of memory" and peak:
        reason += f"; it held {peak / 1e9:.2f} GB"
    return JobState(name, last_words if name == "failed" else reason, 128 - code if code < 0 else code, peak)


def _judged(
    number: int, code: int, memory_kills: int, asked_to_stop: bool, killed_by_us: bool
) -> tuple[str, str]:
    if not code:
        return "finished", ""
    if not number:
        return "failed", ""
    if number == signals.SIGKILL:
        if killed_by_us:
            return "killed", f"ended at once by profactory runs stop --now; {_RESUME}"
        if memory_kills:
            return "out of memory", f"ended by the system, which had no memory left; {_RESUME}"
        return "killed", f"ended by signal 9, from a person or a system short of memory; {_RESUME}"
    name = _signal_name(number)
    if number in (signals.SIGTERM, signals.SIGINT):
        by = "profactory runs stop" if asked_to_stop else f"signal {name}"
        return "stopped", f"stopped by {by}"
    if number in (signals.SIGSEGV, signals.SIGBUS, signals.SIGILL, signals.SIGFPE, signals.SIGABRT):
        return "crashed", f"ended by a fault in native code ({name}); see profactory doctor"
    return "killed", f"ended by signal {name}; {_RESUME}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signals.Signals(number).name
    return str(number)


def memory_kills() -> int:
    """Count the processes that the system has ended for want of memory; 0 where it does not say.

    Linux counts them since boot in ``/proc/vmstat``, and in ``memory.events`` of the control group (a
    container sees its own).
    """
    groups = [*_own_group(), Path("/sys/fs/cgroup/memory.events")]
    return max(_counter(path) for path in (Path("/proc/vmstat"), *groups))


def _own_group() -> list[Path]:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        group = next(line[3:] for line in lines if line.startswith("0::"))
        return [Path(f"/sys/fs/cgroup{group}/memory.events")]
    return []


def _counter(path: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return 0
