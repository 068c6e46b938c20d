"""Masked-language-model training from end to end, and going on with one."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from numpy.typing import NDArray

from profactory.config import PretrainConfig
from profactory.errors import CheckpointError
from profactory.files import atomic_write_json, read_json
from profactory.models.tuning import parameter_counts
from profactory.pipeline.choices import announce
from profactory.pipeline.holding import held
from profactory.pipeline.pretraining_job import PretrainJob, prepare_pretraining
from profactory.pipeline.pretraining_report import report_pretraining
from profactory.pipeline.sharding import refuse_sharding
from profactory.pretraining.heldout import HeldOut, Predicted, by_composition
from profactory.pretraining.objectives import ObjectiveWeights, PretrainingModel
from profactory.pretraining.reading import CorpusReport
from profactory.runs import RUNS_FOLDER, Run, new_run_path
from profactory.training.distributed import agreed, in_shares, join_processes
from profactory.training.loop import fit
from profactory.training.loss_model import autocast

log = logging.getLogger("profactory")

#: Value of ``command`` in the ``config.yaml`` of these runs, by which `resume` knows them.
COMMAND = "pretrain"
_CONTRACT = ("train", "validation", "splits_sha256")


def start(
    source: str, config: PretrainConfig, *, out: str | Path | None = None, overwrite: bool = False
) -> Run:
    """Make a run and carry it through.

    Raises
    ------
    ProFactoryError
        Whatever cannot be used is refused before the run directory is made.
    """
    if out is not None:
        Run.check_free(out, overwrite=overwrite)
    state = join_processes(config.device)
    refuse_sharding(state.num_processes)
    with state.main_process_first():  # the others find the corpus in the cache
        job = prepare_pretraining(source, config)
    run = _make_run(job, out, overwrite) if state.is_main_process else None
    path = agreed(state, run.path if run else None)
    return _carry_out(job, Run(Path(path or "")), resume=False)


def go_on(run: Run) -> Run:
    """Go on with a run from its newest valid checkpoint, or finish what comes after training.

    Raises
    ------
    CheckpointError
        The sequences or the settings are not those that the run began with.
    """
    if run.status()["state"] == "finished":
        log.info("The run %s is finished already.", run.path)
        return run
    settings = {name: value for name, value in run.config().items() if name != "command"}
    source, noted = str(settings.pop("data")), run.path / "data.json"
    before = read_json(noted) if noted.is_file() else {}
    if before:  # chosen for the machine that the run began on; another would choose otherwise
        settings.setdefault("precision", before["choices"]["precision"])
    config = PretrainConfig.build(settings)
    state = join_processes(config.device)
    refuse_sharding(state.num_processes)
    with state.main_process_first():
        job = prepare_pretraining(source, config)
    now = job.describe_data()
    if before and any(before[key] != now[key] for key in _CONTRACT):
        raise CheckpointError(
            f"The sequences changed since the run {run.path.name} began.",
            expected=f"{source} and the files beside it as they were",
            fix="restore the files, or start a new run",
        )
    return _carry_out(job, run, resume=True)


def _make_run(job: PretrainJob, out: str | Path | None, overwrite: bool) -> Run:
    path = Path(out) if out else new_run_path(RUNS_FOLDER, job.source.name, job.config.model_name, "pretrain")
    asked = job.config.model_dump(mode="json", exclude_unset=True)
    for name in ("validation", "annotations", "residue_labels"):
        if asked.get(name):
            asked[name] = str(Path(asked[name]).absolute())  # the run can be resumed from any folder
    if job.spec and job.spec.local and not job.spec.bundled:
        asked["init"] = job.spec.source
    return Run.create(path, {"command": COMMAND, "data": str(job.source), **asked}, overwrite=overwrite)


def _carry_out(job: PretrainJob, run: Run, *, resume: bool) -> Run:
    torch.set_num_threads(job.choices["threads"])
    with held(run):
        _announce(job, run)
        model = _model(job)
        held_out = HeldOut(job.batches(job.held_out))
        measure = _measurement(job, model, held_out)
        before = measure() if job.spec else None
        if before and not resume:
            _note_start(run, before)

        def validate() -> dict[str, float]:
            now = measure()
            return {"loss": now.mean_loss, "perplexity": now.perplexity, "accuracy": now.accuracy}

        result = fit(model, job.batches(job.training), validate, run, job.fitting, resume=resume)
        predicted = measure()  # all processes take part
        if PartialState().is_main_process:
            floor = by_composition(predicted, job.training.corpus, job.training.records)
            report_pretraining(job, run, result, predicted, before, floor)
    PartialState().wait_for_everyone()  # the report is there for whoever looks next, in any process
    return run


def _model(job: PretrainJob) -> PretrainingModel:
    """Return what the loop trains: the language model and a head for each objective that has labels."""
    config, corpus = job.config, job.training.corpus
    model = PretrainingModel(
        job.start.model,
        num_terms=corpus.num_terms if config.annotations else 0,
        residue_heads=bool(config.residue_labels and corpus.has_residue_labels.any()),
        weights=ObjectiveWeights(
            terms=config.terms_weight,
            ss8=config.ss8_weight,
            accessibility=config.accessibility_weight,
        ),
    )
    model.set_term_frequencies(corpus)
    return model.to(PartialState().device)


def _measurement(job: PretrainJob, model: PretrainingModel, held_out: HeldOut) -> Callable[[], Predicted]:
    """Return what measures the model as it is; every process does its share."""

    def predict(batches: NDArray[Any]) -> list[Predicted]:
        language_model = model.language_model
        device = next(language_model.parameters()).device
        context = functools.partial(autocast, device, job.choices["precision"])
        return held_out.predict(language_model, batches, context)

    def measure() -> Predicted:
        training = model.training
        model.eval()
        parts = in_shares(PartialState(), len(held_out), predict)
        model.train(training)
        return Predicted.together(parts)

    return measure


def _note_start(run: Run, before: Predicted) -> None:
    """Put the starting model into the curve, as epoch 0."""
    if PartialState().is_main_process:
        metrics = {"loss": before.mean_loss, "perplexity": before.perplexity, "accuracy": before.accuracy}
        run.emit("evaluation", step=0, epoch=0, train_loss=None, metrics=metrics, improved=False)
        log.info("The starting model: perplexity %.3f on the held-out sequences.", before.perplexity)


def _announce(job: PretrainJob, run: Run) -> None:
    """Say what will be done and why, and note what it is done on."""
    if not PartialState().is_main_process:
        return
    status = {
        "task": "masked_language_modelling",
        "model": job.config.model_name,
        "method": job.config.method,
    }
    run.set_status("preparing", **status, data=str(job.source))
    atomic_write_json(run.path / "data.json", job.describe_data())
    trained, total = parameter_counts(job.start.model)
    log.info("Run %s", run.path)
    log.info(
        "Sequences: %s to train on, %s held out (%s)",
        f"{len(job.training.records):,}",
        f"{len(job.held_out.records):,}",
        job.note,
    )
    for what, report in {"": job.training.report, "held-out ": job.held_out.report}.items():
        _tell_skipped(what, report)
        if job.held_out.report is job.training.report:
            break
    log.info(
        "Model: %s, %s of %s parameters are trained.", job.config.model_name, f"{trained:,}", f"{total:,}"
    )
    log.info("Chosen for this data and machine:")
    announce(job.choices)


def _tell_skipped(what: str, report: CorpusReport) -> None:
    if report.skipped:
        log.warning(
            "%s %ssequences are left out: %s too short, %s with unknown letters, %s unreadable, %s whose "
            "labels are of another length (such as %s).",
            f"{report.skipped:,}",
            what,
            f"{report.skipped_too_short:,}",
            f"{report.skipped_unknown_letters:,}",
            f"{report.skipped_unreadable:,}",
            f"{report.skipped_label_length:,}",
            ", ".join(report.examples_skipped[:3]) or "lines that could not be read",
        )
    if report.annotation_ids_not_found:
        log.warning("%s annotated ids are not in the file.", f"{report.annotation_ids_not_found:,}")
