"""``profactory train`` and ``profactory resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG, OUTPUT, Detach, Json, Overwrite, UsageError, with_settings
from profactory.cli.pretrain import show as show_pretrained
from profactory.cli.sweep import show as show_swept
from profactory.runs import RUNS_FOLDER, Run, new_run_path

if TYPE_CHECKING:
    from profactory.api import TrainedRun
    from profactory.config import TrainConfig


@with_settings()
def train(  # noqa: D417 - the settings describe themselves
    data: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    config: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    detach: Detach = False,
    json: Json = False,
    **settings: Any,
) -> int:
    """Train a model on a table of sequences and measure it.

    Only DATA is needed: the task, the split, the method, the batch and the
    learning rate are chosen for the data and this machine, and said.

    Example: profactory train proteins.csv
             profactory train proteins.csv --label-column solubility --method lora
             profactory train --config runs/proteins-mini-freeze/config.yaml --seed 1
             profactory train proteins.csv --detach

    Parameters
    ----------
    data
        CSV, TSV, FASTA or Parquet file, folder with train, validation and test files, or bundled:NAME;
        may be left out where the file of --config names it.
    out
        Run directory to make; named after the data, model and method under runs/ if not given.
    overwrite
        Replace the run at --out.
    config
        YAML file with any of the settings below, such as config.yaml of a run; what is typed wins over it.
    detach
        Work in a process that goes on when this terminal is closed; see profactory runs.
    json
        Print the result as JSON.
    """
    from profactory import api
    from profactory.config import TrainConfig, read_yaml

    noted, values = read_yaml(config) if config else (None, {})
    source = data or noted
    if source is None:
        raise UsageError("DATA is missing.", fix="see profactory train --help")
    chosen = TrainConfig.build({**values, **settings})
    given = {name: getattr(chosen, name) for name in chosen.model_fields_set}
    if detach:
        return _detached(source, chosen, given, out, overwrite, json)
    show(api.train(source, out=out, overwrite=overwrite, **given), json)
    return 0


def resume(
    run: Path, /, *, force: Annotated[bool, FLAG] = False, detach: Detach = False, json: Json = False
) -> int:
    """Go on with a run that was stopped or killed, from its last checkpoint; the result is the same.

    Example: profactory resume runs/proteins-mini-lora

    Parameters
    ----------
    run
        The run directory.
    force
        Go on although the data, the settings or the number of threads changed; says what differs.
    detach
        Work in a process that goes on when this terminal is closed; see profactory runs.
    json
        Print the result as JSON.
    """
    if detach:
        from profactory.cli.detached import start

        Run.open(run)
        return start("resume", [str(run), *(["--force"] if force else [])], run, as_json=json)
    from profactory import api

    finished = api.resume(run, force=force)
    if isinstance(finished, api.PretrainedRun):
        show_pretrained(finished, json)
    elif isinstance(finished, api.SweptRun):
        show_swept(finished, json)
    else:
        show(finished, json)
    return 0


def _detached(
    data: str, config: TrainConfig, given: dict[str, Any], out: Path | None, overwrite: bool, as_json: bool
) -> int:
    """Start a training that goes on without this terminal."""
    from profactory import jobs
    from profactory.cli.detached import start

    method = "" if config.method == "auto" else config.method
    run = out or new_run_path(RUNS_FOLDER, data, config.model, method)
    arguments = [data, *jobs.as_flags({"out": run, "overwrite": overwrite, **given})]
    return start("train", arguments, run, as_json=as_json)


def show(run: TrainedRun, as_json: bool) -> None:
    """Print what came out of a run."""
    from profactory.cli.results import metric_table

    if as_json:
        terminal.say_json({"run": str(run.path), "metrics": run.metrics})
        return
    terminal.say(metric_table(run.metrics), "")
    terminal.say(
        terminal.facts(
            {
                "run": run.path,
                "model": run.path / "model",
                "report": run.path / "report" / "report.html",
                "predict": f"profactory predict {run.path} NEW.csv --out predictions.csv",
            }
        )
    )
