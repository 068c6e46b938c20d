"""How far the members of an ensemble are apart. Torch-free."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.inference.novelty import Predicted
from profactory.tasks import Task, Values
from profactory.tasks.task import Column

STD, AGREEMENT = "prediction_std", "agreement"

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class EnsembleValues(Predicted):
    """Mean outputs of the members, and how they differ.

    Parameters
    ----------
    spread
        Standard deviation of each output among the members, in the shape of ``values``.
    votes
        Share of the members for which each class is the most probable one, in the shape of ``values``.
    """

    spread: NDArray[Any] | None = None
    votes: NDArray[Any] | None = None


def combine(members: Outputs) -> Outputs:
    """Put mean, standard deviation and votes of the members side by side.

    Parameters
    ----------
    members
        ``(members, …, outputs)``.

    Returns
    -------
    ndarray
        ``(…, 3 * outputs)`` float32.
    """
    exact = members.astype(np.float64)
    spread = exact.std(axis=0, ddof=1) if len(members) > 1 else np.zeros_like(exact[0])
    best = members.argmax(axis=-1)[..., None] == np.arange(members.shape[-1])
    return np.concatenate([exact.mean(axis=0), spread, best.mean(axis=0)], axis=-1).astype(np.float32)


def separate(rows: Values) -> EnsembleValues:
    """Take apart what :func:`combine` put side by side."""
    distances = getattr(rows, "distances", None)
    if not len(rows.values):
        return EnsembleValues(rows.values, rows.offsets, distances)
    mean, spread, votes = np.split(rows.values, 3, axis=-1)
    return EnsembleValues(mean, rows.offsets, distances, spread, votes)


def spread_columns(task: Task, outputs: Values) -> dict[str, Column]:
    """Return what a prediction file of an ensemble gets beside the prediction.

    Returns
    -------
    dict
        ``prediction_std``: the standard deviation among the members of the value (with several targets one
        column each), of the predicted class's probability, or over all classes on average in multi-label
        tasks; in residue tasks one comma-separated number per residue. ``agreement``: the share of the
        members that predict the same class, for classes of whole sequences.
    """
    spread = getattr(outputs, "spread", None)
    votes = getattr(outputs, "votes", None)
    spread = np.zeros_like(outputs.values) if spread is None else spread
    if not (task.is_classification or task.per_residue):
        names = [STD] if len(task.targets) == 1 else [f"{STD}_{target}" for target in task.targets]
        return {name: np.asarray(spread[:, i], np.float32) for i, name in enumerate(names)}
    rows = np.arange(len(outputs.values))
    chosen = outputs.values.argmax(axis=1) if len(rows) else rows
    std = np.asarray(spread.mean(axis=1) if task.is_multi_label else spread[rows, chosen], np.float32)
    if outputs.offsets is not None:
        texts = std.astype(str).tolist()
        return {STD: [",".join(texts[a:b]) for a, b in itertools.pairwise(outputs.offsets)]}
    if task.is_multi_label:
        return {STD: std}
    agreed = np.zeros(len(rows), np.float32) if votes is None else votes[rows, chosen]
    return {STD: std, AGREEMENT: np.asarray(agreed, np.float32)}
