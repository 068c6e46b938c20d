"""Kernels of metrics that count right and wrong classes."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from profactory.evaluation.kernels.base import Metrics, count_table, divide, divide_or_zero
from profactory.evaluation.rows import Array, Floats, Ints


def class_rates(right: Floats, predicted: Floats, true: Floats) -> Metrics:
    """Return precision, recall and F1 of each class from its counts, ``(classes, samples)`` each."""
    return {
        "precision": divide_or_zero(right, predicted),
        "recall": divide_or_zero(right, true),
        "f1": divide_or_zero(2 * right, predicted + true),
    }


def class_averages(right: Floats, predicted: Floats, true: Floats, rates: Metrics) -> Metrics:
    """Return what all classes give together, ``(samples,)`` each.

    Parameters
    ----------
    right, predicted, true
        Counts per class, ``(classes, samples)``.
    rates
        From :func:`class_rates`.
    """
    total = true.sum(axis=0)
    used = ((predicted + true) > 0).sum(axis=0)
    accuracy = divide(right.sum(axis=0), total)
    # The correlation of Gorodkin (2004, https://doi.org/10.1016/j.compbiolchem.2004.09.006).
    covariance = right.sum(axis=0) * total - (predicted * true).sum(axis=0)
    spread_true = total**2 - (true**2).sum(axis=0)
    spread_predicted = total**2 - (predicted**2).sum(axis=0)
    mcc = divide_or_zero(covariance, np.sqrt(spread_true * spread_predicted))
    return {
        "accuracy": accuracy,
        "balanced_accuracy": divide(rates["recall"].sum(axis=0), (true > 0).sum(axis=0)),
        "precision_macro": divide(rates["precision"].sum(axis=0), used),
        "recall_macro": divide(rates["recall"].sum(axis=0), used),
        "f1_macro": divide(rates["f1"].sum(axis=0), used),
        "f1_micro": accuracy,
        "mcc": np.where(spread_true > 0, mcc, np.nan),
    }


class ClassCounts:
    """Counting metrics of exclusive classes: from true, predicted and right counts per class."""

    names = (
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "f1_micro",
        "mcc",
        "precision",
        "recall",
        "f1",
    )

    def __init__(self, truth: Ints, predicted: Ints, owners: Ints, proteins: int, classes: int) -> None:
        right = truth == predicted
        columns = np.concatenate([truth[right], classes + predicted, 2 * classes + truth])
        rows = np.concatenate([owners[right], owners, owners])
        self.classes = classes
        self.table = count_table(rows, columns, (proteins, 3 * classes)).T.tocsr()  # (3 classes, proteins)
        self.cost = float(self.table.nnz)
        self.width = 3 * classes

    def __call__(self, weights: Floats) -> Metrics:
        right, predicted, true = (self.table @ weights).reshape(3, self.classes, -1)  # (classes, samples)
        rates = class_rates(right, predicted, true)
        of_last = {name: values[-1] for name, values in rates.items()}
        return class_averages(right, predicted, true, rates) | of_last


class SetCounts:
    """F1, precision and recall of sets of classes: from counts per class."""

    names = ("f1_micro", "f1_macro", "precision_macro", "recall_macro")

    def __init__(self, truth: Array, predicted: Array, owners: Ints, proteins: int) -> None:
        parts = [truth & predicted, predicted, truth]
        counts = sparse.csr_array(np.concatenate(parts, axis=1).astype(np.float64))  # (rows, 3 classes)
        of_protein = count_table(owners, np.arange(len(owners)), (proteins, len(owners)))
        self.table = (of_protein @ counts).T.tocsr()  # (3 classes, proteins)
        self.classes = truth.shape[1]
        self.cost = float(self.table.nnz)
        self.width = 3 * self.classes

    def __call__(self, weights: Floats) -> Metrics:
        right, predicted, true = (self.table @ weights).reshape(3, self.classes, -1)
        return {
            "f1_micro": divide_or_zero(2 * right.sum(axis=0), (predicted + true).sum(axis=0)),
            "f1_macro": divide_or_zero(2 * right, predicted + true).mean(axis=0),
            "precision_macro": divide_or_zero(right, predicted).mean(axis=0),
            "recall_macro": divide_or_zero(right, true).mean(axis=0),
        }
