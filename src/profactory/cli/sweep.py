"""``profactory sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Detach, Json, Overwrite, UsageError
from profactory.config import read_yaml
from profactory.runs import RUNS_FOLDER, new_run_path

if TYPE_CHECKING:
    from profactory.api import SweptRun


def sweep(
    data: str | None = None,
    /,
    *,
    config: Path,
    trials: int | None = None,
    timeout: float | None = None,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    detach: Detach = False,
    json: Json = False,
) -> int:
    """Try models and settings; choose by the validation rows, measure the winner once.

    The file says what is tried, with the names of the flags of train: a value
    stays, a list holds alternatives, {low: 0.0001, high: 0.01, log: true} is a
    range. Stopped or killed, profactory resume goes on with it.

    Example: profactory sweep proteins.csv --config sweep.yaml --trials 30
             profactory sweep proteins.csv --config sweep.yaml --timeout 120 --detach

    Parameters
    ----------
    data
        Whatever train takes; may be left out where the file of --config names it (data).
    config
        YAML file with what is tried; see examples/sweep.yaml.
    trials
        How many; without ranges every combination, else 20.
    timeout
        Minutes after which no trial is begun.
    out
        Directory of the sweep; named after the data under runs/ if not given.
    overwrite
        Replace the sweep at --out.
    detach
        Work in a process that goes on when this terminal is closed; see profactory runs.
    json
        Print the result as JSON.
    """
    from profactory import api

    noted, search = read_yaml(config)
    if (source := data or noted) is None:
        raise UsageError("DATA is missing.", fix="see profactory sweep --help")
    if detach:
        return _detached(source, config, trials, timeout, out, overwrite, json)
    show(api.sweep(source, search, trials=trials, timeout=timeout, out=out, overwrite=overwrite), json)
    return 0


def _detached(
    data: str,
    config: Path,
    trials: int | None,
    timeout: float | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Start a sweep that goes on without this terminal."""
    from profactory import jobs
    from profactory.cli.detached import start

    run = out or new_run_path(RUNS_FOLDER, data, "sweep", "")
    options: dict[str, Any] = {"config": config, "trials": trials, "timeout": timeout, "out": run}
    return start("sweep", [data, *jobs.as_flags({**options, "overwrite": overwrite})], run, as_json=as_json)


def show(run: SweptRun, as_json: bool) -> None:
    """Print what was tried, and what the winner measured."""
    from profactory.cli.results import metric_table, trial_table

    if as_json:
        terminal.say_json({"run": str(run.path), "sweep": run.sweep, "metrics": run.metrics})
        return
    terminal.say(
        trial_table(run.sweep), "", f"winner: {run.sweep['winner']}", "", metric_table(run.metrics), ""
    )
    terminal.say(
        terminal.facts(
            {
                "sweep": run.path,
                "trials": run.path / "report" / "sweep.html",
                "winner": run.report,
                "predict": f"profactory predict {run.path} NEW.csv --out predictions.csv",
            }
        )
    )
