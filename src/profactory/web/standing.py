"""How the runs stand, as the page shows them: what the run says, and what became of its process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profactory import jobs
from profactory.errors import RunError
from profactory.files import read_json
from profactory.jobs import Job
from profactory.runs import ACTIVE_STATES, Run, RunSummary, list_runs, summarise
from profactory.runs.layout import absolute
from profactory.web.workspace import Workspace


@dataclass(frozen=True)
class Standing:
    """One run, or a job that has not made its run (yet).

    Parameters
    ----------
    name, state, reason
        ``starting`` before the run is there; else the run's state, or how its process ended, with a sentence.
    summary
        What was asked; None without a run.
    status
        Content of ``status.json``.
    job
        The process behind it, if it was started as a job.
    """

    name: str
    state: str
    reason: str
    summary: RunSummary | None
    status: dict[str, Any]
    job: Job | None

    @property
    def is_running(self) -> bool:
        """Whether a process works on it."""
        return self.state in (*ACTIVE_STATES, "starting")

    @property
    def can_resume(self) -> bool:
        """Whether ``profactory resume`` has something to go on with."""
        return self.summary is not None and not self.is_running and self.state not in ("finished", "damaged")


def standing_of(workspace: Workspace, name: str) -> Standing:
    """Return how one run stands.

    Raises
    ------
    NotARunError
        There is neither a run nor a job of that name.
    """
    path = workspace.run_path(name)
    job = jobs.find(path)
    if not (path / "status.json").is_file() and job is not None:
        return _of_job(job)
    run = Run.open(path)
    status, state = run.status(), jobs.state(path)
    shown = state.name
    if shown == "running":  # between its last word and the end of the process a run is finished already
        shown = status["state"] if status["state"] in (*ACTIVE_STATES, "finished") else "starting"
    return Standing(name, shown, state.reason, summarise(run), status, job)


def list_standings(workspace: Workspace) -> list[Standing]:
    """Return all runs, and the jobs that have not made theirs, newest first."""
    if not workspace.runs.is_dir():
        return []
    found = [_of_summary(summary) for summary in list_runs(workspace.runs)]
    known = {standing.name for standing in found}
    found += [
        _of_job(job)
        for job in jobs.list_jobs(workspace.runs)
        if job.verb in ("train", "resume") and job.run.name not in known and not _is_run(job.run)
    ]
    return sorted(found, key=_age, reverse=True)


def metrics_of(run: Path) -> dict[str, Any]:
    """Return what was measured, or nothing if there is no report yet."""
    try:
        found = read_json(run / "report" / "metrics.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_run(path: Path) -> bool:
    return (path / "status.json").is_file()


def _of_job(job: Job) -> Standing:
    state = job.state()
    return Standing(job.run.name, "starting" if job.is_running else state.name, state.reason, None, {}, job)


def _of_summary(summary: RunSummary) -> Standing:
    state, reason = summary.state, ""
    if state == "died":
        try:
            found = jobs.state(absolute(summary.path))
            state, reason = found.name, found.reason
        except RunError:
            pass
    return Standing(summary.name, state, reason, summary, {}, None)


def _age(standing: Standing) -> str:
    return standing.summary.created if standing.summary else standing.job.started if standing.job else ""
