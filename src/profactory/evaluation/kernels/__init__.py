"""Metrics of many bootstrap samples at once.

A bootstrap sample is a weight per protein: how often it was drawn. Every kernel is built once from
the rows and then maps weights ``(proteins, samples)`` to metrics ``(samples,)`` without repeating a
row: counting metrics from each protein's counts, errors and Pearson from each protein's moments,
rankings from running sums along one sorted order. With all weights 1 a kernel gives the metric of
the data themselves; the tests hold it against scikit-learn and SciPy on repeated rows.
"""

from __future__ import annotations

from profactory.evaluation.kernels.base import Kernel, Metrics, ProteinMeans, TargetMean
from profactory.evaluation.kernels.classes import ClassCounts, SetCounts
from profactory.evaluation.kernels.rankings import BinnedAreas, ExactAreas, F1Max
from profactory.evaluation.kernels.values import BinnedSpearman, Moments, Spearman

__all__ = [
    "BinnedAreas",
    "BinnedSpearman",
    "ClassCounts",
    "ExactAreas",
    "F1Max",
    "Kernel",
    "Metrics",
    "Moments",
    "ProteinMeans",
    "SetCounts",
    "Spearman",
    "TargetMean",
]
