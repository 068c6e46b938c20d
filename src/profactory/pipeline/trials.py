"""One trial of a sweep: a run of its own that never sees the test rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from profactory.config import TrainConfig
from profactory.inference.predictor import Predictor
from profactory.models.protein_model import ProteinModel
from profactory.pipeline.brief_report import report_briefly
from profactory.pipeline.capacity import check_capacity, fit_batch
from profactory.pipeline.fitting import Trained, fit_model, row_embeddings
from profactory.pipeline.holding import held, in_own_log
from profactory.pipeline.objective import make_objective
from profactory.pipeline.preparation import Job, prepare_job
from profactory.pipeline.single import announce, build_model, make_run
from profactory.runs import Run
from profactory.tasks import Calibration, Values
from profactory.training.state import Best, FitResult


class PrunedTrial(Exception):  # noqa: N818 - no error: the trial is ended because others do better
    """A trial that is not worth finishing."""


def trial_job(base: Job, settings: Mapping[str, Any]) -> Job:
    """Return the job of a trial: the rows of the sweep, without those of the test set.

    Raises
    ------
    ConfigError
        The settings have no meaning together.
    """
    job = prepare_job(base.source, TrainConfig.build(settings), like=base)
    splits = np.where(base.splits == "test", "", base.splits)
    note = f"{base.division.note} Test rows are kept for the winner."
    return fit_batch(replace(job, division=replace(base.division, splits=splits, note=note)))


def carry_out_trial(job: Job, place: Path, watch: Callable[[dict[str, float]], None]) -> float:
    """Train one trial, or go on with it; return its best validation value.

    Raises
    ------
    PrunedTrial
        `watch`, which is told the metrics of every evaluation, raised it; the run says so.
    ProFactoryError
        It cannot be trained.
    """
    cost = check_capacity(job, place)
    begun = (place / "status.json").is_file()
    own = Run.open(place) if begun else make_run(job, place)
    torch.set_num_threads(job.choices.threads)
    with in_own_log(), held(own):
        announce(job, own, cost)
        try:
            trained = fit_model(job, build_model(job), own, resume=begun, on_evaluation=watch)
        except PrunedTrial as pruned:
            own.set_status("stopped", pruned=True, eta_seconds=None)
            ended = pruned
        else:
            report_briefly(job, trained, own)
            return math.nan if trained.result.best is None else trained.result.best.value
    raise ended


def trained_trial(job: Job, own: Run) -> Trained:
    """Return the model of a finished trial as training left it, for rows of `job` that it did not see."""
    model = ProteinModel.load(own.model_dir, trust_remote_code=job.config.trust_remote_code)
    model.calibration, model.domain = Calibration(), None  # both are found out anew
    predictor = Predictor(model, device=job.choices.device)

    def outputs(split: str) -> Values:
        return predictor.predict_outputs(job.sequences(split), strings=job.strings(job.rows(split)))

    return Trained(model, outputs, row_embeddings(job, model), _result(own), make_objective(job))


def _result(own: Run) -> FitResult:
    """Read back how a finished training went."""
    status, events = own.status(), list(own.events())
    stopped = any(event.get("stopped_early") for event in events if event["event"] == "trained")
    best = status.get("best") or {}
    seen = [e for e in events if e["event"] == "evaluation" and e["step"] == best.get("step")]
    found = Best(best["value"], best["step"], seen[-1]["epoch"], seen[-1]["metrics"]) if seen else None
    begun, ended = (datetime.fromisoformat(event["time"]) for event in (events[0], events[-1]))
    return FitResult(status["step"], status["epoch"], found, stopped, None, (ended - begun).total_seconds())
