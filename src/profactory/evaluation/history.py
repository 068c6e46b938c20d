"""The evaluations of a training run, read from its events."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class History:
    """What was measured while training, one entry per evaluation.

    Parameters
    ----------
    epochs
        Epoch (or fraction of it) at each evaluation.
    steps
        Optimizer steps at each evaluation.
    train_loss, validation_loss
        NaN where not measured.
    metrics
        Other validation metrics by name, NaN where undefined.
    best
        Index of the evaluation whose weights were kept, or None.
    """

    epochs: list[float]
    steps: list[int]
    train_loss: list[float]
    validation_loss: list[float]
    metrics: dict[str, list[float]]
    best: int | None

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def axis(self) -> tuple[str, list[float]]:
        """Name and places of the horizontal axis: epochs, or steps if epochs hold several evaluations."""
        if len(set(self.epochs)) == len(self.epochs):
            return "epoch", self.epochs
        return "optimizer step", [float(step) for step in self.steps]


def read_history(events: Iterable[Mapping[str, Any]]) -> History:
    """Collect the ``evaluation`` events of a run.

    Parameters
    ----------
    events
        Dictionaries with ``step``, ``epoch``, ``train_loss``, ``metrics`` (``loss`` and others) and
        ``improved``; events of another kind are passed over. The last improvement is the best.
    """
    rows = [event for event in events if event.get("event", "evaluation") == "evaluation"]
    metrics = [row.get("metrics") or {} for row in rows]
    names = list(dict.fromkeys(name for found in metrics for name in found if name != "loss"))
    improved = [i for i, row in enumerate(rows) if row.get("improved")]
    return History(
        epochs=[_number(row.get("epoch", i + 1)) for i, row in enumerate(rows)],
        steps=[int(row.get("step", i + 1)) for i, row in enumerate(rows)],
        train_loss=[_number(row.get("train_loss")) for row in rows],
        validation_loss=[_number(found.get("loss")) for found in metrics],
        metrics={name: [_number(found.get(name)) for found in metrics] for name in names},
        best=improved[-1] if improved else None,
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
