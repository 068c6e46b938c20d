"""A training run from end to end: prepare, train, evaluate, report; and going on with one."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from profactory.config import TrainConfig
from profactory.models.estimate import Estimate
from profactory.pipeline.capacity import check_capacity, fit_batch
from profactory.pipeline.continuing import same_job
from profactory.pipeline.folds import Plan, plan_members
from profactory.pipeline.members import carry_out_members
from profactory.pipeline.preparation import Job, prepare_job
from profactory.pipeline.sharding import check_sharding
from profactory.pipeline.single import carry_out, make_run
from profactory.runs import RUNS_FOLDER, Run
from profactory.training.distributed import agreed, join_processes
from profactory.training.trackers import check_trackers

log = logging.getLogger("profactory")


def start(source: str, config: TrainConfig, *, out: str | Path | None = None, overwrite: bool = False) -> Run:
    """Make a run and carry it through.

    Raises
    ------
    ProFactoryError
        Whatever cannot be used is refused before the run directory is made.
    """
    if out is not None:
        Run.check_free(out, overwrite=overwrite)
    check_trackers(config.report_to or ())
    state = join_processes(config.device)
    with state.main_process_first():  # the others find the validated data set in the cache
        job = fit_batch(prepare_job(source, config))
        check_sharding(job, state.num_processes)
    job = replace(job, choices=agreed(state, job.choices))  # the memory that is free is not the same to all
    cost, plan = check_capacity(job, Path(out or RUNS_FOLDER)), plan_members(job)
    run = make_run(job, out, overwrite) if state.is_main_process else None
    path = agreed(state, run.path if run else None)
    return _carry_out(job, plan, Run(Path(path or "")), cost)


def go_on(run: Run, *, force: bool = False) -> Run:
    """Go on with a run from its newest valid checkpoint, or finish what comes after training.

    Parameters
    ----------
    run
        The interrupted run.
    force
        Go on although data or settings are not those that the run began with; what differs is said.

    Raises
    ------
    CheckpointError
        The data or the settings are not those that the run began with.
    """
    settings = run.config()
    source = str(settings.pop("data"))
    config = TrainConfig.build(settings)
    if run.status()["state"] == "finished":
        log.info("The run %s is finished already.", run.path)
        return run
    state = join_processes(config.device)
    with state.main_process_first():
        job = prepare_job(source, config)
        check_sharding(job, state.num_processes)
    plan = plan_members(job)
    job = same_job(plan.job if plan else job, run, force=force)
    plan = plan.with_choices(job.choices) if plan else None
    return _carry_out(job, plan, run, check_capacity(job, run.path), resume=True, force=force)


def _carry_out(
    job: Job,
    plan: Plan | None,
    run: Run,
    cost: Estimate | None,
    *,
    resume: bool = False,
    force: bool = False,
) -> Run:
    if plan is not None:
        return carry_out_members(plan, run, cost, force=force)
    return carry_out(job, run, cost, resume=resume, force=force)
