"""The course of a training as the numbers that a diagnosis is made from. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.evaluation.history import History, read_history

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """What happened in a training.

    Parameters
    ----------
    history
        Its evaluations.
    base
        Training loss of predicting the same for everything; the loss of the first step where that is not
        known. Rises and falls are measured in shares of it.
    reference
        The same, or NaN where only the first step's loss is known.
    steps, rates
        Optimizer step and learning rate of each row of the loss curve.
    rollbacks
        Times that the training went back because of a loss that was no number.
    stopped_early
        Whether patience ran out.
    settings
        What the run was asked to do: ``learning_rate``, ``epochs``, ``method``, ``optimizer``, ``dropout`` …
    """

    history: History
    base: float
    reference: float
    steps: Floats
    rates: Floats
    rollbacks: int = 0
    stopped_early: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def train(self) -> Floats:
        """Training loss of each evaluation's epoch: over all samples, so that chance has no part in it."""
        epochs, losses = np.array(self.history.epochs), np.array(self.history.train_loss)
        return np.array([losses[epochs == epoch].mean() for epoch in epochs])

    @property
    def validation(self) -> Floats:
        """Validation loss at each evaluation."""
        return np.array(self.history.validation_loss)

    @property
    def readable(self) -> bool:
        """Whether both losses are known at every evaluation, and what they are measured in."""
        known = np.isfinite(self.train).all() and np.isfinite(self.validation).all()
        return bool(known) and math.isfinite(self.base) and self.base > 0

    @property
    def kept(self) -> int:
        """Index of the evaluation whose weights were kept."""
        return self.history.best if self.history.best is not None else len(self.history) - 1

    @property
    def effort(self) -> Floats:
        """Sum of the learning rates of all steps up to each evaluation."""
        if not len(self.steps):
            return np.zeros(len(self.history))
        every = np.arange(1, max(self.history.steps) + 1)
        summed = np.cumsum(np.interp(every, self.steps, self.rates))
        return np.asarray(summed[np.array(self.history.steps) - 1], np.float64)

    def at(self, index: int) -> str:
        """Return the name of an evaluation: ``epoch 3``, or its step where epochs hold several."""
        unit, places = self.history.axis
        return f"{unit} {places[index]:g}"


def read_course(
    events: Iterable[Mapping[str, Any]], *, reference_loss: float | None, settings: Mapping[str, Any]
) -> Course:
    """Collect what a diagnosis needs from the events of a run.

    Parameters
    ----------
    events
        Of ``events.jsonl``.
    reference_loss
        Training loss of predicting the same for everything; None if unknown.
    settings
        What the run was asked to do.
    """
    found = list(events)
    rows = [event for event in found if event.get("event") == "step"]
    losses = [row["loss"] for row in rows if isinstance(row.get("loss"), int | float)]
    reference = math.nan if reference_loss is None else reference_loss
    first = losses[0] if losses else math.nan
    return Course(
        history=read_history(found),
        base=reference if math.isfinite(reference) else first,
        reference=reference,
        steps=np.array([row["step"] for row in rows], np.float64),
        rates=np.array([row.get("learning_rate") or 0.0 for row in rows], np.float64),
        rollbacks=sum(event.get("event") == "rollback" for event in found),
        stopped_early=any(event.get("event") == "trained" and event.get("stopped_early") for event in found),
        settings=settings,
    )


def peaks(values: Floats, least: float) -> int:
    """Count the peaks of a curve: it rose by `least` or more, then fell by as much.

    Examples
    --------
    >>> peaks(np.array([1.0, 0.5, 0.9, 0.4, 0.45, 0.3]), 0.3)
    1
    """
    found, rising, low, high = 0, False, values[0], values[0]
    for value in values[1:]:
        if rising:
            high = max(high, value)
            if value <= high - least:
                found, rising, low = found + 1, False, value
        else:
            low = min(low, value)
            if value >= low + least:
                rising, high = True, value
    return found
