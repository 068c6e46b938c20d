"""Targets and outputs as the rows that count: labelled, predicted, each owned by one protein."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import DataError
from profactory.tasks import Task, Values

Array = NDArray[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """What metrics are computed from.

    Parameters
    ----------
    truth
        Classes ``(rows,)`` int64; multi-label ``(rows, classes)`` bool; numbers
        ``(rows, targets)`` float64 with NaN where a target is missing.
    scores
        Probabilities or values, ``(rows, outputs)`` float64.
    owners
        Index of the protein that owns each row, ascending, ``(rows,)``.
    proteins
        Number of proteins, those without any row included.
    notes
        What was left out, as sentences.
    problem
        Why nothing can be computed; empty if it can.
    """

    truth: Array
    scores: Floats
    owners: Ints
    proteins: int
    notes: tuple[str, ...] = ()
    problem: str = ""

    def __len__(self) -> int:
        return len(self.truth)


def make_rows(task: Task, targets: Values, outputs: Values) -> Rows:
    """Pair targets with outputs and leave out what has no label or no prediction.

    Raises
    ------
    DataError
        If the two do not hold the same proteins or residues, or not as many outputs as the task.
    """
    if task.per_residue:
        outputs = pad_outputs(outputs, targets)
    _check_shapes(task, targets, outputs)
    scores = np.asarray(outputs.values, np.float64).reshape(-1, task.n_outputs)
    owners = np.repeat(np.arange(len(targets), dtype=np.int64), targets.lengths)
    truth = _truth(task, targets)
    predicted = np.isfinite(scores).all(axis=1)
    if not task.per_residue:
        missing = int((~predicted).sum())
        problem = f"{missing:,} predictions are not finite" if missing else ""
        return Rows(truth, scores, owners, len(targets), problem=problem or _emptiness(len(truth)))
    labelled = task.labelled(targets)
    keep = labelled & predicted
    rows = Rows(truth[keep], scores[keep], owners[keep], len(targets), problem=_emptiness(int(keep.sum())))
    return _noted(rows, int((~labelled).sum()), int((labelled & ~predicted).sum()))


def pad_outputs(outputs: Values, targets: Values) -> Values:
    """Give residues beyond the model's maximum length NaN as output, so that offsets agree.

    Outputs that agree already, or that cannot belong to the targets, are returned as they are.
    """
    short = outputs.lengths
    fits = len(outputs) == len(targets) and bool((short <= targets.lengths).all())
    if outputs.offsets is None or targets.offsets is None or not fits or (short == targets.lengths).all():
        return outputs
    padded = np.full((len(targets.values), *outputs.values.shape[1:]), np.nan, np.float32)
    starts = np.repeat(targets.offsets[:-1] - outputs.offsets[:-1], short)
    padded[np.arange(len(outputs.values)) + starts] = outputs.values
    return Values(padded, targets.offsets)


def _truth(task: Task, targets: Values) -> Array:
    if task.is_multi_label:
        return np.asarray(targets.values).reshape(-1, task.n_outputs) > 0.5
    if task.is_classification:
        return np.asarray(targets.values, np.int64).reshape(-1)
    return np.asarray(targets.values, np.float64).reshape(-1, task.n_outputs)


def _check_shapes(task: Task, targets: Values, outputs: Values) -> None:
    same_residues = not task.per_residue or (
        targets.offsets is not None
        and outputs.offsets is not None
        and np.array_equal(targets.offsets, outputs.offsets)
    )
    width = int(np.prod(outputs.values.shape[1:], dtype=np.int64))
    if len(targets) != len(outputs) or not same_residues or width != task.n_outputs:
        raise DataError(
            f"Labels of shape {targets.values.shape} for {len(targets):,} proteins do not pair with outputs"
            f" of shape {outputs.values.shape} for {len(outputs):,} proteins.",
            expected=f"the same proteins and residues, {task.n_outputs} outputs each",
        )


def _emptiness(count: int) -> str:
    return "" if count else "there are no labelled rows"


def _noted(rows: Rows, unlabelled: int, unpredicted: int) -> Rows:
    notes = []
    if unlabelled:
        notes.append(f"{unlabelled:,} residues have no label and do not count.")
    if unpredicted:
        notes.append(
            f"{unpredicted:,} labelled residues have no prediction (beyond the model's maximum length)"
            " and do not count."
        )
    return Rows(rows.truth, rows.scores, rows.owners, rows.proteins, tuple(notes), rows.problem)
