"""What a finished training leaves behind: the model, its measurements, the report."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from accelerate import PartialState

from profactory import __version__
from profactory.data.domain import Domain
from profactory.data.leakage import Leakage, not_compared
from profactory.evaluation.baselines import Baselines, fit_baselines
from profactory.evaluation.calibration import fit_calibration
from profactory.evaluation.diagnosis import Diagnosis, diagnose
from profactory.evaluation.domain import FEWEST_ROWS, MOST_EMBEDDINGS, chosen_rows, fit_domain
from profactory.evaluation.report import EvaluatedSplit, write_report
from profactory.files import counted
from profactory.pipeline.fitting import Trained
from profactory.pipeline.leakage import relatives
from profactory.pipeline.preparation import Job
from profactory.runs import Run
from profactory.sharing.model_card import write_card
from profactory.tasks import Task, Values

log = logging.getLogger("profactory")

THRESHOLDS = np.arange(0.05, 0.96, 0.05)


def report_run(
    job: Job,
    trained: Trained,
    run: Run,
    leakage: Leakage | None,
    history: list[dict[str, Any]] | None = None,
) -> None:
    """Save the model, measure it on validation and test rows, write the report.

    `history` holds the events of the training if it was another run's.
    """
    names = [name for name in ("validation", "test") if len(job.rows(name))]
    outputs = {name: trained.outputs(name) for name in names}  # all processes take part
    if not PartialState().is_main_process:
        return
    run.set_status("evaluating")
    task, calibrated = keep_model(job, trained, outputs, run)
    baselines = baselines_of(job, task)
    splits = {
        name: replace(_evaluated(job, name, calibrated[name], baselines), raw=outputs[name]) for name in names
    }
    events = list(run.events()) if history is None else history
    report = write_report(
        run.report_dir,
        task=task,
        splits=splits,
        baseline_notes=baselines.notes,
        history=events,
        diagnose=diagnosing(job, trained, events, baselines, leakage),
        run_info=_run_info(job, trained, run),
        data_info=data_info(job),
        warnings=warnings_of(job, names),
        relatives=relatives(job, leakage) if leakage else None,
        calibration=trained.model.calibration,
        seed=job.config.seed,
    )
    main = report.metrics[report.metrics["main_split"]]
    numbers = {name: entry["value"] for name, entry in main.items() if entry["value"] is not None}
    write_card(run.model_dir, run.path)
    run.emit("finished", split=report.metrics["main_split"], metrics=numbers)
    run.set_status("finished", metrics=numbers, eta_seconds=None)
    if report.metrics["comparison"]:
        log.info("%s", report.metrics["comparison"]["sentence"])
    log.info("%s", report.metrics["calibration"]["sentence"])
    if leakage and report.metrics["leakage"]["warning"]:
        log.warning("%s", report.metrics["leakage"]["warning"])
    if report.diagnosis is not None:
        log.log(
            logging.WARNING if report.diagnosis.findings else logging.INFO, "%s", report.diagnosis.paragraph
        )


def keep_model(
    job: Job, trained: Trained, outputs: Mapping[str, Values], run: Run
) -> tuple[Task, dict[str, Values]]:
    """Settle what validation rows decide, and save the model; return its task and calibrated outputs."""
    truth = job.targets("validation")
    calibration = fit_calibration(job.task, truth, outputs["validation"], coverage=job.config.coverage)
    calibrated = {name: calibration.apply(job.task, values) for name, values in outputs.items()}
    task = settle_threshold(job.task, truth, calibrated["validation"])
    trained.model.task, trained.model.calibration = task, calibration
    trained.model.domain = _domain(job, trained)
    trained.model.save(run.model_dir, provenance=provenance(job))
    return task, calibrated


def _domain(job: Job, trained: Trained) -> Domain | None:
    """Return what the training sequences were like, if there are enough; of many, some are embedded."""
    sequences = [job.sequences(split) for split in ("train", "validation")]
    if min(map(len, sequences)) < FEWEST_ROWS:
        return None
    train, held_out = (
        trained.embeddings(rows[chosen_rows(len(rows), MOST_EMBEDDINGS)])
        for rows in map(job.rows, ("train", "validation"))
    )
    return fit_domain(sequences[0], sequences[1], (train, held_out))


def settle_threshold(task: Task, targets: Values, outputs: Values) -> Task:
    """Choose the probability from which a class of a multi-label task is predicted.

    0.5 would predict hardly any rare class. The threshold with the best micro-averaged F1 on the
    validation rows is kept with the model; other tasks have none.
    """
    if not task.is_multi_label:
        return task
    known = task.labelled(targets)
    truth, probabilities = targets.values[known] > 0.5, outputs.values[known]
    scores = []
    for threshold in THRESHOLDS:
        predicted = probabilities >= threshold
        hits = float((truth & predicted).sum())
        scores.append(2 * hits / max(1.0, float(truth.sum() + predicted.sum())))
    best = round(float(THRESHOLDS[int(np.argmax(scores))]), 2)
    log.info("Classes are predicted from probability %.2f on (best F1 on the validation rows).", best)
    return task.with_threshold(best)


def baselines_of(job: Job, task: Task) -> Baselines:
    """Fit the baselines on the training rows."""
    return fit_baselines(
        task,
        job.sequences("train"),
        job.targets("train"),
        validation=(job.sequences("validation"), job.targets("validation")),
        seed=job.config.seed,
    )


def diagnosing(
    job: Job,
    trained: Trained,
    events: list[dict[str, Any]],
    baselines: Baselines,
    leakage: Leakage | None = None,
) -> Callable[[Mapping[str, Any]], Diagnosis]:
    """Return what says how a training went, given the content of its ``metrics.json``."""
    targets = trained.objective.targets
    return functools.partial(
        diagnose,
        events,
        # Of predicting the same for everything: what losses are compared with.
        reference_loss=trained.objective.loss(trained.model, baselines.constant(targets), targets),
        settings={**job.config.model_dump(mode="json"), **job.choices.to_dict()},
        leakage=leakage.to_dict() if leakage else None,
    )


def _evaluated(job: Job, split: str, outputs: Values, baselines: Baselines) -> EvaluatedSplit:
    return EvaluatedSplit(
        targets=job.targets(split),
        outputs=outputs,
        table=job.dataset.select(job.rows(split)).table,
        baselines=baselines.predict(job.sequences(split), outputs),
    )


def provenance(job: Job) -> dict[str, Any]:
    """Return what is written into the model about where it comes from."""
    return {
        "profactory": __version__,
        "data_sha256": job.dataset.content_hash,
        "source": job.source,
        "init": job.config.init,
        "splits": job.describe_data()["splits"],
        "seed": job.config.seed,
    }


def _run_info(job: Job, trained: Trained, run: Run) -> dict[str, Any]:
    result, choices = trained.result, job.choices
    settings = {k: v for k, v in choices.to_dict().items() if k != "reasons" and v is not None}
    return {
        "title": run.path.name,
        "subtitle": f"{job.spec.name}, {choices.method}, {job.task.kind}",
        "model": job.spec.name,
        "optimizer steps": result.steps,
        "epochs": result.epochs,
        "best epoch": result.best.epoch if result.best else None,
        "stopped early": result.stopped_early,
        "seconds of training": round(result.seconds, 1),
        "settings": settings,
    }


def data_info(job: Job) -> dict[str, Any]:
    """Return the lines of the report's section "Data"."""
    data = job.describe_data()
    return {
        "source": job.source,
        "task": f"{job.task.kind} ({job.prepared.task_reason})",
        "split": job.division.note,
        **{f"{name} rows": count for name, count in data["splits"].items()},
        "SHA-256 of the rows": job.dataset.content_hash,
        "truncated sequences": data["truncated"],
    }


def warnings_of(job: Job, measured: list[str]) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    found = []
    if "test" not in measured:
        found.append(
            "There is no test set: the numbers are those of the validation rows, by which the best epoch was"
            " chosen, and too good."
        )
    elif said := not_compared(len(job.dataset)):
        found.append(said)
    if job.truncated:
        found.append(
            f"{counted(job.truncated, 'sequence was', 'sequences were')} cut to the first"
            f" {job.choices.max_length:,} residues."
        )
    if job.prepared.rejected:
        left_out = counted(job.prepared.counts["rejected"], "row", "rows")
        found.append(f"{left_out} could not be used and stayed out.")
    return found
