"""How far a model's certainty can be believed: fitted on validation rows, measured on others.

Probabilities are made to mean what they say by one number, the temperature (Guo et al. 2017). Sets of
classes and intervals come from split conformal prediction: whatever the model, the truth of a new row from
the same source lies inside with at least the stated probability (Vovk et al. 2005; the smallest sets, Sadinle
et al. 2019, https://arxiv.org/abs/1609.00451). Sets of a multi-label task hold, on average, at least that
share of a protein's true classes (conformal risk control, Angelopoulos et al. 2022,
https://arxiv.org/abs/2208.02814). The guarantee is for rows drawn like the validation rows; the best epoch
was chosen by the same rows, so what is measured on the test set is what counts.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar

from profactory.evaluation.rows import Array, Floats, Rows, make_rows
from profactory.tasks import Calibration, Task, Values

#: Too few rows to learn even one number from.
FEWEST_ROWS = 10
MOST_NUMBERS = 5_000_000  # probabilities that the temperature is fitted on
TEMPERATURES = (0.05, 20.0)


def fit_calibration(
    task: Task, targets: Values, outputs: Values, *, coverage: float, temperature: float | None = None
) -> Calibration:
    """Fit temperature, sets and intervals.

    Parameters
    ----------
    task
        The task.
    targets, outputs
        Labels and outputs of rows that were not trained on.
    coverage
        Share of new rows whose truth shall lie in the set or interval.
    temperature
        Fitted too if not given.

    Returns
    -------
    Calibration
        Without a set or interval if there are too few rows for the coverage: 9 are needed for 0.9.
    """
    rows = make_rows(task, task.transformed(targets), task.transformed(outputs))
    if rows.problem or len(rows) < FEWEST_ROWS:
        return Calibration()
    if not task.is_classification:
        radius = [_radius(rows.truth[:, i] - rows.scores[:, i], coverage) for i in range(task.n_outputs)]
        known = all(map(math.isfinite, radius))
        return Calibration(coverage=coverage, radius=tuple(radius)) if known else Calibration()
    calibration = Calibration(temperature=_temperature(task, rows) if temperature is None else temperature)
    scores = calibration.apply(task, Values(rows.scores.astype(np.float32))).values
    find = _risk_threshold if task.is_multi_label else _set_threshold
    threshold = find(rows.truth, scores, coverage)
    return calibration if threshold is None else replace(calibration, coverage=coverage, threshold=threshold)


def _rank(count: int, coverage: float) -> int:
    """Return which of `count` sorted scores is the conformal quantile, from 1; beyond `count` if none is."""
    return math.ceil(round((count + 1) * coverage, 9))


def _radius(errors: Floats, coverage: float) -> float:
    sizes = np.sort(np.abs(errors[np.isfinite(errors)]))
    rank = _rank(len(sizes), coverage)
    return float(sizes[rank - 1]) if rank <= len(sizes) else math.inf


def _set_threshold(truth: Array, scores: Array, coverage: float) -> float | None:
    """Return the probability from which classes belong to a set that holds the true class."""
    own = np.sort(scores[np.arange(len(truth)), truth])
    rank = _rank(len(own), coverage)
    return float(own[len(own) - rank]) if rank <= len(own) else None


def _risk_threshold(truth: Array, scores: Array, coverage: float) -> float | None:
    """Return the probability from which classes belong to a set that holds enough of the true ones."""
    sizes = truth.sum(axis=1)
    count = int((sizes > 0).sum())
    allowed = (1 - coverage) * (count + 1) - 1  # of the summed shares of true classes that are left out
    if allowed < -1e-9:
        return None
    own, shares = scores[truth], np.repeat(1 / sizes[sizes > 0], sizes[sizes > 0])
    order = np.argsort(own, kind="stable")
    left_out = np.cumsum(shares[order])
    return float(own[order][np.searchsorted(left_out, allowed + 1e-9, side="right")])


def _temperature(task: Task, rows: Rows) -> float:
    """Return the temperature with the lowest log loss against labels that are not quite certain.

    Labels count as Platt (1999) has them, (n + 1) / (n + 2) instead of 1, so that a handful of rows that are
    all right does not make the model certain of everything.
    """
    kept = max(1, MOST_NUMBERS // rows.scores.shape[1])
    chosen = np.random.default_rng(0).permutation(len(rows))[:kept]
    soft, values = _soft_labels(task, rows.truth[chosen]), Values(rows.scores[chosen].astype(np.float32))

    def loss(logarithm: float) -> float:
        return log_loss(task, Calibration(temperature=math.exp(logarithm)).apply(task, values).values, soft)

    low, high = map(math.log, TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-3})
    return float(math.exp(found.x))


def _soft_labels(task: Task, truth: Array) -> Floats:
    if task.is_multi_label:
        positive, negative = int(truth.sum()), int((~truth).sum())
        return np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))
    soft = np.full((len(truth), task.n_outputs), 1.0)
    soft[np.arange(len(truth)), truth] += len(truth)
    return np.asarray(soft / (len(truth) + task.n_outputs), np.float64)


def log_loss(task: Task, scores: Array, labels: Array) -> float:
    """Return the mean log loss per row (per label, in multi-label tasks)."""
    p = np.clip(scores.astype(np.float64), 1e-12, 1.0)
    if not task.is_multi_label:
        return float(-(labels * np.log(p)).sum(axis=1).mean())
    rest = np.clip(1 - scores.astype(np.float64), 1e-12, 1.0)
    return float(-(labels * np.log(p) + (1 - labels) * np.log(rest)).mean())
