"""What tests of run directories let other processes do. Light to import: each of them does so."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from profactory.errors import RunError, RunExistsError, RunLockedError
from profactory.runs import Run

SPAWN = multiprocessing.get_context("spawn")


def try_to_lock(path: str, start: Barrier, results: Queue[str]) -> None:
    start.wait(30)
    try:
        with Run.open(path).lock():
            results.put("won")
            time.sleep(1.0)
    except RunLockedError:
        results.put("refused")


def try_to_create(path: str, start: Barrier, results: Queue[str]) -> None:
    start.wait(30)
    try:
        Run.create(path, {"pid": os.getpid()})
        results.put("won")
    except RunExistsError:
        results.put("refused")


def race(attempt: Callable[..., None], path: Path) -> list[str]:
    """Let eight processes try the same thing at the same moment; what became of each."""
    start, results = SPAWN.Barrier(8), SPAWN.Queue()
    processes = [SPAWN.Process(target=attempt, args=(str(path), start, results)) for _ in range(8)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return sorted(answers)


def emit_many(path: str, writer: int) -> None:
    run = Run.open(path)
    for number in range(200):
        run.emit("step", writer=writer, number=number, padding="x" * 300)


def as_nobody(path: str, results: Queue[str]) -> None:
    import filelock  # noqa: F401 - while it may still be read

    os.setuid(65534)
    run = Run(Path(path))
    for action in (lambda: run.emit("x"), lambda: run.set_status("training"), lambda: run.lock().__enter__()):
        try:
            action()
            results.put("written")
        except RunError as error:
            results.put(str(error))


def start_the_same_job(path: str, start: Barrier, results: Queue[tuple[int, bool]]) -> None:
    from profactory import jobs

    start.wait(60)
    job = jobs.start("train", ["work", f"--out={path}"], run=path)
    results.put((job.worker.pid if job.worker else 0, job.attached))
