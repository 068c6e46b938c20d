"""From a prepared job to a trained model: cached embeddings for a frozen backbone, sequences otherwise."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from profactory.config import PretrainConfig, TrainConfig
from profactory.config.methods import METHODS
from profactory.data.integers import small_type
from profactory.data.structure_strings import Strings
from profactory.evaluation.metrics import compute_metrics
from profactory.inference.embedding import EmbeddingPredictor
from profactory.inference.predictor import Predictor
from profactory.models.descriptors import describe
from profactory.models.extra_inputs import Arrays
from profactory.models.protein_model import ProteinModel
from profactory.models.tuning import parameter_counts
from profactory.pipeline.budget import settle_budget
from profactory.pipeline.objective import Objective, make_objective
from profactory.pipeline.preparation import Job
from profactory.runs import Run
from profactory.tasks import Task, Values
from profactory.training.augmentation import Augmentation
from profactory.training.distributed import in_shares
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.features import Features
from profactory.training.loop import fit
from profactory.training.loss_model import FrozenEncoder, feature_embeddings, feature_outputs
from profactory.training.sharding import in_step
from profactory.training.sources import AugmentedSource, FeatureSource, SequenceSource
from profactory.training.state import FitResult, FitSettings

log = logging.getLogger("profactory")

Outputs = Callable[[str], Values]
Embeddings = Callable[[NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Trained:
    """A model with its best weights.

    Parameters
    ----------
    outputs
        Returns the model's outputs on a split, in the order of its rows.
    embeddings
        Returns what the head reads of rows of the data set, ``(n, width)``; for the process that calls it.
    result
        How the training went.
    objective
        What it minimised.
    """

    model: ProteinModel
    outputs: Outputs
    embeddings: Embeddings
    result: FitResult
    objective: Objective


def fit_model(
    job: Job,
    model: ProteinModel,
    run: Run,
    *,
    resume: bool = False,
    force: bool = False,
    on_evaluation: Callable[[dict[str, float]], None] | None = None,
) -> Trained:
    """Train a model on a job's training rows, choosing the best epoch on its validation rows.

    `on_evaluation` is told the validation metrics of each evaluation, and may end the training by an error.
    """
    trainable, total = parameter_counts(model)
    if PartialState().is_main_process:
        log.info(
            "Parameters: %s of %s are trained (%.2f %%): %s.",
            f"{trainable:,}",
            f"{total:,}",
            100 * trainable / total,
            METHODS[model.method].summary,
        )
    objective = make_objective(job)
    loss_model = objective.module(model)
    source: FeatureSource | SequenceSource
    if job.choices.cached:
        source, outputs, embedded = _frozen(job, model, objective)
        estimated = outputs
    else:
        source = _adapted(job, model, objective)
        outputs, estimated = (_predicted(job, model, name) for name in ("fp32", job.choices.precision))
        embedded = row_embeddings(job, model)
        if not resume:
            settle_budget(job, loss_model, source, run)
    truth = job.targets("validation")

    def validate() -> dict[str, float]:
        predicted = estimated("validation")
        loss = objective.loss(model, predicted, truth)
        metrics = {**compute_metrics(job.task, truth, predicted), "loss": loss}
        if on_evaluation is not None:
            on_evaluation(metrics)
        return metrics

    if job.initial is None:  # a trained model keeps its units
        objective.scale_outputs(model)
        _standardise(model, job.sequences("train"))
    with _threads(job):
        result = fit(loss_model, source, validate, run, fit_settings(job), resume=resume, force=force)
    return Trained(model, outputs, embedded, result, objective)


@contextlib.contextmanager
def _threads(job: Job) -> Iterator[None]:
    """Train a head on single vectors with one thread: its matrices are too small to share out.

    Waiting for each other costs more than it gains, and many times more on a busy machine.
    """
    small = job.choices.batch_size is not None and job.choices.cached and not job.task.per_residue
    before = torch.get_num_threads()
    torch.set_num_threads(1 if small else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _standardise(model: ProteinModel, sequences: Sequence[str]) -> None:
    """Let physico-chemical numbers count in their deviations among the training sequences."""
    if model.beside is not None:
        read = [sequence[: model.max_length] for sequence in sequences]
        model.beside.standardise(torch.from_numpy(describe(read, model.design.descriptors)))


def fit_settings(job: Job) -> FitSettings:
    """Return the loop's settings for a job."""
    choices = job.choices
    return FitSettings(
        **typed_settings(job.config),
        epochs=choices.epochs,
        learning_rate=choices.learning_rate,
        head_learning_rate=choices.head_learning_rate,
        eval_steps=job.config.eval_steps,
        monitor=choices.monitor,
        mode=job.task.mode_of(choices.monitor),
        patience=choices.patience,
        # The backbone's precision is settled when its embeddings are computed; the head is exact.
        precision="fp32" if choices.cached else choices.precision,
        device=choices.device,
    )


def typed_settings(config: TrainConfig | PretrainConfig) -> dict[str, Any]:
    """Return those of the loop's settings that are what the user typed, or their defaults."""
    warmup = config.warmup_ratio if config.warmup_steps is None else float(config.warmup_steps)
    return {
        "optimizer": config.optimizer,
        "weight_decay": config.weight_decay,
        "schedule": config.schedule,
        "warmup": warmup,
        "gradient_accumulation": config.gradient_accumulation_steps,
        "max_grad_norm": config.max_grad_norm,
        "on_nan": config.on_nan,
        "report_to": tuple(config.report_to or ()),
        "save_steps": config.save_steps,
        "save_minutes": config.save_minutes,
        "keep_checkpoints": config.keep_checkpoints,
        "seed": config.seed,
    }


def _limits(job: Job, objective: Objective) -> dict[str, Any]:
    lines = job.dataset.select(job.rows("train")).lines
    return {
        "class_weights": objective.class_weights,
        "tokens": job.choices.tokens_per_batch,
        "batch_size": job.choices.batch_size,
        "seed": job.config.seed,
        "lines": lines.astype(small_type(int(lines.max()))),
    }


def _frozen(job: Job, model: ProteinModel, objective: Objective) -> tuple[FeatureSource, Outputs, Embeddings]:
    features = embeddings(job, model)
    limits = _limits(job, objective)
    source = FeatureSource(features, job.rows("train"), job.task.kind, objective.learnt, **limits)

    def outputs(split: str) -> Values:
        return feature_outputs(model, features, job.rows(split))

    return source, outputs, functools.partial(feature_embeddings, model, features)


def embeddings(job: Job, model: ProteinModel) -> Features:
    """Return the embeddings of every row of the data set, from the cache if they are there."""
    encoder = FrozenEncoder(model, device=job.choices.device, precision=job.choices.precision)
    sequences = job.dataset.sequences
    structures = model.extra_inputs.for_tokens(job.strings())
    with PartialState().main_process_first():
        features = EmbeddingCache().get(encoder, sequences, structures)
    return replace(features, extras=_extras(job, model, sequences, None))


def _extras(
    job: Job, model: ProteinModel, sequences: Sequence[str], rows: NDArray[np.int64] | None
) -> Sequence[Arrays] | None:
    """Return what the model reads of samples beside their sequences."""
    if not model.extra_inputs:
        return None
    return model.extra_inputs.encode(sequences, job.strings(rows), model.max_length)


def _sequence_source(job: Job) -> Callable[..., SequenceSource]:
    config = job.config
    if not config.augment:
        return SequenceSource
    kinds = tuple(dict.fromkeys(config.augment))
    log.info("Training sequences are changed a little in every epoch (%s).", ", ".join(kinds))
    return functools.partial(AugmentedSource, Augmentation(kinds, config.augment_rate, config.augment_crop))


def _adapted(job: Job, model: ProteinModel, objective: Objective) -> SequenceSource:
    return _sequence_source(job)(
        model.backbone,
        job.sequences("train"),
        job.task.kind,
        objective.learnt,
        max_length=job.choices.max_length,
        extras=_extras(job, model, job.sequences("train"), job.rows("train")),
        structures=model.extra_inputs.for_tokens(job.strings(job.rows("train"))),
        **_limits(job, objective),
    )


def _predicted(job: Job, model: ProteinModel, precision: str) -> Outputs:
    """Return what predicts a split: in fp32 what `predict` will say, in less an estimate on the way."""

    def outputs(split: str) -> Values:
        predictor = Predictor(model, device=job.choices.device, precision=precision)
        return _shared(predictor, job.sequences(split), job.strings(job.rows(split)), job.task)

    return outputs


def row_embeddings(job: Job, model: ProteinModel) -> Embeddings:
    """Return what computes a trained model's embeddings of a job's rows, in full precision."""

    def embed(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        predictor = EmbeddingPredictor(model, device=job.choices.device)
        return predictor.embeddings(job.dataset.select(rows).sequences, job.strings(rows))

    return embed


def _shared(predictor: Predictor, sequences: Sequence[str], strings: Strings, task: Task) -> Values:
    """Predict every sequence in exactly one of the processes; every process gets all outputs."""
    state = PartialState()
    if state.num_processes == 1:
        return predictor.predict_outputs(sequences, strings=strings)

    def predict(mine: NDArray[np.int64]) -> list[NDArray[Any]]:
        def outputs_of(rows: Sequence[int]) -> Values:
            chosen = {kind: [texts[i] for i in rows] for kind, texts in strings.items()}
            return predictor.predict_outputs([sequences[i] for i in rows], strings=chosen)

        with in_step(predictor.model, lambda: outputs_of([0])):
            outputs = outputs_of(mine.tolist())
        return [outputs[i] for i in range(len(mine))]

    return Values.concat(in_shares(state, len(sequences), predict), per_residue=task.per_residue)
