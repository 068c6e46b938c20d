"""Losses against naive loops, and their weights against what the loss itself counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from profactory.tasks import TaskKind, Values
from profactory.training.losses import loss_sum, term_weights

RNG = np.random.default_rng(0)


def naive_cross_entropy(logits, targets, weights):
    total = count = 0.0
    for row, target in zip(logits, targets, strict=True):
        if target == -1:
            continue
        log_p = row[target] - math.log(sum(math.exp(v) for v in row))
        total -= weights[target] * log_p
        count += weights[target]
    return total, count


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_single_label(weights):
    logits, targets = RNG.normal(size=(7, 3)), RNG.integers(0, 3, 7)
    tensor = None if weights is None else torch.tensor(weights)
    got = loss_sum(TaskKind.SINGLE_LABEL, torch.tensor(logits), torch.tensor(targets), class_weights=tensor)
    expected = naive_cross_entropy(logits.tolist(), targets.tolist(), weights or [1, 1, 1])
    assert [float(v) for v in got] == pytest.approx(expected, rel=1e-5)
    each = term_weights(TaskKind.SINGLE_LABEL, Values(targets), weights and np.array(weights))
    assert each.sum() == pytest.approx(expected[1])


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_residue_classification_ignores_unlabelled_and_padding(weights):
    lengths, longest = [4, 2, 3], 4
    labels = [RNG.integers(-1, 3, n) for n in lengths]
    labels[0][:] = [0, -1, 2, 1]
    padded = np.full((3, longest), -1)
    for row, label in enumerate(labels):
        padded[row, : len(label)] = label
    logits = RNG.normal(size=(3, longest, 3))
    tensor = None if weights is None else torch.tensor(weights)
    kind = TaskKind.RESIDUE_CLASSIFICATION
    got = loss_sum(kind, torch.tensor(logits), torch.tensor(padded), class_weights=tensor)
    flat = logits.reshape(-1, 3).tolist(), padded.reshape(-1).tolist()
    expected = naive_cross_entropy(*flat, weights or [1, 1, 1])
    assert [float(v) for v in got] == pytest.approx(expected, rel=1e-5)
    values = Values.concat(labels, per_residue=True)
    each = term_weights(kind, values, weights and np.array(weights))
    by_hand = [sum((weights or [1, 1, 1])[c] for c in label if c >= 0) for label in labels]
    assert each.tolist() == pytest.approx(by_hand)


@pytest.mark.parametrize("weights", [None, [3.0, 1.0, 0.5, 2.0]])
def test_multi_label(weights):
    logits = RNG.normal(size=(5, 4))
    targets = (RNG.random((5, 4)) < 0.4).astype(np.float32)
    total = count = 0.0
    for row, labels in zip(logits, targets, strict=True):
        for j, (value, label) in enumerate(zip(row, labels, strict=True)):
            p = 1 / (1 + math.exp(-value))
            w = (weights[j] if weights and label else 1.0) or 1.0
            total -= w * math.log(p if label else 1 - p)
            count += w
    tensor = None if weights is None else torch.tensor(weights)
    got = loss_sum(TaskKind.MULTI_LABEL, torch.tensor(logits), torch.tensor(targets), class_weights=tensor)
    assert [float(v) for v in got] == pytest.approx([total, count], rel=1e-5)
    each = term_weights(TaskKind.MULTI_LABEL, Values(targets), weights and np.array(weights))
    assert each.sum() == pytest.approx(count)


@pytest.mark.parametrize("scale", [None, [2.0, 0.5]])
def test_regression_with_missing_targets(scale):
    values = RNG.normal(size=(6, 2))
    targets = RNG.normal(size=(6, 2)).astype(np.float32)
    targets[1, 0] = targets[4, 1] = np.nan
    total, count = 0.0, 0
    for row, wanted in zip(values, targets, strict=True):
        for j, (value, target) in enumerate(zip(row, wanted, strict=True)):
            if not math.isnan(target):
                total += ((value - target) / (scale[j] if scale else 1)) ** 2
                count += 1
    prediction = torch.tensor(values, requires_grad=True)
    tensor = None if scale is None else torch.tensor(scale)
    got = loss_sum(TaskKind.REGRESSION, prediction, torch.tensor(targets), target_scale=tensor)
    assert [v.item() for v in got] == pytest.approx([total, count], rel=1e-5)
    got[0].backward()
    assert torch.isfinite(prediction.grad).all()
    assert prediction.grad[1, 0] == 0
    assert term_weights(TaskKind.REGRESSION, Values(targets)).tolist() == [2, 1, 2, 2, 1, 2]


def test_residues_of_several_classes():
    """Cross-entropy of what is known; what is not, and padding, has neither loss nor gradient."""
    rng = np.random.default_rng(0)
    targets = (rng.random((2, 3, 2)) < 0.5).astype(np.float32)
    targets[0, 1] = targets[1, 2] = np.nan
    values = rng.normal(size=targets.shape).astype(np.float32)
    weights = np.array([3.0, 0.5])
    total, count = 0.0, 0.0
    for value, target, weight in zip(values.flat, targets.flat, np.tile(weights, 6), strict=True):
        if not math.isnan(target):
            p = 1 / (1 + math.exp(-value))
            each = weight if target else 1.0
            total, count = total - each * math.log(p if target else 1 - p), count + each
    logits = torch.tensor(values, requires_grad=True)
    kind = TaskKind.RESIDUE_MULTI_LABEL
    got = loss_sum(kind, logits, torch.tensor(targets), class_weights=torch.tensor(weights))
    assert [v.item() for v in got] == pytest.approx([total, count], rel=1e-5)
    got[0].backward()
    assert (logits.grad[np.isnan(targets)] == 0).all()
    assert (logits.grad[~np.isnan(targets)] != 0).all()
    flat = Values(targets.reshape(6, 2), np.array([0, 3, 6]))
    assert term_weights(kind, flat, weights).sum() == pytest.approx(count)


def test_residue_regression():
    values = torch.tensor([[[1.0], [2.0], [9.0]], [[0.0], [5.0], [9.0]]])
    targets = torch.tensor([[1.5, 2.0, math.nan], [math.nan, 3.0, math.nan]])
    total, count = loss_sum(TaskKind.RESIDUE_REGRESSION, values, targets)
    assert (float(total), float(count)) == (0.25 + 0.0 + 4.0, 3.0)
    flat = Values(np.array([1.5, 2.0, np.nan, 3.0], np.float32), np.array([0, 2, 4]))
    assert term_weights(TaskKind.RESIDUE_REGRESSION, flat).tolist() == [2, 1]


def test_half_precision_logits_are_widened():
    logits = torch.tensor([[300.0, -300.0]], dtype=torch.float16)
    total, _ = loss_sum(TaskKind.SINGLE_LABEL, logits, torch.tensor([1]))
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(600.0)
