"""``profactory runs``: what was trained here, how it goes, and the end of it."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from profactory.cli import terminal
from profactory.cli.flags import Json
from profactory.errors import RunError
from profactory.runs import ACTIVE_STATES, Run, RunSummary, list_runs

runs = App(
    name="runs",
    help="The runs: what was trained, how it goes, and the end of it.\n\nExample: profactory runs list",
    help_format="plaintext",
)
_LINES = 20
_POLL_SECONDS = 0.5


@runs.command(name="list")
def list_(folder: Path = Path("runs"), /, *, json: Json = False) -> None:
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
    found = list_runs(folder)
    if json:
        terminal.say_json([run.to_dict() for run in found])
    elif not found:
        terminal.say(f"No runs in {folder}.", "profactory train DATA makes one.")
    else:
        terminal.say(terminal.table([_row(run) for run in found]))


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
    status, config, metrics = opened.status(), opened.config(), _metrics(opened)
    if json:
        terminal.say_json({"path": str(opened.path), "status": status, "config": config, "metrics": metrics})
        return
    terminal.say(terminal.facts({"run": opened.path, **_readable(status)}), "")
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
    opened = Run.open(run)
    source = opened.path / ("events.jsonl" if json else "log.txt")
    last = _LINES if follow and lines is None else lines
    for line in _tail(opened, source, last, follow):
        sys.stdout.write(line if json else terminal.safe(line.rstrip("\n")) + "\n")
        sys.stdout.flush()


@runs.command
def stop(run: Path, /, *, wait: float = 60.0, json: Json = False) -> None:
    """Ask a running run to write a checkpoint and end; profactory resume goes on with it.

    Example: profactory runs stop runs/proteins-mini-lora

    Parameters
    ----------
    run
        The run directory.
    wait
        Seconds to wait for its end.
    json
        Print the result as JSON.
    """
    opened = Run.open(run)
    was_running = opened.stop()
    deadline = time.monotonic() + wait
    while was_running and opened.owner() is not None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS / 5)
    if was_running and opened.owner() is not None:
        raise RunError(
            f"The run {opened.path.name} has not ended after {wait:g} s.",
            expected="an end after the step and its checkpoint",
            fix="wait, and look with profactory runs show; it was asked to stop",
        )
    state = opened.status()["state"]
    if json:
        terminal.say_json({"path": str(opened.path), "was_running": was_running, "state": state})
    elif was_running:
        terminal.say(f"{opened.path.name}: {state}; go on with profactory resume {run}")
    else:
        terminal.say(f"{opened.path.name} is not running ({state})")


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
    terminal.say(f"deleted {opened.path}")


@runs.command
def compare(*paths: Path, json: Json = False) -> None:
    """Put runs beside each other: what they were and what they measured.

    Example: profactory runs compare runs/proteins-mini-freeze runs/proteins-mini-lora

    Parameters
    ----------
    paths
        Run directories, or folders of runs; runs/ if none is given.
    json
        Print the table as JSON.
    """
    found = [run for path in paths or (Path("runs"),) for run in list_runs(path)]
    rows = [{**_row(run), **_test_values(run)} for run in found]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in ("created", "path")))
    if json:
        terminal.say_json(rows)
    elif not rows:
        terminal.say("no runs to compare")
    else:
        terminal.say(terminal.table(rows, names))


def _row(run: RunSummary) -> dict[str, Any]:
    row = {"run": run.name, "state": run.state, "created": run.created[:16].replace("T", " ")}
    return {**row, "task": run.task, "model": run.model, "method": run.method}


def _test_values(run: RunSummary) -> dict[str, float]:
    if run.state == "damaged":
        return {}
    measured = _metrics(Run(run.path)).get("test") or {}
    return {
        name: entry["value"]
        for name, entry in measured.items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }


def _metrics(run: Run) -> dict[str, Any]:
    path = run.report_dir / "metrics.json"
    if not path.is_file():
        return {}
    try:
        found = json_module.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}", fix=f"profactory evaluate {run.path} DATA") from error
    return found if isinstance(found, dict) else {}


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


def _tail(run: Run, source: Path, last: int | None, follow: bool) -> Iterator[str]:
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
        over = run.status()["state"] not in (*ACTIVE_STATES, "created")  # looked at before the last read
        if source.exists():
            with source.open(encoding="utf-8", errors="replace", newline="\n") as file:
                file.seek(position)
                yield from file.readlines()
                position = file.tell()
        if over:
            return
        time.sleep(_POLL_SECONDS)
