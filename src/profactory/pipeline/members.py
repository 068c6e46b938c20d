"""Several trainings as one run: each in a run directory of its own below it, and one ensemble of all.

::

    RUN/members/fold-1-seed-0/    a run like any other
    RUN/model/                    the ensemble
    RUN/report/                   its report, with mean, deviation and interval over the members

The whole is resumed as a whole: members that are finished stay, one that was interrupted goes on.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

import torch
from accelerate import PartialState

from profactory.config.methods import METHODS
from profactory.errors import RunError
from profactory.models.ensembles import link_equal
from profactory.models.estimate import Estimate
from profactory.models.protein_model import ProteinModel
from profactory.pipeline.brief_report import report_briefly
from profactory.pipeline.ensemble_report import report_ensemble
from profactory.pipeline.fitting import fit_model
from profactory.pipeline.folds import Member, Plan
from profactory.pipeline.holding import held, in_own_log
from profactory.pipeline.leakage import examine_leakage
from profactory.pipeline.preparation import Job
from profactory.pipeline.single import announce, build_model, make_run
from profactory.runs import MEMBERS, Run

log = logging.getLogger("profactory")


def carry_out_members(plan: Plan, run: Run, cost: Estimate | None, *, force: bool = False) -> Run:
    """Train what is not trained yet, then put all of it together."""
    torch.set_num_threads(plan.job.choices.threads)
    is_main = PartialState().is_main_process
    with held(run):
        announce(plan.job, run, cost)
        if is_main:
            log.info("%s", plan.sentence())
        leakage = examine_leakage(plan.job, run) if is_main else None
        _train_all(plan, run, force)
        if is_main:
            report_ensemble(plan, run, {m.name: _place(run, m) for m in plan.members}, leakage)
    PartialState().wait_for_everyone()
    return run


def _train_all(plan: Plan, run: Run, force: bool) -> None:
    shared: ProteinModel | None = None
    first, trained, started = _place(run, plan.members[0]), 0, time.monotonic()
    for done, member in enumerate(plan.members):
        place = _place(run, member)
        if _is_finished(place):
            continue
        if PartialState().is_main_process:
            left = (time.monotonic() - started) / trained * (len(plan.members) - done) if trained else None
            position = {"step": done, "total_steps": len(plan.members), "unit": "models"}
            run.set_status("training", **position, eta_seconds=left and round(left, 1))
        shared = _train(member, place, shared, force)
        trained += 1
        if PartialState().is_main_process:
            link_equal(first / "model", place / "model")
            _tell(member, Run(place), run)


def _train(member: Member, place: Path, shared: ProteinModel | None, force: bool) -> ProteinModel:
    """Train one member, or go on with it; return its model, whose frozen backbone the next one may use."""
    begun = (place / "status.json").is_file()
    PartialState().wait_for_everyone()  # all have looked before it is made
    if PartialState().is_main_process and not begun:
        make_run(member.job, place)
    PartialState().wait_for_everyone()
    own = Run.open(place)
    with in_own_log(), held(own):
        announce(member.job, own, None)
        model = _model(member.job, shared)
        trained = fit_model(member.job, model, own, resume=begun, force=force)
        report_briefly(member.job, trained, own)
    return model


def _model(job: Job, shared: ProteinModel | None) -> ProteinModel:
    """Return an untrained model; a frozen backbone that was read before is used again."""
    if shared is None or job.initial is not None or not METHODS[job.choices.method].frozen:
        return build_model(job)
    return ProteinModel.assemble(shared.backbone, job.task, shared.design, seed=job.config.seed)


def _place(run: Run, member: Member) -> Path:
    return run.path / MEMBERS / member.name


def _is_finished(place: Path) -> bool:
    with contextlib.suppress(RunError):
        return bool(Run.open(place).status()["state"] == "finished")
    return False


def _tell(member: Member, own: Run, run: Run) -> None:
    metrics, monitor = own.status().get("metrics", {}), member.job.choices.monitor
    run.emit("member", name=member.name, fold=member.fold, seed=member.seed, metrics=metrics)
    split = "test" if len(member.job.rows("test")) else "validation"
    measured = f"{split} {monitor} {metrics[monitor]:.4f}" if monitor in metrics else "trained"
    log.info("%s: %s", member.name, measured)
