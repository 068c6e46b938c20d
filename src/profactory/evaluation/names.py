"""Which metrics each task has, and what to call them; needs no heavy library."""

from __future__ import annotations

import difflib

from profactory.errors import ConfigError
from profactory.tasks import Answer, Task

_CLASSES = (
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "f1_micro",
    "mcc",
    "auroc",
    "auprc",
)
_POSITIVE = ("precision", "recall", "f1")
_SETS = (
    "f1_micro",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "auroc",
    "auroc_micro",
    "auprc",
    "auprc_micro",
)
_NUMBERS = ("mse", "rmse", "mae", "r2", "pearson", "spearman")
#: Of sequences and of residues.
_NAMES = {
    (Answer.CLASS, False): _CLASSES,
    (Answer.CLASS, True): (*_CLASSES, "accuracy_per_protein"),
    (Answer.CLASSES, False): ("f1_max", *_SETS),
    (Answer.CLASSES, True): _SETS,  # F1-max is the mean over what has a class; of residues, hardly any has
    (Answer.NUMBER, False): _NUMBERS,
    (Answer.NUMBER, True): (*_NUMBERS, "pearson_per_protein"),
}
LABELS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
    "f1_macro": "F1 (macro)",
    "f1_micro": "F1 (micro)",
    "f1_max": "F1-max",
    "mcc": "MCC",
    "auroc": "AUROC",
    "auroc_micro": "AUROC (micro)",
    "auprc": "AUPRC",
    "auprc_micro": "AUPRC (micro)",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "accuracy_per_protein": "Accuracy (mean per protein)",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_per_protein": "Pearson (mean per protein)",
    "loss": "Loss",
    "perplexity": "Perplexity",
}


def positive_class(task: Task) -> str | None:
    """Return the class that `precision`, `recall`, `f1`, `auroc` and `auprc` of two classes mean.

    The second of the two in the task's order (``1`` of ``0, 1``; ``yes`` of ``no, yes``), or None
    if the task has not exactly two exclusive classes.
    """
    exclusive = task.kind.answer is Answer.CLASS
    return task.classes[1] if exclusive and len(task.classes) == 2 else None


def known_metrics(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics that are computed for a task, in the order of the report."""
    names = _NAMES[task.kind.answer, task.per_residue]
    return (*names, *_POSITIVE) if positive_class(task) is not None else names


def main_metric(task: Task) -> str:
    """Return the metric that a report puts first: the one that the task is monitored by."""
    return task.default_monitor


def check_monitor(task: Task, name: str) -> str:
    """Return `name` if training on this task can be monitored by it.

    Raises
    ------
    ConfigError
        If it is no metric of this task; nothing else is monitored in its place.
    """
    known = ("loss", *known_metrics(task))
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1)
    raise ConfigError(
        f"There is no metric {name!r} for the task {task.kind}.",
        expected=f"one of {', '.join(known)}",
        fix=f"--monitor {near[0] if near else task.default_monitor}",
    )


def label_of(metric: str) -> str:
    """Return how a metric is written for people."""
    return LABELS.get(metric, metric)
