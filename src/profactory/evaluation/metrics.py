"""Metrics of all tasks, from scikit-learn and SciPy.

Conventions, all as scikit-learn's defaults: macro averages of exclusive classes run over the
classes that occur among labels or predictions; precision of a class never predicted counts as 0;
MCC of a constant prediction is 0. With two classes `precision`, `recall`, `f1`, `auroc` and
`auprc` are those of the second class; with more, `auroc` and `auprc` are means over classes, each
against the rest. `auroc` always ranks by the probability, never by the predicted class.
What has no meaning (one class only, constant numbers) is NaN with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
)

from profactory.evaluation.kernels.classes import class_averages, class_rates
from profactory.evaluation.names import check_monitor, known_metrics, main_metric, positive_class
from profactory.evaluation.ranking import area_precision_recall, area_roc, f1_max
from profactory.evaluation.rows import Array, Floats, Rows, make_rows
from profactory.tasks import Task, TaskKind, Values

__all__ = ["Scores", "check_monitor", "compute_metrics", "known_metrics", "main_metric", "score"]

NAN = float("nan")
#: Metrics of numbers that compare with the spread of the labels.
_NEED_VARIETY = ("r2", "pearson", "spearman")
ONE_CLASS = "only one class occurs among the labels"


@dataclass
class Scores:
    """Metrics of one set of predictions.

    Parameters
    ----------
    values
        Metric name to value, in the order of :func:`known_metrics`; NaN where undefined.
    reasons
        Why a metric is undefined, by metric name.
    table
        One dictionary per class (``class``, ``support``, ``predicted``, ``precision``, ``recall``,
        ``f1``, ``auroc``, ``auprc``) or, for several regression targets, per target (``target``,
        ``support`` and the metrics). NaN where undefined.
    notes
        Sentences about what does not count.
    thresholds
        Threshold that belongs to a metric (`f1_max`).
    """

    values: dict[str, float]
    reasons: dict[str, str] = field(default_factory=dict)
    table: list[dict[str, str | int | float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    thresholds: dict[str, float] = field(default_factory=dict)


def compute_metrics(task: Task, targets: Values, outputs: Values) -> dict[str, float]:
    """Compute every metric of a task.

    Parameters
    ----------
    task
        The task that encoded `targets`.
    targets
        As :meth:`Task.encode` returns them.
    outputs
        Probabilities ``(n, classes)`` or values ``(n, targets)`` in the units of the labels;
        residue tasks ``(residues, n_outputs)`` with the offsets of the targets.

    Returns
    -------
    dict
        Metric name to value; NaN where undefined.
    """
    return score(task, targets, outputs).values


def score(task: Task, targets: Values, outputs: Values) -> Scores:
    """Compute every metric of a task, with reasons for undefined ones and the table per class."""
    rows = make_rows(task, targets, outputs)
    if rows.problem:
        names = known_metrics(task)
        return Scores(dict.fromkeys(names, NAN), dict.fromkeys(names, rows.problem), notes=list(rows.notes))
    if task.is_multi_label:
        scores = _score_sets(task, rows)
    elif task.is_classification:
        scores = _score_classes(task, rows)
    else:
        scores = _score_numbers(task, rows)
    scores.notes[:0] = rows.notes
    scores.values = {name: float(scores.values[name]) for name in known_metrics(task)}
    return scores


def mean_defined(values: Sequence[float] | Array) -> float:
    """Return the mean of what is not NaN, or NaN if nothing is."""
    array = np.asarray(values, np.float64)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else NAN


def _score_classes(task: Task, rows: Rows) -> Scores:
    truth, predicted, n = rows.truth, rows.scores.argmax(axis=1), task.n_outputs
    # After every epoch: from one table of counts, which is many times faster than a call for each metric.
    counts = np.bincount(truth * n + predicted, minlength=n * n).reshape(n, n)
    hits, support, chosen = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    right, said, true = (part[:, None].astype(np.float64) for part in (hits, chosen, support))  # one sample
    rates = class_rates(right, said, true)
    averages = class_averages(right, said, true, rates)
    precision, recall, f1 = (rates[name][:, 0] for name in ("precision", "recall", "f1"))
    areas = _areas(truth[:, None] == np.arange(task.n_outputs), rows.scores)
    scores = Scores(
        {
            **{name: float(values[0]) for name, values in averages.items()},
            "auroc": mean_defined(areas[0]),
            "auprc": mean_defined(areas[1]),
        },
        table=_class_table(task, support, chosen, precision, recall, f1, areas),
    )
    if positive_class(task) is not None:
        scores.values |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
        scores.values |= {"auroc": areas[0][1], "auprc": areas[1][1]}
        scores.notes.append(f"Precision, recall, F1, AUROC and AUPRC are those of class {task.classes[1]!r}.")
    if task.per_residue:
        scores.values["accuracy_per_protein"] = _per_protein_mean(rows, truth == predicted)
    if (support > 0).sum() < 2:
        scores.reasons |= dict.fromkeys(("mcc", "auroc", "auprc"), ONE_CLASS)
    scores.notes += _absent_note(task, support)
    return scores


def _score_sets(task: Task, rows: Rows) -> Scores:
    truth, predicted = rows.truth, rows.scores >= task.threshold
    per_class = precision_recall_fscore_support(truth, predicted, zero_division=0)
    precision, recall, f1, support = (np.atleast_1d(column) for column in per_class)
    micro = precision_recall_fscore_support(
        truth.ravel(), predicted.ravel(), pos_label=True, zero_division=0, average="binary"
    )
    areas = _areas(truth, rows.scores)
    scores = Scores(
        {
            "f1_micro": micro[2],
            "f1_macro": f1.mean(),
            "precision_macro": precision.mean(),
            "recall_macro": recall.mean(),
            "auroc": mean_defined(areas[0]),
            "auroc_micro": area_roc(truth.ravel(), rows.scores.ravel()),
            "auprc": mean_defined(areas[1]),
            "auprc_micro": area_precision_recall(truth.ravel(), rows.scores.ravel()),
        },
        table=_class_table(task, support, predicted.sum(axis=0), precision, recall, f1, areas),
    )
    if not task.per_residue:
        scores.values["f1_max"], scores.thresholds["f1_max"] = f1_max(truth, rows.scores)
    constant = "every class is either never or always among the labels"
    scores.reasons = {name: constant for name in scores.values if np.isnan(scores.values[name])}
    empty = int((~truth.any(axis=1)).sum())
    if empty and not task.per_residue:
        scores.notes.append(f"{empty:,} proteins have no class and do not count in F1-max.")
    scores.notes += _absent_note(task, support)
    return scores


def _areas(truth: Array, scores: Floats) -> tuple[list[float], list[float]]:
    """Return AUROC and AUPRC of each class against the rest; truth and scores ``(n, classes)``."""
    columns = range(truth.shape[1])
    return (
        [area_roc(truth[:, i], scores[:, i]) for i in columns],
        [area_precision_recall(truth[:, i], scores[:, i]) for i in columns],
    )


def _class_table(
    task: Task,
    support: Array,
    chosen: Array,
    precision: Array,
    recall: Array,
    f1: Array,
    areas: tuple[list[float], list[float]],
) -> list[dict[str, str | int | float]]:
    return [
        {
            "class": name,
            "support": int(support[i]),
            "predicted": int(chosen[i]),
            "precision": float(precision[i]) if chosen[i] else NAN,
            "recall": float(recall[i]) if support[i] else NAN,
            "f1": float(f1[i]) if support[i] or chosen[i] else NAN,
            "auroc": areas[0][i],
            "auprc": areas[1][i],
        }
        for i, name in enumerate(task.classes)
    ]


def _absent_note(task: Task, support: Array) -> list[str]:
    absent = [task.classes[i] for i in np.flatnonzero(support == 0)]
    if not absent:
        return []
    shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
    return [
        f"{len(absent)} of {len(task.classes)} classes do not occur among the labels ({shown});"
        " AUROC and AUPRC leave them out."
    ]


def _score_numbers(task: Task, rows: Rows) -> Scores:
    columns: list[dict[str, str | int | float]] = []
    reasons: list[dict[str, str]] = []
    for i in range(task.n_outputs):
        known = np.isfinite(rows.truth[:, i])
        values, reason = _number_metrics(rows.truth[known, i], rows.scores[known, i])
        columns.append({"target": task.targets[i], "support": int(known.sum()), **values})
        reasons.append(reason)
    names = [name for name in columns[0] if name not in ("target", "support")]
    scores = Scores({name: mean_defined([float(column[name]) for column in columns]) for name in names})
    for name in names:
        found = [reason[name] for reason in reasons if name in reason]
        if np.isnan(scores.values[name]):
            scores.reasons[name] = found[0]
        elif found:
            scores.notes.append(f"{name}: mean without {len(found)} of {len(columns)} targets ({found[0]}).")
    if task.n_outputs > 1:
        scores.table = columns
    if task.per_residue:
        value = _pearson_per_protein(rows)
        scores.values["pearson_per_protein"] = value
        if np.isnan(value):
            scores.reasons["pearson_per_protein"] = "no protein has varying labels and predictions"
    return scores


def _number_metrics(truth: Floats, values: Floats) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics of one target and the reasons of those that are NaN."""
    names = known_metrics(Task(TaskKind.REGRESSION))
    if not len(truth):
        return dict.fromkeys(names, NAN), dict.fromkeys(names, "there are no labelled rows")
    mse = float(mean_squared_error(truth, values))
    found = {"mse": mse, "rmse": mse**0.5, "mae": float(mean_absolute_error(truth, values))}
    reasons: dict[str, str] = {}
    if len(truth) < 2 or np.ptp(truth) == 0:
        reason = "all labels are the same number" if len(truth) > 1 else "there is only one labelled row"
        return found | dict.fromkeys(_NEED_VARIETY, NAN), dict.fromkeys(_NEED_VARIETY, reason)
    found["r2"] = float(r2_score(truth, values))
    if _is_constant(values):
        reasons = dict.fromkeys(("pearson", "spearman"), "all predictions are the same number")
        return found | dict.fromkeys(reasons, NAN), reasons
    found["pearson"] = float(pearsonr(truth, values).statistic)
    found["spearman"] = float(spearmanr(truth, values).statistic)
    return found, reasons


def _is_constant(values: Floats) -> bool:
    """Tell whether numbers vary by no more than rounding (when SciPy would warn)."""
    mean = values.mean()
    return bool(np.linalg.norm(values - mean) <= 1e-13 * abs(mean)) or np.ptp(values) == 0


def _per_protein_mean(rows: Rows, values: Array) -> float:
    """Return the mean over proteins of the mean over each protein's rows."""
    means = per_protein_means(rows, values)
    return mean_defined(means)


def per_protein_means(rows: Rows, values: Array) -> Floats:
    """Return each protein's mean of `values` ``(rows,)``; NaN for a protein without rows."""
    counts = np.bincount(rows.owners, minlength=rows.proteins)
    sums = np.bincount(rows.owners, weights=np.asarray(values, np.float64), minlength=rows.proteins)
    means = np.full(rows.proteins, NAN)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


def per_protein_pearson(rows: Rows) -> Floats:
    """Return each protein's Pearson correlation; NaN where its labels or predictions are constant."""
    truth = rows.truth[:, 0] - per_protein_means(rows, rows.truth[:, 0])[rows.owners]
    values = rows.scores[:, 0] - per_protein_means(rows, rows.scores[:, 0])[rows.owners]
    sums = [
        np.bincount(rows.owners, weights=product, minlength=rows.proteins)
        for product in (truth * values, truth * truth, values * values)
    ]
    spread = np.sqrt(sums[1] * sums[2])
    tiny = 1e-12 * np.maximum(1.0, np.abs(rows.truth).max(initial=0) * np.abs(rows.scores).max(initial=0))
    found = np.full(rows.proteins, NAN)
    np.divide(sums[0], spread, out=found, where=spread > tiny)
    return found


def _pearson_per_protein(rows: Rows) -> float:
    return mean_defined(per_protein_pearson(rows))
