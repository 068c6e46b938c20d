"""Metrics of rankings: areas under curves per class, and the protein-centric F1-max."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

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
    return float(roc_auc_score(truth, scores)) if 0 < truth.sum() < len(truth) else float("nan")


def area_precision_recall(truth: Array, scores: Array) -> float:
    """Return the average precision, or NaN unless both classes occur."""
    return float(average_precision_score(truth, scores)) if 0 < truth.sum() < len(truth) else float("nan")


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
