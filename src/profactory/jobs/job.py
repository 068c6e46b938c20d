"""One job: its folder, and what can be read there."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profactory.errors import RunError
from profactory.files import read_json
from profactory.jobs.verdict import JobState, verdict
from profactory.runs import RUNS_FOLDER, Run
from profactory.runs.layout import absolute
from profactory.runs.processes import Owner, start_of

FOLDER = ".jobs"
#: Commands that make or go on with a run: one of them at a time. Others may work beside each other.
RUN_VERBS = ("train", "resume", "sweep", "pretrain")
_LAST_WORDS = 8000


@dataclass(frozen=True)
class Job:
    """Work in a process of its own.

    Parameters
    ----------
    folder
        The job's folder.
    run
        The run that it makes, goes on with or uses.
    verb, arguments
        What was typed behind ``profactory``; no arguments are known for work that was not started as a job.
    worker
        The process; None if it never came to that.
    started
        When (ISO 8601, UTC).
    attached
        Whether :func:`profactory.jobs.start` found it at work instead of starting it.
    """

    folder: Path
    run: Path
    verb: str
    arguments: tuple[str, ...] = ()
    worker: Owner | None = None
    started: str = ""
    attached: bool = False

    @property
    def name(self) -> str:
        """Name of the job's folder."""
        return self.folder.name

    @property
    def log(self) -> Path:
        """What it said; the run's log if it was not started as a job."""
        return (self.folder if self.arguments else self.run) / "log.txt"

    @property
    def result(self) -> Path:
        """Where the result goes: what ``--out`` names, else the run."""
        words = iter(self.arguments)
        for word in words:
            if word.startswith("--out="):
                return absolute(word.removeprefix("--out="))
            if word == "--out":
                return absolute(next(words, ""))
        return self.run

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.worker is not None and self.worker.is_alive

    def state(self) -> JobState:
        """Tell how it stands, or how it ended."""
        if self.is_running:
            return JobState("running")
        end = self._end()
        if end is None:
            return gone(self.worker)
        asked = self._read("stop.json")
        return verdict(
            end,
            asked_to_stop=bool(asked),
            killed_by_us=bool(asked.get("now")),
            last_words=self._last_words(),
        )

    def progress(self) -> dict[str, Any] | None:
        """Tell how far it is; None if unknown.

        Returns
        -------
        dict or None
            ``description``, ``done``, ``total`` (or None), ``unit``, ``seconds_left`` (or None).
        """
        if not self.is_running:
            return None
        noted = self._read("progress.json")
        if noted:
            return noted
        with contextlib.suppress(RunError):
            status = Run.open(self.run).status() if self.verb in RUN_VERBS else {}
            if status.get("state") == "training" and status.get("total_steps"):
                counts = {"done": status.get("step", 0), "total": status["total_steps"]}
                unit, left = status.get("unit", "steps"), status.get("eta_seconds")
                return {"description": "training", **counts, "unit": unit, "seconds_left": left}
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the job with its state and progress as JSON-ready values."""
        return {
            "name": self.name,
            "run": str(self.run),
            "verb": self.verb,
            "arguments": list(self.arguments),
            "pid": self.worker.pid if self.worker else None,
            "started": self.started,
            "log": str(self.log),
            "result": str(self.result),
            "state": self.state().to_dict(),
            "progress": self.progress(),
        }

    def _end(self) -> dict[str, Any] | None:
        """Return what the watcher noted of this very process."""
        end = self._read("end.json")
        known = isinstance(end.get("exit_code"), int) and Owner.from_record(end.get("worker")) == self.worker
        return end if known else None

    def _last_words(self) -> str:
        """Return the error at the end of the log."""
        with contextlib.suppress(OSError):
            text = self.log.read_bytes()[-(1 << 16) :].decode("utf-8", errors="replace")
            before, mark, error = text.rpartition("Error: ")
            return error.strip()[:_LAST_WORDS] if mark else before.strip()[-_LAST_WORDS:]
        return ""

    def _read(self, name: str) -> dict[str, Any]:
        """Read a note of the job; one that is missing or torn says nothing."""
        with contextlib.suppress(OSError, ValueError):
            content = read_json(self.folder / name)
            return content if isinstance(content, dict) else {}
        return {}


def folder_of(run: Path, verb: str, arguments: Sequence[str]) -> Path:
    """Return the folder of a job: one per run, or one per command for what only uses a run."""
    if verb in RUN_VERBS:
        return run.parent / FOLDER / run.name
    digest = hashlib.sha256("\0".join([verb, *arguments]).encode()).hexdigest()[:8]
    return run.parent / FOLDER / f"{run.name}-{verb}-{digest}"


def read_job(folder: Path) -> Job | None:
    """Read a job back; None if there is none."""
    record: Any = None
    with contextlib.suppress(OSError, ValueError):
        record = read_json(folder / "job.json")
    if not isinstance(record, dict) or not {"run", "verb", "arguments"} <= record.keys():
        return None
    return Job(
        folder,
        Path(str(record["run"])),
        str(record["verb"]),
        tuple(map(str, record["arguments"])),
        Owner.from_record(record.get("worker")),
        str(record.get("started", "")),
    )


def list_jobs(root: str | Path = RUNS_FOLDER) -> list[Job]:
    """Return the jobs of a folder of runs, newest first."""
    folder = absolute(root) / FOLDER
    found = [read_job(path) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((job for job in found if job), key=lambda job: (job.started, job.name), reverse=True)


def gone(worker: Owner | None) -> JobState:
    """Say of a process that nobody saw end what can still be told."""
    boot = worker.started.partition(":")[0] if worker else ""
    now = (start_of(1) or "").partition(":")[0]
    if boot and now and boot != now:
        return JobState("died", "the machine was started again while it worked; its last checkpoint is kept")
    return JobState("died", "its process is gone without a word; its last checkpoint is kept")
