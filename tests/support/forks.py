"""The command line in real processes that start at once: forked from a server that has imported everything.

The server is a clean process that has never computed anything, so that its children hold no half of a
thread pool of the test process.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

IMPORTED_BEFORE = [
    *("profactory.api", "profactory.pipeline.train", "profactory.pipeline.evaluate", "profactory.cli.train"),
    # Imported by us when they are needed, and most of the start of a process that trains an adapter.
    *("peft", "transformers.models.esm.modeling_esm", "transformers.models.esm.tokenization_esm"),
]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload([*IMPORTED_BEFORE, __name__])


@dataclass
class Process:
    """A process of the command line; what it says goes to `log`."""

    process: BaseProcess
    log: Path

    @property
    def code(self) -> int | None:
        """The exit code, negative for the signal that killed it; None while it is at work."""
        return self.process.exitcode

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.code is not None

    @property
    def said(self) -> str:
        """Its output and errors so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process.pid or 0, number)

    def wait(self, timeout: float = 240.0) -> int:
        """Return the exit code, negative for the signal that killed it."""
        self.process.join(timeout)
        if self.code is None:
            self.process.kill()
            raise AssertionError(f"still at work after {timeout} s: {self.said[-2000:]}")
        return self.code


def profactory_process(
    *words: str | Path, log: Path, before: tuple[Callable[..., object], object] | None = None
) -> Process:
    """Start ``profactory WORDS`` in a process of its own; a function of `before` is called in it first."""
    process = _server.Process(
        target=_run, args=([str(word) for word in words], dict(os.environ), log, before)
    )
    process.start()
    return Process(process, log)


def exit_code(function: Callable[..., object], *arguments: object, timeout: float = 120.0) -> int:
    """Call a function in a process of its own and return that process's exit code, negative for a signal."""
    process = _server.Process(target=function, args=arguments)
    process.start()
    return Process(process, Path(os.devnull)).wait(timeout)


def _take_place(place: dict[str, str]) -> None:
    os.environ.update(place)


def together(*words: str | Path, folder: Path, world: int = 2, **environment: str) -> list[Process]:
    """Start a command as torchrun does: one process per rank, each told its place."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **environment}
    sizes = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **sizes, **meeting} for rank in range(world)]
    return [
        profactory_process(*words, log=folder / f"{place['RANK']}.txt", before=(_take_place, place))
        for place in places
    ]


def _run(
    words: list[str],
    environment: dict[str, str],
    log: Path,
    before: tuple[Callable[..., object], object] | None,
) -> None:
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    talk_to({1: descriptor, 2: descriptor})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if before is not None:
        before[0](before[1])
    run_command(words)


def talk_to(files: Mapping[int, int]) -> None:
    """Make descriptors the standard input (0), output (1) and errors (2) of this process."""
    for standard, descriptor in files.items():
        os.dup2(descriptor, standard)
    if 0 in files:
        sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False)


def run_command(words: list[str], tell: Callable[[int], object] = lambda code: None) -> NoReturn:
    """Run ``profactory WORDS`` and end this process with its exit code, which `tell` gets before."""
    from profactory.cli.main import main

    code = 70
    try:
        code = main(words)
    except BaseException:  # noqa: BLE001 - the process ends here, with what there is to say of it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        tell(code)
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
