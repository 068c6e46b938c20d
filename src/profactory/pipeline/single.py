"""One training run: made, announced, trained, reported."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from accelerate import PartialState

from profactory.data.fixing import write_rejected
from profactory.data.sources import durable_name
from profactory.data.splitting import count_splits
from profactory.files import atomic_write_json
from profactory.models.estimate import Estimate
from profactory.models.protein_model import ProteinModel
from profactory.models.tuning import Tuning
from profactory.pipeline.capacity import announce_cost
from profactory.pipeline.fitting import fit_model
from profactory.pipeline.holding import held
from profactory.pipeline.leakage import examine_leakage
from profactory.pipeline.objective import announce_balance
from profactory.pipeline.preparation import Job
from profactory.pipeline.reporting import report_run
from profactory.runs import RUNS_FOLDER, Run, new_run_path

log = logging.getLogger("profactory")


def make_run(job: Job, out: str | Path | None, overwrite: bool = False) -> Run:
    """Make the directory of a run, named after data, model and method unless told otherwise."""
    path = Path(out) if out else new_run_path(RUNS_FOLDER, job.source, job.config.model, job.choices.method)
    asked = {"data": durable_name(job.source), **job.config.model_dump(mode="json", exclude_unset=True)}
    if job.config.structures:
        asked["structures"] = str(Path(job.config.structures).absolute())
    return Run.create(path, asked, overwrite=overwrite)


def carry_out(job: Job, run: Run, cost: Estimate | None, *, resume: bool = False, force: bool = False) -> Run:
    """Train, measure and report; or go on with that."""
    torch.set_num_threads(job.choices.threads)
    with held(run):
        announce(job, run, cost)
        leakage = examine_leakage(job, run) if PartialState().is_main_process else None
        model = build_model(job)
        trained = fit_model(job, model, run, resume=resume, force=force)
        report_run(job, trained, run, leakage)
    PartialState().wait_for_everyone()  # the report is there for whoever looks next, in any process
    return run


def build_model(job: Job) -> ProteinModel:
    """Return the model of a job as it is before training."""
    config = job.config
    if job.initial is None:
        model = _new_model(job)
    else:
        model = job.initial.load(trust_remote_code=config.trust_remote_code)
    if config.gradient_checkpointing:
        model.backbone.checkpoint_gradients()
    return model


def _new_model(job: Job) -> ProteinModel:
    config = job.config
    tuning = Tuning(
        rank=config.lora_rank,
        alpha=config.lora_alpha,
        dropout=config.lora_dropout,
        target_modules=None if config.lora_target_modules is None else tuple(config.lora_target_modules),
        last_layers=config.unfreeze_layers,
    )
    return ProteinModel.build(
        job.spec,
        job.task,
        method=job.choices.method,
        tuning=tuning,
        pooling=job.choices.pooling,
        max_length=job.choices.max_length,
        dropout=config.dropout,
        head_hidden=config.head_hidden,
        layer=config.layer,
        structures=dict(job.structures),
        descriptors=tuple(config.features or ()),
        trust_remote_code=config.trust_remote_code,
        seed=config.seed,
    )


def announce(job: Job, run: Run, cost: Estimate | None) -> None:
    """Say what will be done and why, and note what it is done on."""
    if not PartialState().is_main_process:
        return
    run.set_status(
        "preparing", task=str(job.task.kind), model=job.spec.name, method=job.choices.method, data=job.source
    )
    about = {"choices": job.choices.to_dict(), "expected_cost": cost.to_dict() if cost else None}
    atomic_write_json(run.path / "data.json", {**job.describe_data(), **about})
    counts = ", ".join(f"{count:,} {name}" for name, count in count_splits(job.splits).items())
    log.info("Run %s", run.path)
    log.info("Data: %s (%s)", counts, job.division.note)
    log.info("Task: %s (%s)", job.task.kind, job.prepared.task_reason)
    log.info("Model: %s. Chosen for this data and machine:", job.spec.name)
    job.choices.announce()
    announce_balance(job)
    if cost is not None:
        announce_cost(cost)
    if job.prepared.rejected:
        listed = write_rejected(job.prepared, run.path, overwrite=True)
        count = job.prepared.counts["rejected"]
        log.warning("%s rows cannot be used and are left out; %s names them.", f"{count:,}", listed)
    if job.truncated:
        log.warning(
            "%s sequences are longer than %s residues; only their beginning is read.",
            f"{job.truncated:,}",
            f"{job.choices.max_length:,}",
        )
