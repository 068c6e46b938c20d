"""Class weights and the focal loss against scikit-learn and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from profactory.tasks import Task, TaskKind, Values
from profactory.training.imbalance import balanced_weights, class_counts, imbalance
from profactory.training.loss_model import loss_of_outputs
from profactory.training.losses import loss_sum

CLASSES = Task(TaskKind.SINGLE_LABEL, ("a", "b", "c", "never"))
SETS = Task(TaskKind.MULTI_LABEL, ("a", "b", "c"))
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("H", "E"))


def test_weights_of_exclusive_classes_are_scikit_learns() -> None:
    labels = np.array([0] * 50 + [1] * 5 + [2] * 20)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(CLASSES, Values(labels)) == pytest.approx([*expected, 1.0])


def test_weights_of_residues_count_labelled_residues() -> None:
    targets = Values(np.array([0, 0, 0, -1, 1, -1]), np.array([0, 4, 6]))
    assert class_counts(RESIDUES, targets).tolist() == [3, 1]
    assert balanced_weights(RESIDUES, targets) == pytest.approx([4 / 6, 2.0])


def test_positive_labels_weigh_as_much_as_negative_ones() -> None:
    targets = Values(np.float32([[1, 0, 0]] * 1 + [[0, 1, 0]] * 3 + [[0, 0, 0]] * 396))
    assert balanced_weights(SETS, targets) == pytest.approx([100.0, 397 / 3 if 397 / 3 < 100 else 100.0, 1.0])


def test_imbalance_names_the_largest_and_the_smallest_class() -> None:
    times, clause = imbalance(CLASSES, Values(np.array([0] * 1200 + [1] * 3 + [2] * 40)))
    assert times == 400
    assert clause == "a has 1,200 training rows, b has 3"


def naive_focal(p: float, weight: float, gamma: float) -> float:
    return weight * (1 - p) ** gamma * -math.log(p)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_of_classes_by_a_plain_loop(gamma: float, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(12, 4)) * 3
    labels = rng.integers(-1, 4, size=12)  # -1: unlabelled residues
    table = np.array([0.5, 2.0, 1.0, 4.0]) if weighted else np.ones(4)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    terms = [naive_focal(p[i, y], table[y], gamma) for i, y in enumerate(labels) if y >= 0]
    weights = [table[y] for y in labels if y >= 0]
    options = {"class_weights": torch.tensor(table) if weighted else None, "focal_gamma": gamma}
    kind = TaskKind.RESIDUE_CLASSIFICATION
    total, weight = loss_sum(kind, torch.tensor(logits), torch.tensor(labels), **options)
    assert float(total) == pytest.approx(sum(terms), rel=1e-5)
    assert float(weight) == pytest.approx(sum(weights), rel=1e-6)
    options["class_weights"] = table if weighted else None
    mean = loss_of_outputs(kind, Values(p.astype(np.float32)), Values(labels), **options)
    assert mean == pytest.approx(sum(terms) / sum(weights), rel=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_of_sets_by_a_plain_loop(gamma: float) -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(7, 3)) * 3, rng.integers(0, 2, size=(7, 3))
    table = np.array([3.0, 1.0, 0.5])
    p = 1 / (1 + np.exp(-logits))
    terms, weights = 0.0, 0.0
    for i in range(7):
        for j in range(3):
            weight = table[j] if labels[i, j] else 1.0
            terms += naive_focal(p[i, j] if labels[i, j] else 1 - p[i, j], weight, gamma)
            weights += weight
    options = {"class_weights": torch.tensor(table), "focal_gamma": gamma}
    total, weight = loss_sum(TaskKind.MULTI_LABEL, torch.tensor(logits), torch.tensor(labels), **options)
    assert float(total) == pytest.approx(terms, rel=1e-5)
    assert float(weight) == pytest.approx(weights, rel=1e-6)
    options["class_weights"] = table
    outputs, targets = Values(p.astype(np.float32)), Values(labels.astype(np.float32))
    mean = loss_of_outputs(TaskKind.MULTI_LABEL, outputs, targets, **options)
    assert mean == pytest.approx(terms / weights, rel=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradient_of_a_certain_and_right_prediction_is_finite(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    total, _ = loss_sum(TaskKind.SINGLE_LABEL, logits, torch.tensor([0, 0]), focal_gamma=gamma)
    total.backward()
    assert torch.isfinite(logits.grad).all()
