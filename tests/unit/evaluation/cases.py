"""Random labels and outputs of every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.tasks import Task, TaskKind, Values

Array = NDArray[Any]


def softmax(logits: Array) -> Array:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)


def classes_case(
    classes: Sequence[str] = ("a", "b", "c"), n: int = 200, seed: int = 0, strength: float = 1.0
) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(len(classes), size=n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), truth] += strength
    return Task(TaskKind.SINGLE_LABEL, tuple(classes)), Values(truth), Values(softmax(logits))


def sets_case(classes: int = 6, n: int = 150, seed: int = 0) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, classes)) < 0.3).astype(np.float32)
    scores = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) - 1 + 1.5 * truth)))
    task = Task(TaskKind.MULTI_LABEL, tuple(f"go{i}" for i in range(classes)))
    return task, Values(truth), Values(scores.astype(np.float32))


def numbers_case(n: int = 120, seed: int = 0, targets: int = 1) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    truth = (50 + 12 * rng.normal(size=(n, targets))).astype(np.float32)
    names = ("label",) if targets == 1 else tuple(f"t{i}" for i in range(targets))
    values = (truth + 8 * rng.normal(size=truth.shape)).astype(np.float32)
    return Task(TaskKind.REGRESSION, targets=names), Values(truth), Values(values)


def residues_case(
    classes: str = "HEC", proteins: int = 40, seed: int = 0, unlabelled: float = 0.1
) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], rng.integers(5, 60, proteins).cumsum()])
    truth = rng.integers(len(classes), size=offsets[-1])
    logits = rng.normal(size=(offsets[-1], len(classes)))
    logits[np.arange(offsets[-1]), truth] += 1.2
    truth[rng.random(offsets[-1]) < unlabelled] = -1
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, tuple(classes))
    return task, Values(truth, offsets), Values(softmax(logits), offsets)


def residue_sets_case(
    classes: int = 3, proteins: int = 40, seed: int = 0, unlabelled: float = 0.1
) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], rng.integers(5, 60, proteins).cumsum()])
    truth = (rng.random((offsets[-1], classes)) < 0.2).astype(np.float32)
    scores = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) - 1 + 1.5 * truth)))
    truth[rng.random(offsets[-1]) < unlabelled] = np.nan
    task = Task(TaskKind.RESIDUE_MULTI_LABEL, tuple(f"site{i}" for i in range(classes)), separator="|")
    return task, Values(truth, offsets), Values(scores.astype(np.float32), offsets)


def residue_numbers_case(proteins: int = 40, seed: int = 0) -> tuple[Task, Values, Values]:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], rng.integers(5, 60, proteins).cumsum()])
    truth = rng.random(offsets[-1]).astype(np.float32)
    values = (0.6 * truth + 0.2 * rng.normal(size=offsets[-1])).astype(np.float32)[:, None]
    truth[rng.random(offsets[-1]) < 0.1] = np.nan
    return Task(TaskKind.RESIDUE_REGRESSION), Values(truth, offsets), Values(values, offsets)
