"""Metrics of rankings: areas under curves per class, and the protein-centric F1-max."""

from __future__ import annotations

import numpy as np

from profactory.evaluation.rows import Array, Floats


def area_roc(truth: Array, scores: Array) -> float:
    """Return the area under the ROC curve, or NaN unless both classes occur.

    Parameters
    ----------
    truth
        Bool, shape ``(n,)``.
    scores
        Shape ``(n,)``: a score that rises with the probability of True.
    """
    found = _down_the_ranking(truth, scores)
    if found is None:
        return float("nan")
    hits, misses = found
    rates = (np.concatenate(([0.0], counts / counts[-1])) for counts in (misses, hits))
    return float(_trapezoid(*rates))


def area_precision_recall(truth: Array, scores: Array) -> float:
    """Return the average precision, or NaN unless both classes occur."""
    found = _down_the_ranking(truth, scores)
    if found is None:
        return float("nan")
    hits, misses = found
    return float((np.diff(hits, prepend=0.0) * hits / (hits + misses)).sum() / hits[-1])


def _down_the_ranking(truth: Array, scores: Array) -> tuple[Floats, Floats] | None:
    """Return how many True and False have at least each distinct score, descending; None with one class.

    scikit-learn's functions give the same areas and spend seventy times longer, on checking arguments: with
    an evaluation after every epoch of a small head that was most of the training.
    """
    truth = np.asarray(truth, bool)
    if not 0 < truth.sum() < len(truth):
        return None
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ends = tie_ends(np.asarray(scores)[order])
    hits = truth[order].cumsum()[ends].astype(np.float64)
    return hits, ends + 1.0 - hits


def _trapezoid(x: Floats, y: Floats) -> float:
    """Return the area under straight lines between points."""
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2.0)


def tie_ends(ranked: Array) -> Array:
    """Return the last index of each run of equal values in a sorted array ``(n,)``."""
    return np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))


def f1_max(truth: Array, scores: Array) -> tuple[float, float]:
    """Return the protein-centric maximum F1 and the threshold that reaches it.

    For a threshold t, precision is averaged over the proteins with at least one score >= t and
    recall over all proteins; F1-max is the largest harmonic mean of the two over all t.
    Proteins without any true class do not take part, as in CAFA, whose benchmark holds annotated
    proteins only. Every distinct score is tried as threshold, not only multiples of 0.01.

    Parameters
    ----------
    truth
        Bool, shape ``(n, classes)``.
    scores
        Shape ``(n, classes)``.

    Returns
    -------
    value, threshold
        NaN and NaN if no protein has a true class.

    References
    ----------
    Radivojac et al., "A large-scale evaluation of computational protein function prediction",
    Nature Methods 10:221 (2013), https://doi.org/10.1038/nmeth.2340
    """
    annotated = truth.any(axis=1)
    if not annotated.any():
        return float("nan"), float("nan")
    truth, scores = truth[annotated], np.asarray(scores, np.float64)[annotated]
    thresholds, precision, recall = protein_centric_curve(truth, scores)
    f1 = harmonic(precision, recall)
    best = int(f1.argmax())
    return float(f1[best]), float(thresholds[best])


def protein_centric_curve(truth: Array, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return every distinct score, descending, with mean precision and mean recall at it.

    One pass: going down the ranking of all (protein, class) pairs, each pair changes the
    precision and the recall of one protein only, so the sums over proteins are running sums.
    """
    n, classes = truth.shape
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)  # (n, classes) in each protein's own ranking
    precision = hits.cumsum(axis=1) / np.arange(1, classes + 1)
    precision_step = np.diff(precision, axis=1, prepend=0.0)
    recall_step = hits / truth.sum(axis=1, keepdims=True)
    first = np.zeros((n, classes))
    first[:, 0] = 1.0  # the pair by which a protein gets its first prediction
    ranked = np.take_along_axis(scores, order, axis=1).ravel()
    globally = np.argsort(-ranked, kind="stable")
    ends = tie_ends(ranked[globally])
    sums = [step.ravel()[globally].cumsum()[ends] for step in (precision_step, recall_step, first)]
    return ranked[globally][ends], sums[0] / sums[2], sums[1] / n


def harmonic(precision: Array, recall: Array) -> Floats:
    """Return F1 of arrays of precision and recall; 0 where both are 0."""
    total = np.asarray(precision + recall, np.float64)
    return np.divide(2.0 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
