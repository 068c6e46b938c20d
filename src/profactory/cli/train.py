"""``profactory train`` and ``profactory resume``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Json, Overwrite, UsageError, with_settings

if TYPE_CHECKING:
    from profactory.api import TrainedRun


@with_settings()
def train(  # noqa: D417 - the settings describe themselves
    data: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    config: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a model on a table of sequences and measure it.

    Only DATA is needed: the task, the split, the method, the batch and the
    learning rate are chosen for the data and this machine, and said.

    Example: profactory train proteins.csv
             profactory train proteins.csv --label-column solubility --method lora
             profactory train --config runs/proteins-mini-freeze/config.yaml --seed 1

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
    show(api.train(source, out=out, overwrite=overwrite, **given), json)


def resume(run: Path, /, *, json: Json = False) -> None:
    """Go on with a run that was stopped or killed, from its last checkpoint; the result is the same.

    Example: profactory resume runs/proteins-mini-lora

    Parameters
    ----------
    run
        The run directory.
    json
        Print the result as JSON.
    """
    from profactory import api

    show(api.resume(run), json)


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
