"""``--detach``: work that goes on without this terminal."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from profactory import jobs
from profactory.cli import terminal
from profactory.errors import RunError
from profactory.runs import ACTIVE_STATES, Run

log = logging.getLogger("profactory")
_POLL_SECONDS = 0.2


def start(verb: str, arguments: Sequence[str], run: Path, *, as_json: bool) -> int:
    """Start a job, wait until its run is under way, and say where to look.

    Data and options are refused by the job itself, within seconds; the refusal is shown here.

    Returns
    -------
    int
        Exit code: that of the job if it has ended already.
    """
    job = jobs.start(verb, arguments, run=run)
    if job.attached:
        log.info("%s is at work already, in process %s.", job.run, job.worker.pid if job.worker else "?")
    else:
        log.info("Process %s starts; it goes on when this terminal is closed.", job.worker.pid)  # type: ignore[union-attr]
        with contextlib.suppress(KeyboardInterrupt):  # it ends the waiting, not the job
            _wait_for_beginning(job)
    state = job.state()
    if as_json:
        terminal.say_json(job.to_dict())
    elif state.name in ("running", "finished"):
        terminal.say(terminal.facts({"run": job.run, "state": state.name, **_next_steps(job.run)}))
    else:
        terminal.say_error(f"{state.reason}\n  log: {job.log}")
    return state.exit_code or 0


def _wait_for_beginning(job: jobs.Job) -> None:
    """Return when the run has passed its checks, or is over."""
    while job.is_running:
        with contextlib.suppress(RunError):
            if Run.open(job.run).status()["state"] in ACTIVE_STATES:
                return
        time.sleep(_POLL_SECONDS)
    time.sleep(_POLL_SECONDS)  # the watcher notes how it ended


def _next_steps(run: Path) -> dict[str, str]:
    return {"watch": f"profactory runs logs {run} --follow", "stop": f"profactory runs stop {run}"}
