"""``profactory pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Detach, Json, Overwrite, UsageError, with_settings
from profactory.config import PretrainConfig, read_yaml
from profactory.runs import RUNS_FOLDER, new_run_path

if TYPE_CHECKING:
    from profactory.api import PretrainedRun


@with_settings(of=PretrainConfig)
def pretrain(  # noqa: D417 - the settings describe themselves
    sequences: str | None = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    config: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    detach: Detach = False,
    json: Json = False,
    **settings: Any,
) -> int:
    """Train a language model to predict hidden residues: a new one, or one that is continued.

    With --init it adapts a model to your family of sequences; the result is a
    model for profactory train --model. Sequences that are too short or hold
    unknown letters are counted, reported and left out.

    Example: profactory pretrain family.fasta --init mini --out family
             profactory train proteins.csv --model family/model

    Parameters
    ----------
    sequences
        FASTA file, plain or gzipped, or a table with a sequence column; may be left out where the file of
        --config names it (data).
    out
        Run directory to make; named after the file and the model under runs/ if not given.
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

    noted, values = read_yaml(config) if config else (None, {})
    values.pop("command", None)  # with which the config.yaml of a run says what it is
    if (source := sequences or noted) is None:
        raise UsageError("SEQUENCES is missing.", fix="see profactory pretrain --help")
    chosen = PretrainConfig.build({**values, **settings})
    given = {name: getattr(chosen, name) for name in chosen.model_fields_set}
    if detach:
        return _detached(source, chosen, given, out, overwrite, json)
    show(api.pretrain(source, out=out, overwrite=overwrite, **given), json)
    return 0


def _detached(
    source: str,
    config: PretrainConfig,
    given: dict[str, Any],
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Start a pretraining that goes on without this terminal."""
    from profactory import jobs
    from profactory.cli.detached import start

    run = out or new_run_path(RUNS_FOLDER, source, config.model_name, "pretrain")
    arguments = [source, *jobs.as_flags({"out": run, "overwrite": overwrite, **given})]
    return start("pretrain", arguments, run, as_json=as_json)


def show(run: PretrainedRun, as_json: bool) -> None:
    """Print what came out of a pretraining."""
    from profactory.cli.results import metric_table

    if as_json:
        terminal.say_json({"run": str(run.path), "model": str(run.model), "metrics": run.metrics})
        return
    terminal.say(metric_table(run.metrics), "")
    terminal.say(
        terminal.facts(
            {
                "run": run.path,
                "model": run.model,
                "report": run.report,
                "use": f"profactory train DATA --model {run.model}",
            }
        )
    )
