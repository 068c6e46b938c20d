"""The command line in real processes that start at once: forked from one that has imported everything."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import profactory.api
from profactory.cli.main import main

for _name in ("train", "evaluate"):  # what a process would import after it has been forked
    __import__(f"profactory.pipeline.{_name}")


@dataclass
class Process:
    """A forked process; what it says goes to `log`."""

    pid: int
    log: Path
    code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = 240.0) -> int:
        """Return the exit code, negative for the signal that killed it."""
        deadline = time.monotonic() + timeout
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(f"still at work after {timeout} s: {self.said[-2000:]}")
            else:
                time.sleep(0.005)
        return self.code

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    @property
    def said(self) -> str:
        """Its output and errors so far."""
        return self.log.read_text(errors="replace")


def profactory_process(*words: str | Path, log: Path, before: Callable[[], object] = lambda: None) -> Process:
    """Start ``profactory WORDS`` in a process of its own; `before` is called in it first."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Process(pid, log)
    code = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        before()
        code = main([str(word) for word in words])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def until(condition: Callable[[], bool], process: Process, timeout: float = 120.0) -> None:
    """Wait for something that a process does."""
    deadline = time.monotonic() + timeout
    while not condition():
        if process.ended:
            raise AssertionError(f"ended with {process.code}: {process.said[-2000:]}")
        if time.monotonic() > deadline:
            raise AssertionError(f"it never happened: {process.said[-2000:]}")
        time.sleep(0.005)


assert profactory.api.train  # imported here, used by the children
