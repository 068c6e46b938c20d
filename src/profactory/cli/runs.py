"""``profactory runs``: what was trained here, how it goes, and the end of it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from profactory import jobs
from profactory.cli import terminal
from profactory.cli.flags import Json
from profactory.errors import RunError
from profactory.runs import RUNS_FOLDER, Run, RunSummary, list_runs
from profactory.runs.comparison import compare as compare_runs
from profactory.runs.comparison import metrics_of

log = logging.getLogger("profactory")

runs = App(
    name="runs",
    help="The runs: what was trained, how it goes, and the end of it.\n\nExample: profactory runs list",
    help_format="plaintext",
)
_LINES = 20
_POLL_SECONDS = 0.5


@runs.command(name="list")
def list_(folder: Path = Path(RUNS_FOLDER), /, *, json: Json = False) -> None:
    """List the runs in a folder, newest first.

    Example: profactory runs list
             profactory runs list /data/experiments --json

    Parameters
    ----------
    folder
        Where the runs are.
    json
        Print the list as JSON.
    """
    rows = _rows(folder)
    if json:
        terminal.say_json(rows)
    elif not rows:
        terminal.say(f"No runs in {folder}.", "profactory train DATA makes one.")
    else:
        reasons = [f"{row['name']}: {row['reason']}" for row in rows if row["reason"]]
        terminal.say(terminal.table([_shown(row) for row in rows]), *([""] if reasons else []), *reasons)


@runs.command
def show(run: Path, /, *, json: Json = False) -> None:
    """Show what a run was asked, how it stands and what it measured.

    Example: profactory runs show runs/proteins-mini-lora

    Parameters
    ----------
    run
        The run directory.
    json
        Print everything as JSON.
    """
    opened = Run.open(run)
    status, config, metrics = opened.status(), opened.config(), metrics_of(opened)
    job, state = jobs.find(opened.path), jobs.state(opened.path)
    if json:
        about = {"path": str(opened.path), "status": status, "config": config, "metrics": metrics}
        terminal.say_json({**about, "job": job.to_dict() if job else None})
        return
    ended = {"state": state.name, "reason": state.reason} if status["state"] == "died" else {}
    terminal.say(terminal.facts({"run": opened.path, **_readable(status), **ended}), "")
    terminal.say(
        "config", terminal.facts({f"  {name}": _readable_value(value) for name, value in config.items()})
    )
    if metrics:
        from profactory.cli.results import metric_table

        terminal.say("", metric_table(metrics))


@runs.command
def logs(
    run: Path,
    /,
    *,
    follow: Annotated[bool, Parameter(alias="-f", negative=(), show_default=False)] = False,
    lines: Annotated[int | None, Parameter(alias="-n")] = None,
    json: Json = False,
) -> None:
    """Print what a run said; with --follow, go on until it ends.

    Example: profactory runs logs runs/proteins-mini-lora --follow

    Parameters
    ----------
    run
        The run directory.
    follow
        Wait for more until the run has ended.
    lines
        Only the last so many lines (with --follow 20 unless given).
    json
        Print the events (one JSON object per line) instead of the log.
    """
    source = _source(run, "events.jsonl" if json else "log.txt")
    last = _LINES if follow and lines is None else lines
    for line in _tail(run, source, last, follow):
        sys.stdout.write(line if json else terminal.safe(line.rstrip("\n")) + "\n")
        sys.stdout.flush()


@runs.command
def stop(
    run: Path,
    /,
    *,
    now: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    wait: float = 60.0,
    json: Json = False,
) -> None:
    """Ask a running run to write a checkpoint and end; profactory resume goes on with it.

    Example: profactory runs stop runs/proteins-mini-lora

    Parameters
    ----------
    run
        The run directory.
    now
        End it at once, without a checkpoint; the last one remains.
    wait
        Seconds to wait for its end.
    json
        Print the result as JSON.
    """
    job = jobs.find(run)
    was_running = job is not None and jobs.stop(job, now=now)
    deadline = time.monotonic() + wait
    while was_running and job is not None and job.is_running:
        if time.monotonic() > deadline:
            raise RunError(
                f"The run {run.name} has not ended after {wait:g} s.",
                expected="an end after the step and its checkpoint",
                fix="wait, and look with profactory runs show; or end it at once with --now",
            )
        time.sleep(_POLL_SECONDS / 5)
    state = jobs.state(run).name
    if json:
        terminal.say_json({"path": str(run.absolute()), "was_running": was_running, "state": state})
    elif was_running:
        terminal.say(f"{run.name}: {state}; go on with profactory resume {run}")
    else:
        terminal.say(f"{run.name} is not running ({state})")


@runs.command
def delete(
    run: Path, /, *, yes: Annotated[bool, Parameter(alias="-y", negative=(), show_default=False)] = False
) -> None:
    """Delete a run directory: its checkpoints, its model and its report.

    Example: profactory runs delete runs/proteins-mini-lora --yes

    Parameters
    ----------
    run
        The run directory.
    yes
        Do not ask.
    """
    opened = Run.open(run)
    if not yes and not _confirmed(opened.path):
        raise RunError(f"{opened.path} was not deleted.", fix="add --yes, or answer y")
    opened.delete()
    jobs.forget(opened.path)
    terminal.say(f"deleted {opened.path}")


@runs.command
def compare(*paths: Path, json: Json = False) -> None:
    """Put runs beside each other: the settings in which they differ and what they measured.

    Example: profactory runs compare runs/proteins-mini-freeze runs/proteins-mini-lora

    Parameters
    ----------
    paths
        Run directories, or folders of runs; runs/ if none is given.
    json
        Print the table as JSON.
    """
    from profactory.cli.results import comparison_table

    listed = [run for path in paths or (Path(RUNS_FOLDER),) for run in list_runs(path)]
    for run in listed:
        if run.state == "damaged":
            log.warning("%s is damaged and left out.", run.path)
    compared = compare_runs([Run(run.path) for run in listed if run.state != "damaged"])
    if json:
        terminal.say_json(compared.by_run())
    else:
        terminal.say(comparison_table(compared) if compared.runs else "no runs to compare")


runs.command("profactory.cli.train:resume", name="resume")


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Return the runs of a folder, and the jobs that did not come to make one."""
    found = list_runs(folder)
    rows = [{"name": run.name, **run.to_dict(), **_how_it_stands(run)} for run in found]
    made = {run.path for run in found}
    for job in jobs.list_jobs(folder):
        if job.verb in jobs.RUN_VERBS and job.run not in made:
            summary = RunSummary(job.run, job.state().name, job.started, job.started)
            rows.append({**summary.to_dict(), "reason": job.state().reason})
    return rows


def _how_it_stands(run: RunSummary) -> dict[str, str]:
    """Say what became of a run whose process is gone."""
    state = jobs.state(run.path) if run.state == "died" else None
    return {"state": state.name if state else run.state, "reason": state.reason if state else ""}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    shown = {"run": row["name"], "state": row["state"], "created": row["created"][:16].replace("T", " ")}
    return {**shown, "task": row["task"], "model": row["model"], "method": row["method"]}


def _readable(status: dict[str, Any]) -> dict[str, str]:
    hidden = ("schema_version", "metrics")
    return {name: _readable_value(value) for name, value in status.items() if name not in hidden}


def _readable_value(value: Any) -> str:
    if isinstance(value, dict) and "found" in value:
        return str(value["found"])
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable_value(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return " ".join(str(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _confirmed(path: Path) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Delete {path} with its checkpoints and its model? [y/N] ").strip().lower() in ("y", "yes")


def _source(run: Path, name: str) -> Path:
    """Return the file to print: of the run, or what its job said before there was a run."""
    job = jobs.find(run)
    if job is not None and not (run / "status.json").is_file():
        return job.log
    return Run.open(run).path / name


def _tail(run: Path, source: Path, last: int | None, follow: bool) -> Iterator[str]:
    """Yield the last lines of a file, then (if asked) those that come until the run is over."""
    if not source.exists() and not follow:
        return
    position = 0
    if source.exists():
        with source.open(encoding="utf-8", errors="replace", newline="\n") as file:
            lines = file.readlines()
            position = file.tell()
        yield from lines if last is None else lines[max(0, len(lines) - last) :]
    while follow:
        over = jobs.state(run).is_over  # looked at before the last read
        if source.exists():
            with source.open(encoding="utf-8", errors="replace", newline="\n") as file:
                file.seek(position)
                yield from file.readlines()
                position = file.tell()
        if over:
            return
        time.sleep(_POLL_SECONDS)
