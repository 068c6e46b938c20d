"""Kernels of metrics of ranked classes: areas under curves and F1-max."""

from __future__ import annotations

import numpy as np

from profactory.evaluation.kernels.base import Metrics, divide, divide_or_zero, equal_bins, mean_defined
from profactory.evaluation.ranking import harmonic, protein_centric_curve, tie_ends
from profactory.evaluation.rows import Array, Floats, Ints

BINS = 256
F1_MAX_THRESHOLDS = 200


def areas_from_counts(positives: Array, negatives: Array) -> tuple[Floats, Floats]:
    """Return AUROC and average precision from running counts down a ranking.

    Parameters
    ----------
    positives, negatives
        How many of each lie at or above each distinct score, descending, ``(scores, samples)``.
    """
    nothing = np.zeros((1, positives.shape[1]), positives.dtype)
    p_step, n_step = np.diff(positives, axis=0, prepend=nothing), np.diff(negatives, axis=0, prepend=nothing)
    area = (n_step * (positives - p_step / 2)).sum(axis=0, dtype=np.float64)
    precision = positives / np.maximum(positives + negatives, 1)
    p, n = positives[-1].astype(np.float64), negatives[-1].astype(np.float64)
    average = divide((p_step * precision).sum(axis=0, dtype=np.float64), p)
    return divide(area, p * n), np.where((p > 0) & (n > 0), average, np.nan)


class ExactAreas:
    """AUROC and AUPRC, the mean over columns, from running sums along each column's ranking."""

    names = ("auroc", "auprc")

    def __init__(self, truth: Array, scores: Floats) -> None:
        self.columns = []
        for i in range(truth.shape[1]):
            order = np.argsort(-scores[:, i], kind="stable")
            self.columns.append((order, truth[order, i][:, None], tie_ends(scores[order, i])))
        self.cost = 3.0 * truth.size
        self.width = 6 * len(truth)

    def __call__(self, weights: Floats) -> Metrics:
        both = []
        weights = weights.astype(np.float32)  # counts below 2**24 are exact
        for order, truth, ends in self.columns:
            ranked = weights[order]  # (rows, samples)
            total = ranked.cumsum(axis=0)[ends]
            positives = (ranked * truth).cumsum(axis=0)[ends]
            both.append(areas_from_counts(positives, total - positives))
        return {name: mean_defined([pair[i] for pair in both]) for i, name in enumerate(self.names)}


class BinnedAreas:
    """AUROC and AUPRC where a protein owns many rows: from each protein's histogram of scores.

    Scores fall into 256 bins of equal counts per column; the difference that binning makes to the
    data's own value is taken off every sample.
    """

    def __init__(
        self,
        truth: Array,
        scores: Floats,
        owners: Ints,
        proteins: int,
        *,
        exact: tuple[float, float],
        names: tuple[str, str] = ("auroc", "auprc"),
    ) -> None:
        self.names = names
        self.tables = [
            _histograms(truth[:, i], scores[:, i], owners, proteins) for i in range(truth.shape[1])
        ]
        self.cost = (
            float(sum(np.prod(table.shape) for table in self.tables)) / 16
        )  # a matrix product is cheap
        self.width = 6 * BINS
        binned = self._areas(np.ones((proteins, 1)))
        self.shifts = [value - area[0] for value, area in zip(exact, binned, strict=True)]

    def _areas(self, weights: Floats) -> list[Floats]:
        both = []
        for table in self.tables:
            negatives, positives = (table @ weights.astype(np.float32)).reshape(2, BINS, -1)[:, ::-1]
            both.append(
                areas_from_counts(
                    positives.astype(np.float64).cumsum(axis=0), negatives.astype(np.float64).cumsum(axis=0)
                )
            )
        return [mean_defined([pair[i] for pair in both]) for i in range(2)]

    def __call__(self, weights: Floats) -> Metrics:
        areas = self._areas(weights)
        return {
            name: np.clip(area + shift, 0.0, 1.0)
            for name, area, shift in zip(self.names, areas, self.shifts, strict=True)
        }


def _histograms(truth: Array, scores: Floats, owners: Ints, proteins: int) -> Array:
    """Return ``(2 * BINS, proteins)``: counts of negatives, then of positives, per ascending bin."""
    cells = equal_bins(scores, BINS) + BINS * truth.astype(np.int64)
    flat = np.bincount(cells * proteins + owners, minlength=2 * BINS * proteins)
    return flat.reshape(2 * BINS, proteins).astype(np.float32)


class F1Max:
    """Protein-centric F1-max over 200 thresholds: quantiles of the scores, and the best of all."""

    names = ("f1_max",)

    def __init__(self, truth: Array, scores: Floats) -> None:
        annotated = truth.any(axis=1)
        self.annotated = annotated.astype(np.float32)
        hits, counts = _at_thresholds(truth, scores, _thresholds(truth[annotated], scores[annotated]))
        some = counts > 0
        precision = divide_or_zero(hits, counts)
        recall = hits / np.maximum(truth.sum(axis=1), 1)
        tables = (precision, some, recall)  # (thresholds, proteins) each
        self.table = np.concatenate([part * self.annotated for part in tables]).astype(np.float32)
        self.cost = self.table.size / 8
        self.width = len(self.table)

    def __call__(self, weights: Floats) -> Metrics:
        precision, some, recall = (self.table @ weights.astype(np.float32)).reshape(3, -1, weights.shape[1])
        annotated = self.annotated @ weights
        f1 = harmonic(
            divide_or_zero(precision, some), divide_or_zero(recall, np.broadcast_to(annotated, recall.shape))
        )
        return {"f1_max": np.where(annotated > 0, f1.max(axis=0), np.nan)}


def _thresholds(truth: Array, scores: Floats) -> Floats:
    thresholds, precision, recall = protein_centric_curve(truth, scores)
    chosen = np.linspace(0, len(thresholds) - 1, F1_MAX_THRESHOLDS).astype(np.int64)
    best = int(harmonic(precision, recall).argmax())
    return np.asarray(thresholds[np.union1d(chosen, [best])], np.float64)


def _at_thresholds(truth: Array, scores: Floats, thresholds: Floats) -> tuple[Floats, Floats]:
    """Return how many right and how many predicted classes each protein has, ``(thresholds, n)``."""
    predicted = [scores >= threshold for threshold in thresholds]
    hits = np.stack([(chosen & truth).sum(axis=1) for chosen in predicted])
    return hits.astype(np.float64), np.stack([chosen.sum(axis=1) for chosen in predicted]).astype(np.float64)
