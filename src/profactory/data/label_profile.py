"""What the labels of a data set look like: class balance, or the range of the numbers; in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.dataset import Dataset
from profactory.data.labels import NUMBER, encode_labels
from profactory.tasks import Answer, Task

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


def _batches(dataset: Dataset) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(dataset), BATCH_ROWS):
        yield np.arange(start, min(start + BATCH_ROWS, len(dataset)))


def _count_classes(dataset: Dataset, task: Task, profile: LabelProfile) -> None:
    if task.kind.answer is Answer.CLASS and not task.per_residue:
        profile.classes = _count_names(dataset, task)
        return
    counts = np.zeros(len(task.classes), np.int64)
    for rows in _batches(dataset):
        encoded = encode_labels(dataset, task, rows)
        known = task.labelled(encoded)
        labels = encoded.values[known]
        profile.missing += int((~known).sum())
        if task.is_multi_label:
            counts += labels.sum(axis=0).astype(np.int64)
            profile.missing += 0 if task.per_residue else int((labels.sum(axis=1) == 0).sum())
        else:
            counts += np.bincount(labels, minlength=len(counts))
    profile.classes = dict(zip(task.classes, counts.tolist(), strict=True))


def _count_names(dataset: Dataset, task: Task) -> dict[str, int]:
    """Count the rows of each class: each different cell is read once, and names a class."""
    found = pc.value_counts(dataset.column(dataset.columns.labels[0]))
    codes = task.encode(found.field("values").to_pylist(), [0] * len(found)).values
    counts = np.bincount(codes, found.field("counts").to_numpy(), len(task.classes)).astype(np.int64)
    return dict(zip(task.classes, counts.tolist(), strict=True))


def _describe_numbers(dataset: Dataset, task: Task, profile: LabelProfile) -> None:
    numbers = np.concatenate([_numbers(dataset, task, rows) for rows in _batches(dataset)])
    profile.missing = int(np.isnan(numbers).sum())
    for index, target in enumerate(task.targets):
        column = numbers[:, index]
        profile.numbers[target] = _describe(column[~np.isnan(column)])


def _numbers(dataset: Dataset, task: Task, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the labels of some rows (or of their residues), shape ``(n, targets)``; NaN where missing."""
    if not task.per_residue and len(task.targets) == 1:
        cells = dataset.column(dataset.columns.labels[0], rows)
        if pc.all(pc.match_substring_regex(cells, NUMBER)).as_py():
            return np.asarray(cells.cast(pa.float64()).to_numpy(), np.float32)[:, None]
    values = encode_labels(dataset, task, rows).values
    return np.asarray(values, np.float32).reshape(-1, len(task.targets))


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
