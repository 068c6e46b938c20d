"""Labels and what is asked of them, checked before a model is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.config import TrainConfig
from profactory.data.dataset import Dataset
from profactory.data.labels import encode_labels
from profactory.errors import ConfigError, Problem, RowError
from profactory.tasks import LabelTransform, Task


def check_objective(config: TrainConfig, task: Task) -> None:
    """Refuse a loss, weights or a transform that the task cannot have, all of it at once.

    Raises
    ------
    ConfigError
    """
    meant: dict[str, Any] = {}
    if task.is_classification:
        meant = {"label_transform": "labels are classes"}
    else:
        meant = {"loss": "labels are numbers", "class_weights": "labels are numbers"}
    usual = {name: TrainConfig.model_fields[name].default for name in meant}
    problems = [
        Problem(f"{name} {getattr(config, name)} has no meaning for {task.kind}: {why}")
        for name, why in meant.items()
        if getattr(config, name) != usual[name]
    ]
    if problems:
        raise ConfigError("The options do not fit the task.", problems=problems, fix="leave them out")


def fit_transform(config: TrainConfig, task: Task, dataset: Dataset, splits: NDArray[Any]) -> Task:
    """Return the task with its labels transformed as asked, fitted on the training rows.

    Raises
    ------
    RowError
        The logarithm was asked for, and labels of any split are not above 0.
    """
    kind = config.label_transform
    if kind not in ("log", "rank"):
        return task
    if kind == "log":
        _check_positive(task, dataset)
    rows = np.flatnonzero(splits == "train")
    targets = encode_labels(dataset, task, rows)
    return task.with_transform(LabelTransform.fit(kind, targets.values.reshape(-1, task.n_outputs)))


def _check_positive(task: Task, dataset: Dataset) -> None:
    targets = encode_labels(dataset, task)
    bad = [row for row in range(len(targets)) if (targets[row] <= 0).any()]
    if not bad:
        return
    cells, lines = dataset.label_cells(np.array(bad)), dataset.lines[bad].tolist()
    raise RowError(
        f"{len(bad):,} of {len(targets):,} labels are not above 0 and have no logarithm.",
        expected="labels above 0 for --label-transform log",
        fix="--label-transform rank, which takes any numbers",
        problems=[
            Problem("the label is not above 0", line=line, value=str(cell))
            for line, cell in zip(lines, cells, strict=True)
        ],
    )
