"""Outputs of a model as the columns that people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from profactory.tasks import Calibration, Task, Values


def prediction_columns(task: Task, calibration: Calibration, probabilities: bool = True) -> list[str]:
    """Return the names of the columns that a task adds."""
    empty = np.empty((0, task.n_outputs), np.float32)
    nothing = Values(empty, np.zeros(1, np.int64) if task.per_residue else None)
    return [*task.decode(nothing, probabilities=probabilities), *calibration.columns(task, nothing)]


def decode_rows(
    task: Task,
    sequences: Sequence[str],
    outputs: Values,
    max_length: int,
    *,
    calibration: Calibration,
    probabilities: bool = True,
) -> dict[str, list[Any]]:
    """Turn outputs into columns; per-residue text is exactly as long as its sequence.

    Residues beyond what the model reads get an empty item (``-`` in strings of one-letter classes, or
    ``?`` if that is a class).

    Parameters
    ----------
    task
        What was predicted.
    sequences, outputs
        Clean sequences, and what :meth:`Predictor.predict_outputs` gave for them.
    max_length
        Residues that the model reads of each sequence.
    calibration
        Adds sets or intervals.
    probabilities
        Give ``probability_<class>`` too.
    """
    decoded = {**task.decode(outputs, probabilities=probabilities), **calibration.columns(task, outputs)}
    columns = {name: list(column) for name, column in decoded.items()}
    if not task.per_residue:
        return columns
    letters = task.is_classification and all(len(name) == 1 for name in task.classes)
    filler = "?" if "-" in task.classes else "-"
    for name, column in columns.items():
        plain = letters and name == "prediction"
        for row, sequence in enumerate(sequences):
            missing = len(sequence) - min(len(sequence), max_length)
            column[row] += (filler if plain else ",") * missing
    return columns
