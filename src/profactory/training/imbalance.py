"""Classes of uneven size: how uneven they are, and weights that make them count alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.tasks import Task, Values

MOST_POSITIVE = 100.0  # weight of a positive label; more lets single samples rule a step


def class_counts(task: Task, targets: Values) -> NDArray[np.int64]:
    """Return how often each class occurs among labels, shape ``(classes,)``; residues count one by one."""
    if task.is_multi_label:
        return np.asarray((targets.values > 0.5).sum(axis=0), np.int64)  # NaN, unlabelled, is not
    known = targets.values[targets.values >= 0]
    return np.bincount(known, minlength=task.n_outputs).astype(np.int64)


def balanced_weights(task: Task, targets: Values) -> NDArray[np.float64]:
    """Return the weight of each class that lets all count alike, shape ``(classes,)``.

    Exclusive classes: ``n / (classes * count)``, as scikit-learn's ``class_weight="balanced"``, over the
    classes that occur. Multi-label: the positive labels of a class weigh as much as its negative ones, but no
    label more than 100. A class without samples weighs 1.
    """
    counts = class_counts(task, targets).astype(np.float64)
    there = counts > 0
    weights = np.ones(len(counts))
    if task.is_multi_label:
        known = task.labelled(targets).sum()
        weights[there] = np.minimum((known - counts[there]) / counts[there], MOST_POSITIVE)
    else:
        weights[there] = counts.sum() / (there.sum() * counts[there])
    return np.maximum(weights, 1e-6)


def imbalance(task: Task, targets: Values) -> tuple[float, str]:
    """Return how many times larger the largest class is than the smallest, and a clause that says so."""
    counts = class_counts(task, targets)
    there = np.flatnonzero(counts)
    if len(there) < 2:
        return 1.0, "there is one class"
    large, small = there[counts[there].argmax()], there[counts[there].argmin()]
    unit = "residues" if task.per_residue else "training rows"
    return float(counts[large] / counts[small]), (
        f"{task.classes[large]} has {counts[large]:,} {unit}, {task.classes[small]} has {counts[small]:,}"
    )


def term_emphasis(
    weights: NDArray[Any] | None, labels: NDArray[Any], *, positive_only: bool
) -> NDArray[np.float64]:
    """Return the weight of each loss term: of its class, or of its class where the label is positive."""
    if weights is None:
        return np.ones(labels.shape)
    table = np.asarray(weights, np.float64)
    return 1 + labels * (table - 1) if positive_only else table[labels]
