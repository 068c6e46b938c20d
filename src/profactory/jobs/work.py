"""Starting, finding, stopping jobs."""

from __future__ import annotations

import os
import shutil
import signal as signals
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from profactory.errors import RunError
from profactory.files import atomic_write_json
from profactory.jobs.job import FOLDER, RUN_VERBS, Job, folder_of, gone, read_job
from profactory.jobs.verdict import JobState
from profactory.runs import Run
from profactory.runs.layout import absolute, explained, now

if TYPE_CHECKING:
    from filelock import BaseFileLock

_GUARD_SECONDS = 60.0


def start(
    verb: str, arguments: Sequence[str], *, run: str | Path, environment: Mapping[str, str] | None = None
) -> Job:
    """Start ``profactory VERB ARGUMENTS`` so that it outlives the caller, or attach to what is at work.

    Parameters
    ----------
    verb
        A command, such as ``train``.
    arguments
        What is typed behind it; paths are relative to the present folder.
    run
        The run that the command makes, goes on with or uses. Of ``train``, ``resume``, ``sweep`` and
        ``pretrain`` one works in a run at a time; of other commands, several with different arguments may.
    environment
        Variables for the process beside those of this one: for secrets, which are written nowhere.

    Returns
    -------
    Job
        ``attached`` says whether it was at work already; whatever `arguments` say then, nothing is started.

    Raises
    ------
    RunError
        The folder of the job cannot be written, or the process cannot be started.
    """
    path = absolute(run)
    folder = folder_of(path, verb, arguments)
    with explained(folder, "Cannot start a job"):
        folder.mkdir(parents=True, exist_ok=True)
        with _guard(folder):
            working = _working(folder, path, verb)
            if working:
                return replace(working, attached=True)
            return _launch(folder, path, verb, arguments, environment or {})


def find(run: str | Path) -> Job | None:
    """Return the job that makes a run, or the process that works in it; the last one if none does now."""
    path = absolute(run)
    folder = path.parent / FOLDER / path.name
    return _working(folder, path, RUN_VERBS[0]) or read_job(folder)


def stop(run: str | Path | Job, *, now: bool = False) -> bool:
    """Ask a job to write a checkpoint and end, or end it at once.

    Parameters
    ----------
    run
        A run (the job that makes it is meant), or a job.
    now
        End it without a checkpoint (the last one remains).

    Returns
    -------
    bool
        Whether there was a process to signal: the recorded one, told by id and start time.

    Raises
    ------
    RunError
        It works on another machine.
    """
    job = run if isinstance(run, Job) else find(run)
    if job is None or job.worker is None or not job.is_running:
        return False
    if not job.worker.is_local:
        raise RunError(
            f"The run {job.run.name} is at work on the machine {job.worker.host} (process {job.worker.pid}).",
            expected="a run of this machine",
            fix=f"stop it there: profactory runs stop {job.run}",
        )
    if job.folder.is_dir():
        with explained(job.folder, "Cannot note that the job is to stop"):
            atomic_write_json(job.folder / "stop.json", {"now": now})
    return job.worker.send(signals.SIGKILL if now else signals.SIGTERM)


def state(run: str | Path) -> JobState:
    """Tell how a run stands: running, as it noted itself, or how its process ended without a word.

    Raises
    ------
    RunError
        There is neither a run nor a job at the path, or it is damaged.
    """
    path, job = absolute(run), find(run)
    if job is not None and job.is_running:
        return JobState("running")
    if job is not None and not (path / "status.json").is_file():
        return job.state()
    opened = Run.open(path)
    status = opened.status()
    if status["state"] == "created" and job is not None:
        return job.state()
    if status["state"] != "died":
        error = status.get("error")
        return JobState(status["state"], str(error.get("found", "")) if isinstance(error, dict) else "")
    last = opened.last_owner()
    return job.state() if job is not None and last in (None, job.worker) else gone(last)


def forget(run: str | Path | Job) -> None:
    """Remove the record of a job that is over: with a run, of all jobs about it."""
    if isinstance(run, Job):
        if not run.is_running:
            shutil.rmtree(run.folder, ignore_errors=True)
        return
    path = absolute(run)
    folders = (path.parent / FOLDER).glob("*/job.json")
    for job in (read_job(record.parent) for record in folders):
        if job is not None and job.run == path:
            forget(job)


def _working(folder: Path, run: Path, verb: str) -> Job | None:
    """Return what is at work: the recorded job, or for a run whoever holds its lock."""
    job = read_job(folder)
    if job is not None and job.is_running:
        return job
    owner = Run(run).owner() if verb in RUN_VERBS else None
    return Job(folder, run, "train", worker=owner, started=owner.since) if owner else None


def _launch(
    folder: Path, run: Path, verb: str, arguments: Sequence[str], variables: Mapping[str, str]
) -> Job:
    """Start the watcher, which starts the work and notes both before it lets go of us."""
    for name in ("end.json", "stop.json", "progress.json"):
        (folder / name).unlink(missing_ok=True)
    record = {
        "verb": verb,
        "arguments": list(arguments),
        "run": str(run),
        "cwd": os.getcwd(),
        "started": now(),
    }
    atomic_write_json(folder / "job.json", record)
    # Without the present folder on the import path: a random.py among the user's data is not ours to run.
    environment = {**os.environ, **variables, "PROFACTORY_JOB": str(folder), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "profactory.jobs.watcher", str(folder)]
    watcher = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False
    )
    job = read_job(folder)
    if watcher.returncode or job is None or job.worker is None:
        raise RunError(
            f"The job {folder.name} could not be started: {watcher.stderr.strip() or 'its watcher ended'}.",
            fix=f"look at {folder / 'log.txt'}, or run it without --detach",
        )
    return job


def _guard(folder: Path) -> BaseFileLock:
    """Lock of the system, held while it is decided who starts the work."""
    from filelock import FileLock

    return FileLock(folder / ".lock", timeout=_GUARD_SECONDS, thread_local=False)
