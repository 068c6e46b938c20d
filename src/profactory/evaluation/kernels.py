"""Metrics of many bootstrap samples at once.

A bootstrap sample is a weight per protein: how often it was drawn. Every kernel is built once from
the rows and then maps weights ``(proteins, samples)`` to metrics ``(samples,)`` without repeating a
row: counting metrics from each protein's counts, errors and Pearson from each protein's moments,
rankings from running sums along one sorted order. With all weights 1 a kernel gives the metric of
the data themselves; the tests hold it against scikit-learn and SciPy on repeated rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from profactory.evaluation.ranking import harmonic, protein_centric_curve, tie_ends
from profactory.evaluation.rows import Array, Floats, Ints

Metrics = dict[str, Floats]
BINS = 256
RANK_BINS = 128
F1_MAX_THRESHOLDS = 200


class Kernel(Protocol):
    """Metrics of a block of bootstrap samples."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it gives."""

    @property
    def cost(self) -> float:
        """Numbers touched per bootstrap sample."""

    @property
    def width(self) -> int:
        """Numbers held per bootstrap sample."""

    def __call__(self, weights: Floats) -> Metrics:
        """Map weights ``(proteins, samples)`` to metrics ``(samples,)`` each."""


def divide(numerator: Array, denominator: Array) -> Floats:
    """Divide, giving NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def divide_or_zero(numerator: Array, denominator: Array) -> Floats:
    """Divide, giving 0 where the denominator is 0."""
    out = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def count_table(
    owners: Ints, columns: Ints, shape: tuple[int, int], values: Array | None = None
) -> sparse.csr_array:
    """Sum values (ones) into cells ``(owner, column)`` of a sparse table."""
    data = np.ones(len(owners)) if values is None else values
    return sparse.coo_array((data, (owners, columns)), shape=shape).tocsr()


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
        total = true.sum(axis=0)
        used = (predicted + true) > 0
        precision, recall = divide_or_zero(right, predicted), divide_or_zero(right, true)
        f1 = divide_or_zero(2 * right, predicted + true)
        accuracy = divide(right.sum(axis=0), total)
        covariance = right.sum(axis=0) * total - (predicted * true).sum(axis=0)
        spread_true = total**2 - (true**2).sum(axis=0)
        spread_predicted = total**2 - (predicted**2).sum(axis=0)
        mcc = divide_or_zero(covariance, np.sqrt(spread_true * spread_predicted))
        return {
            "accuracy": accuracy,
            "balanced_accuracy": divide(recall.sum(axis=0), (true > 0).sum(axis=0)),
            "precision_macro": divide(precision.sum(axis=0), used.sum(axis=0)),
            "recall_macro": divide(recall.sum(axis=0), used.sum(axis=0)),
            "f1_macro": divide(f1.sum(axis=0), used.sum(axis=0)),
            "f1_micro": accuracy,
            "mcc": np.where(spread_true > 0, mcc, np.nan),
            "precision": precision[-1],
            "recall": recall[-1],
            "f1": f1[-1],
        }


class SetCounts:
    """F1, precision and recall of sets of classes: from counts per class."""

    names = ("f1_micro", "f1_macro", "precision_macro", "recall_macro")

    def __init__(self, truth: Array, predicted: Array) -> None:
        parts = [truth & predicted, predicted, truth]
        self.table = sparse.csr_array(np.concatenate(parts, axis=1).T.astype(np.float64))
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
        return {name: _mean_defined([pair[i] for pair in both]) for i, name in enumerate(self.names)}


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
        return [_mean_defined([pair[i] for pair in both]) for i in range(2)]

    def __call__(self, weights: Floats) -> Metrics:
        areas = self._areas(weights)
        return {
            name: np.clip(area + shift, 0.0, 1.0)
            for name, area, shift in zip(self.names, areas, self.shifts, strict=True)
        }


def _histograms(truth: Array, scores: Floats, owners: Ints, proteins: int) -> Array:
    """Return ``(2 * BINS, proteins)``: counts of negatives, then of positives, per ascending bin."""
    cells = _bins(scores, BINS) + BINS * truth.astype(np.int64)
    flat = np.bincount(cells * proteins + owners, minlength=2 * BINS * proteins)
    return flat.reshape(2 * BINS, proteins).astype(np.float32)


def _mean_defined(columns: list[Floats]) -> Floats:
    """Return the mean over columns without NaN, ``(samples,)``; NaN where none is defined."""
    stacked = np.stack(columns)
    defined = ~np.isnan(stacked)
    return divide(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))


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


class Moments:
    """Errors, R² and Pearson of one target from each protein's moments."""

    names = ("mse", "rmse", "mae", "r2", "pearson")

    def __init__(self, truth: Floats, values: Floats, owners: Ints, proteins: int) -> None:
        centre = truth.mean()
        t, v, error = truth - centre, values - centre, values - truth
        parts = (np.ones_like(t), t, v, t * t, v * v, t * v, error * error, np.abs(error))
        self.table = np.stack([np.bincount(owners, weights=part, minlength=proteins) for part in parts])
        self.cost = float(self.table.size)
        self.width = len(parts)

    def __call__(self, weights: Floats) -> Metrics:
        n, t, v, tt, vv, tv, squares, absolute = self.table @ weights
        spread_t, spread_v = tt - divide(t * t, n), vv - divide(v * v, n)
        spread_t = np.where(spread_t > 1e-12 * np.maximum(tt, 1e-300), spread_t, 0.0)
        spread_v = np.where(spread_v > 1e-12 * np.maximum(vv, 1e-300), spread_v, 0.0)
        mse = divide(squares, n)
        return {
            "mse": mse,
            "rmse": np.sqrt(mse),
            "mae": divide(absolute, n),
            "r2": 1.0 - divide(squares, spread_t),
            "pearson": divide(tv - divide(t * v, n), np.sqrt(spread_t * spread_v)),
        }


class Spearman:
    """Spearman's correlation of one target: ranks within every bootstrap sample, ties averaged."""

    names = ("spearman",)

    def __init__(self, truth: Floats, values: Floats, owners: Ints) -> None:
        self.owners = owners
        self.orders = [_ranking(array) for array in (truth, values)]
        self.cost = 30.0 * len(truth)
        self.width = 8 * len(truth)

    def __call__(self, weights: Floats) -> Metrics:
        rows = weights[self.owners]  # (rows, samples)
        total = rows.sum(axis=0)
        x, y = (_weighted_ranks(rows, ranking) - (total + 1) / 2 for ranking in self.orders)
        wx = rows * x
        xy, xx = (wx * y).sum(axis=0), (wx * x).sum(axis=0)
        yy = (rows * y * y).sum(axis=0)
        return {"spearman": divide(xy, np.sqrt(xx * yy))}


@dataclass(frozen=True)
class _Ranking:
    order: Ints  # rows in ascending order
    ends: Ints  # last position of each run of ties
    group: Ints  # run of ties that each row belongs to


def _ranking(values: Floats) -> _Ranking:
    order = np.argsort(values, kind="stable")
    ends = tie_ends(values[order])
    group = np.empty(len(values), np.int64)
    group[order] = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    return _Ranking(order, ends, group)


def _weighted_ranks(rows: Floats, ranking: _Ranking) -> Floats:
    """Return the mean rank of each row in the sample in which it occurs `rows` times."""
    upper = rows[ranking.order].cumsum(axis=0)[ranking.ends]
    lower = np.concatenate([np.zeros((1, rows.shape[1])), upper[:-1]])
    return np.asarray(((lower + upper + 1) / 2)[ranking.group], np.float64)


class BinnedSpearman:
    """Spearman's correlation where a protein owns many rows: from each protein's joint histogram.

    Labels and predictions fall into 128 bins of equal counts each, whose rows share a rank; the
    difference that binning makes to the data's own value is taken off every sample.
    """

    names = ("spearman",)

    def __init__(self, truth: Floats, values: Floats, owners: Ints, proteins: int) -> None:
        x, y = _bins(truth, RANK_BINS), _bins(values, RANK_BINS)
        cells, places = np.unique(x * RANK_BINS + y, return_inverse=True)
        self.x, self.y = cells // RANK_BINS, cells % RANK_BINS
        self.joint = count_table(places, owners, (len(cells), proteins))
        self.cost = 2.0 * self.joint.nnz
        self.width = 4 * len(cells)
        self.shift = 0.0
        exact = Spearman(truth, values, np.arange(len(truth)))(np.ones((len(truth), 1)))
        self.shift = float(exact["spearman"][0] - self(np.ones((proteins, 1)))["spearman"][0])

    def __call__(self, weights: Floats) -> Metrics:
        joint = self.joint @ weights  # (cells, samples)
        x, y = _bin_ranks(joint, self.x), _bin_ranks(joint, self.y)
        weighted = joint * x
        xy, xx = (weighted * y).sum(axis=0), (weighted * x).sum(axis=0)
        yy = (joint * y * y).sum(axis=0)
        return {"spearman": np.clip(divide(xy, np.sqrt(xx * yy)) + self.shift, -1.0, 1.0)}


def _bins(values: Floats, count: int) -> Ints:
    """Return the bin of each value, `count` bins of equal counts, ascending."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _bin_ranks(joint: Floats, bins: Ints) -> Floats:
    """Return the centred mean rank of each cell's bin, ``(cells, samples)``."""
    into = count_table(bins, np.arange(len(bins)), (RANK_BINS, len(bins)))
    counts = np.asarray(into @ joint, np.float64)  # (bins, samples)
    upper = counts.cumsum(axis=0)
    return np.asarray((upper - (counts + upper[-1]) / 2)[bins], np.float64)


class ProteinMeans:
    """The mean over proteins of a number per protein; proteins where it is NaN do not count."""

    def __init__(self, name: str, values: Floats) -> None:
        self.names = (name,)
        defined = ~np.isnan(values)
        self.table = np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)])
        self.cost = float(self.table.size)
        self.width = 2

    def __call__(self, weights: Floats) -> Metrics:
        total, count = self.table @ weights
        return {self.names[0]: divide(total, count)}


class TargetMean:
    """The mean over several regression targets of one kernel each, as `score` takes it."""

    def __init__(self, kernels: list[Kernel]) -> None:
        self.kernels = kernels
        self.names = kernels[0].names
        self.cost = sum(kernel.cost for kernel in kernels)
        self.width = max(kernel.width for kernel in kernels)

    def __call__(self, weights: Floats) -> Metrics:
        parts = [kernel(weights) for kernel in self.kernels]
        return {name: _mean_defined([part[name] for part in parts]) for name in self.names}
