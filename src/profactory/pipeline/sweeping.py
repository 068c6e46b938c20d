"""A sweep: many trainings with other settings, the best by validation, its test rows measured once.

::

    SWEEP/trials/trial-0/    a run like any other, which never saw the test rows
    SWEEP/study.journal      what Optuna knows: it goes on from there
    SWEEP/model/             the winner
    SWEEP/report/            its report, and the trials as table and plot
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from profactory.config import TrainConfig
from profactory.config.search import USUAL_TRIALS, Range, Search
from profactory.errors import (
    ConfigError,
    MissingExtraError,
    Problem,
    ProFactoryError,
    RunError,
    StoppedError,
    TrainingError,
)
from profactory.files import atomic_write_json
from profactory.pipeline.continuing import same_job
from profactory.pipeline.holding import held
from profactory.pipeline.leakage import examine_leakage
from profactory.pipeline.preparation import Job, prepare_job
from profactory.pipeline.reporting import report_run
from profactory.pipeline.sweep_report import TrialRow, report_trials
from profactory.pipeline.trials import PrunedTrial, carry_out_trial, trained_trial, trial_job
from profactory.runs import RUNS_FOLDER, TRIALS, Run, new_run_path
from profactory.training.distributed import join_processes

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

log = logging.getLogger("profactory")

JOURNAL = "study.journal"
FIRST_UNPRUNED, FIRST_EVALUATIONS = 4, 3  # trials, and evaluations of each, that are never cut short


def start(
    source: str,
    values: Mapping[str, Any],
    *,
    trials: int | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Run:
    """Make a sweep and carry it through; see :func:`profactory.api.sweep`."""
    _optuna()
    search = Search.read(values)
    if out is not None:
        Run.check_free(out, overwrite=overwrite)
    base = _base(source, search)
    place = source if source.startswith("bundled:") else str(Path(source).absolute())
    asked = {"command": "sweep", "data": place, "trials": trials, "timeout": timeout, "search": dict(values)}
    path = out or new_run_path(RUNS_FOLDER, source, "sweep", "")
    return _carry_out(base, search, Run.create(path, asked, overwrite=overwrite), trials, timeout)


def go_on(run: Run) -> Run:
    """Go on with a sweep: finished trials stay, the one that was interrupted goes on from its checkpoint."""
    if run.status()["state"] == "finished":
        log.info("The sweep %s is finished already.", run.path)
        return run
    _optuna()
    asked = run.config()
    search = Search.read(asked["search"])
    base = same_job(_base(str(asked["data"]), search), run)
    return _carry_out(base, search, run, asked.get("trials"), asked.get("timeout"))


def _base(source: str, search: Search) -> Job:
    """Read and divide the data; refuse models and poolings that cannot be tried before any trial begins."""
    first = {name: values[0] for name, values in search.choices.items()}
    first |= {name: span.low for name, span in search.ranges.items()}
    kept = {name: value for name, value in first.items() if search.has_meaning(name, first)}
    if join_processes(str(search.fixed.get("device", "auto"))).num_processes > 1:
        raise ConfigError(
            "A sweep works in one process.", fix="start it without torchrun or accelerate launch"
        )
    base = prepare_job(source, TrainConfig.build(search.settings(kept)))
    for name in ("model", "pooling"):
        for value in search.choices.get(name, ()):
            prepare_job(source, TrainConfig.build(search.settings({**kept, name: value})), like=base)
    return base


def _carry_out(base: Job, search: Search, run: Run, trials: int | None, timeout: float | None) -> Run:
    grid = search.grid()
    wanted = min(trials or len(grid), len(grid)) if grid else trials or USUAL_TRIALS
    with held(run):
        _announce(base, search, run, wanted)
        study = _open_study(base, run)
        if not study.get_trials(deepcopy=False):
            for index in np.random.default_rng(base.config.seed).permutation(len(grid)):
                study.enqueue_trial(grid[index])
        deadline = time.monotonic() + 60 * timeout if timeout else math.inf
        while (done := len(_ended(study))) < wanted and time.monotonic() < deadline:
            run.set_status("training", step=done, total_steps=wanted, unit="trials")
            _one_trial(study, base, search, run)
        _finish(study, base, search, run)
    return run


def _announce(base: Job, search: Search, run: Run, wanted: int) -> None:
    """Say what will be tried, and note what it is tried on."""
    tried = {name: ", ".join(map(str, search.choices.get(name, ()))) for name in ("model", "method")}
    names = {"model": tried["model"] or base.spec.name, "method": tried["method"] or base.choices.method}
    run.set_status("preparing", task=str(base.task.kind), data=base.source, **names)
    about = {**base.describe_data(), "choices": base.choices.to_dict()}
    atomic_write_json(run.path / "data.json", about)
    log.info("Sweep %s", run.path)
    log.info("Data: %s", base.division.note)
    log.info("Task: %s (%s)", base.task.kind, base.prepared.task_reason)
    what = ", ".join(search.tried)
    log.info("%d trials of %s; the best by validation %s.", wanted, what, base.choices.monitor)


def _open_study(base: Job, run: Run) -> Study:
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = optuna.storages.journal.JournalFileBackend(str(run.path / JOURNAL))
    mode = base.task.mode_of(base.choices.monitor)
    study: Study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="sweep",
        direction="maximize" if mode == "max" else "minimize",
        pruner=optuna.pruners.MedianPruner(FIRST_UNPRUNED, FIRST_EVALUATIONS),
        load_if_exists=True,
    )
    return study


def _one_trial(study: Study, base: Job, search: Search, run: Run) -> None:
    """Carry out the trial that was interrupted, or the next one."""
    states = _optuna().trial.TrialState
    trial = _next_trial(study, base.config.seed)
    tried, place = _suggested(trial, search), _place(run, trial.number)
    told = ", ".join(f"{name} {_short(value)}" for name, value in tried.items())
    try:
        job = trial_job(base, search.settings(tried))
        value = carry_out_trial(job, place, _watch(study, trial, base.choices.monitor, place))
        if not math.isfinite(value):
            raise TrainingError(f"{base.choices.monitor} was never defined on the validation rows.")
    except PrunedTrial:
        study.tell(trial, state=states.PRUNED)
        log.info("trial %d: ended early, others do better (%s)", trial.number, told)
    except (StoppedError, RunError):
        raise  # not the trial's fault: it goes on when the sweep does
    except ProFactoryError as error:
        trial.set_user_attr("reason", error.found)
        study.tell(trial, state=states.FAIL)
        log.warning("trial %d: %s (%s)", trial.number, error.found, told)
    else:
        study.tell(trial, value)
        log.info("trial %d: validation %s %.4f (%s)", trial.number, base.choices.monitor, value, told)


def _next_trial(study: Study, seed: int) -> Trial:
    """Return the interrupted trial, or a new one that depends on those before it and the seed alone."""
    optuna = _optuna()
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(_ended(study)))
    interrupted = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    if not interrupted:
        return study.ask()
    trial: Trial = optuna.trial.Trial(study, interrupted[0]._trial_id)  # with what it was to try
    return trial


def _suggested(trial: Trial, search: Search) -> dict[str, Any]:
    """Let the study choose a value of everything that means something together."""
    tried: dict[str, Any] = {}
    for name in search.tried:
        if not search.has_meaning(name, tried):
            continue
        if name in search.choices:
            tried[name] = trial.suggest_categorical(name, search.choices[name])
        else:
            tried[name] = _number(trial, name, search.ranges[name])
    return tried


def _number(trial: Trial, name: str, span: Range) -> float:
    if span.whole:
        return trial.suggest_int(name, int(span.low), int(span.high), log=span.log)
    return trial.suggest_float(name, span.low, span.high, log=span.log)


def _watch(study: Study, trial: Trial, monitor: str, place: Path) -> Callable[[dict[str, float]], None]:
    """Return what reports each evaluation and ends a trial that is worse than half of the others were."""
    known = max(study.get_trials()[trial.number].intermediate_values, default=0)  # before an interruption

    def watch(metrics: dict[str, float]) -> None:
        step = 1 + sum(event["event"] == "evaluation" for event in Run(place).events())
        if step > known and math.isfinite(metrics[monitor]):
            trial.report(metrics[monitor], step)
            if trial.should_prune():
                raise PrunedTrial

    return watch


def _finish(study: Study, base: Job, search: Search, run: Run) -> None:
    """Write the table; measure the winner on the test rows."""
    rows = [_row(trial, search, run) for trial in _ended(study)]
    complete = [row for row in rows if row.value is not None]
    if not complete:
        problems = [Problem(f"{row.name}: {row.reason or row.state}") for row in rows]
        raise TrainingError(
            "No trial came to an end.", problems=problems, fix="mend what is named above; or --timeout longer"
        )
    winner = _place(run, study.best_trial.number)
    report_trials(run.report_dir, rows, search, base.choices.monitor, winner.name)
    own = Run.open(winner)
    log.info("Winner by validation: %s. Its test rows are measured now, once.", winner)
    job = replace(
        trial_job(base, {k: v for k, v in own.config().items() if k != "data"}), division=base.division
    )
    report_run(job, trained_trial(job, own), run, examine_leakage(job, run), history=list(own.events()))


def _row(trial: FrozenTrial, search: Search, run: Run) -> TrialRow:
    states = {"COMPLETE": "finished", "PRUNED": "ended early", "FAIL": "failed"}
    tried = {name: trial.params.get(name) for name in search.tried}
    value = trial.value if trial.state.name == "COMPLETE" else None
    place = _place(run, trial.number)
    reason = str(trial.user_attrs.get("reason", ""))
    return TrialRow(place.name, states[trial.state.name], value, tried, reason, place)


def _ended(study: Study) -> list[FrozenTrial]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _place(run: Run, number: int) -> Path:
    return run.path / TRIALS / f"trial-{number}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("A sweep", "sweep") from error
    return optuna
