"""A small real training (tiny ESM-2, regression with residue-dependent labels), in this process or another.

As a script: ``python -m tests.support.training_job RUN MODEL_DIR METHOD [seconds per batch]``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from profactory.data.batching import Indices
from profactory.errors import ProFactoryError
from profactory.inference.predictor import Predictor
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.runs import Run
from profactory.tasks import Task, TaskKind, Values
from profactory.training.distributed import end_process, join_processes
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.loop import fit
from profactory.training.loss_model import FrozenEncoder, LossModel, feature_outputs, loss_of_outputs
from profactory.training.sources import FeatureSource, SequenceSource
from profactory.training.state import FitResult, FitSettings
from tests.support.tables import random_sequences

TRAIN, VALIDATION = 40, 12
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "learning_rate": 2e-3,
    "gradient_accumulation": 2,
    "schedule": "cosine",
    "warmup": 0.1,
    "save_steps": 2,
    "device": "cpu",
}


def build(model_dir: Path, method: str, *, pooling: str = "mean", dropout: float = 0.2) -> ProteinModel:
    """Return a fresh model, always with the same weights."""
    task = Task(TaskKind.REGRESSION)
    return ProteinModel.build(
        resolve(str(model_dir)), task, method=method, pooling=pooling, dropout=dropout, max_length=64, seed=3
    )


def labels(sequences: list[str]) -> Values:
    """Return the share of charged residues: something that can be learned."""
    return Values(np.array([[sum(s.count(c) for c in "DEKR") / len(s)] for s in sequences], np.float32))


def slowed(source: Any, seconds: float) -> Any:
    """Let every batch take a while, so that there is time for a signal."""
    load = source.load

    def wait(indices: Indices) -> dict[str, Tensor]:
        time.sleep(seconds)
        return load(indices)

    source.load = wait
    return source


def train(
    run: Run,
    model_dir: Path,
    method: str,
    *,
    resume: bool = False,
    wait: float = 0.0,
    dropout: float = 0.2,
    **settings: Any,
) -> tuple[ProteinModel, FitResult]:
    """Train in this process."""
    model = build(model_dir, method, dropout=dropout)
    sequences = random_sequences(TRAIN + VALIDATION, seed=5)
    rows = np.arange(TRAIN + VALIDATION)
    truth = labels(sequences[TRAIN:])
    options = {"tokens": 160, "seed": 7}
    if method == "freeze":
        features = EmbeddingCache().get(FrozenEncoder(model), sequences)
        targets = labels(sequences[:TRAIN])
        source: Any = FeatureSource(features, rows[:TRAIN], TaskKind.REGRESSION, targets, **options)
    else:
        source = SequenceSource(
            model.backbone,
            sequences[:TRAIN],
            TaskKind.REGRESSION,
            labels(sequences[:TRAIN]),
            max_length=64,
            **options,
        )

    def validate() -> dict[str, float]:
        if method == "freeze":
            outputs = feature_outputs(model, features, rows[TRAIN:])
        else:
            outputs = Predictor(model, device="cpu").predict_outputs(sequences[TRAIN:])
        return {"loss": loss_of_outputs(TaskKind.REGRESSION, outputs, truth)}

    chosen = FitSettings(**{**SETTINGS, "seed": 7, **settings})
    result = fit(LossModel(model), slowed(source, wait), validate, run, chosen, resume=resume)
    return model, result


def main() -> int:
    """Run as a process of its own (or as one of several)."""
    path, model_dir, method = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    wait, accumulation = float(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(1)
    processes = join_processes("auto")
    is_main = processes.is_main_process
    run = Run.create(path, {"data": "toy"}) if is_main else None
    processes.wait_for_everyone()
    run = run or Run.open(path)
    try:
        if is_main:
            with run.lock():
                model, _ = train(
                    run, model_dir, method, wait=wait, gradient_accumulation=accumulation, dropout=0.1
                )
        else:
            model, _ = train(
                run, model_dir, method, wait=wait, gradient_accumulation=accumulation, dropout=0.1
            )
    except ProFactoryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if is_main:
        print("final", float(sum(p.detach().double().abs().sum() for p in model.parameters())))
    if processes.num_processes > 1:
        end_process(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
