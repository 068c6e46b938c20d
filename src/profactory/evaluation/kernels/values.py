"""Kernels of metrics of numbers: errors and correlations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from profactory.evaluation.kernels.base import Metrics, count_table, divide, equal_bins
from profactory.evaluation.ranking import tie_ends
from profactory.evaluation.rows import Floats, Ints

RANK_BINS = 128


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
        x, y = equal_bins(truth, RANK_BINS), equal_bins(values, RANK_BINS)
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


def _bin_ranks(joint: Floats, bins: Ints) -> Floats:
    """Return the centred mean rank of each cell's bin, ``(cells, samples)``."""
    into = count_table(bins, np.arange(len(bins)), (RANK_BINS, len(bins)))
    counts = np.asarray(into @ joint, np.float64)  # (bins, samples)
    upper = counts.cumsum(axis=0)
    return np.asarray((upper - (counts + upper[-1]) / 2)[bins], np.float64)
