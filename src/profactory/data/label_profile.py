"""What the labels of a data set look like: class balance, or the range of the numbers; in one pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.dataset import Dataset
from profactory.tasks import Task, TaskKind, Values

BATCH_ROWS = 10_000
BINS = 10


@dataclass
class LabelProfile:
    """Counts of labels.

    Parameters
    ----------
    unit
        What is counted: ``rows`` or ``residues``.
    classes
        Class to its number of rows (residues), in the order of the task; empty for numbers.
    missing
        Rows without any label (multi-label), missing numbers, or unlabelled residues.
    numbers
        For regression, by target: count, mean, standard deviation, lowest, highest and a histogram.
    """

    unit: str
    classes: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values."""
        return dict(vars(self))


def profile_labels(dataset: Dataset, task: Task) -> LabelProfile:
    """Count classes, or describe the numbers.

    Parameters
    ----------
    dataset, task
        Validated rows, and what their labels mean.
    """
    profile = LabelProfile("residues" if task.per_residue else "rows")
    if task.is_classification:
        _count_classes(dataset, task, profile)
    else:
        _describe_numbers(dataset, task, profile)
    return profile


def _encoded(dataset: Dataset, task: Task) -> Any:
    for start in range(0, len(dataset), BATCH_ROWS):
        rows = np.arange(start, min(start + BATCH_ROWS, len(dataset)))
        yield task.encode(dataset.label_cells(rows), dataset.lengths[rows].tolist())


def _count_classes(dataset: Dataset, task: Task, profile: LabelProfile) -> None:
    counts = np.zeros(len(task.classes), np.int64)
    for values in _encoded(dataset, task):
        labels = values.values
        if task.kind is TaskKind.MULTI_LABEL:
            counts += labels.sum(axis=0).astype(np.int64)
            profile.missing += int((labels.sum(axis=1) == 0).sum())
        else:
            counts += np.bincount(labels[labels >= 0], minlength=len(counts))
            profile.missing += int((labels < 0).sum())
    profile.classes = dict(zip(task.classes, counts.tolist(), strict=True))


def _describe_numbers(dataset: Dataset, task: Task, profile: LabelProfile) -> None:
    parts = [_columns(values, len(task.targets)) for values in _encoded(dataset, task)]
    numbers = np.concatenate(parts)
    profile.missing = int(np.isnan(numbers).sum())
    for index, target in enumerate(task.targets):
        column = numbers[:, index]
        profile.numbers[target] = _describe(column[~np.isnan(column)])


def _columns(values: Values, targets: int) -> NDArray[np.float32]:
    return np.asarray(values.values, np.float32).reshape(-1, targets)


def _describe(column: NDArray[np.float32]) -> dict[str, Any]:
    if not len(column):
        return {"count": 0}
    wide = column.astype(np.float64)
    counts, edges = np.histogram(wide, BINS)
    return {
        "count": len(column),
        "mean": float(wide.mean()),
        "std": float(wide.std()),
        "lowest": float(wide.min()),
        "median": float(np.median(wide)),
        "highest": float(wide.max()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }
