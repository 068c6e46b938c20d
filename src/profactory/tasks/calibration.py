"""How sure a model may claim to be: calibrated probabilities, sets and intervals of a stated coverage.

Fitted on the validation rows by :mod:`profactory.evaluation.calibration`, stored with the model, and applied
here to whatever it predicts. Torch-free.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.tasks.task import Column, Task
from profactory.tasks.values import Array, Values

SET, LOW, HIGH = "prediction_set", "prediction_low", "prediction_high"
#: Joins the classes of one residue's set, where commas part the residues.
SET_JOINER = "|"


@dataclass(frozen=True)
class Calibration:
    """What validation rows taught about a model's certainty; the default changes and adds nothing.

    Parameters
    ----------
    temperature
        Logits are divided by it (Guo et al. 2017, https://arxiv.org/abs/1706.04599); above 1 the model was
        too sure of itself.
    coverage
        Share of new samples (residues, in residue tasks) whose truth is meant to lie in the set or interval;
        None where there is neither.
    threshold
        A prediction set holds the classes of at least this probability.
    radius
        Half the width of the interval around each regression target, in the units that the loss sees: those
        of the labels, unless they were transformed.
    """

    temperature: float = 1.0
    coverage: float | None = None
    threshold: float | None = None
    radius: tuple[float, ...] = ()

    def apply(self, task: Task, outputs: Values) -> Values:
        """Return outputs with calibrated probabilities, float32; numbers stay as they are."""
        if self.temperature == 1.0 or not task.is_classification:
            return outputs
        tiny = np.finfo(np.float32).tiny
        p = np.asarray(outputs.values, np.float64)
        logits = np.log(np.maximum(p, tiny))
        if task.is_multi_label:
            logits -= np.log(np.maximum(1.0 - p, tiny))
        return Values(task.probabilities(logits / self.temperature), outputs.offsets)

    def columns(self, task: Task, outputs: Values) -> dict[str, Column]:
        """Return what a prediction file gets beside the prediction.

        Parameters
        ----------
        task
            What was predicted.
        outputs
            Calibrated outputs.

        Returns
        -------
        dict
            ``prediction_set`` (class names joined as in a multi-label cell), or ``prediction_low`` and
            ``prediction_high`` (with several targets one pair for each, ``prediction_low_<target>``). In
            residue tasks one comma-separated item per residue, the classes of a set joined by ``|``.
            Nothing without a coverage.
        """
        if self.threshold is not None:
            return {SET: _sets(task, outputs, self.members(task, outputs.values))}
        if not self.radius:
            return {}
        names = [""] if len(task.targets) == 1 else [f"_{target}" for target in task.targets]
        low, high = self.bounds(task, outputs)
        columns: dict[str, Column] = {}
        for i, name in enumerate(names):
            for column, bound in ((LOW, low[:, i]), (HIGH, high[:, i])):
                columns[column + name] = _numbers(bound, outputs.offsets)
        return columns

    def bounds(self, task: Task, outputs: Values) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the ends of the intervals in the units of the labels, each ``(rows, targets)``."""
        middle = task.transformed(outputs).values.reshape(-1, task.n_outputs)
        radius = np.asarray(self.radius)
        return task.probabilities(middle - radius), task.probabilities(middle + radius)

    def members(self, task: Task, probabilities: Array) -> NDArray[np.bool_]:
        """Tell which classes are in the prediction sets, shape ``(rows, classes)``.

        The most probable of exclusive classes always is: an empty set helps nobody.
        """
        p = np.asarray(probabilities).reshape(-1, task.n_outputs)
        inside = np.asarray(p >= (math.inf if self.threshold is None else self.threshold))
        if not task.is_multi_label:
            inside[np.arange(len(p)), p.argmax(axis=1)] = True
        return inside

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Rebuild from :meth:`to_dict`; what an earlier version did not write is neutral.

        Raises
        ------
        ValueError
            A number is impossible.
        """
        coverage, threshold = (_number_or_none(data.get(name)) for name in ("coverage", "threshold"))
        radius = tuple(map(float, data.get("radius", ())))
        found = cls(float(data.get("temperature", 1.0)), coverage, threshold, radius)
        numbers = (found.temperature, coverage or 0.0, threshold or 0.0, *found.radius)
        if found.temperature <= 0 or not all(map(math.isfinite, numbers)):
            raise ValueError("the calibration holds an impossible number")
        return found


def _number_or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def _numbers(values: Array, offsets: NDArray[np.int64] | None) -> Column:
    numbers = np.asarray(values, np.float32)
    return numbers if offsets is None else _joined(numbers.astype(str).tolist(), offsets)


def _sets(task: Task, outputs: Values, members: NDArray[np.bool_]) -> list[str]:
    joiner = SET_JOINER if task.per_residue else task.separator
    names = [joiner.join(task.classes[i] for i in np.flatnonzero(row)) for row in members]
    return names if outputs.offsets is None else _joined(names, outputs.offsets)


def _joined(items: list[str], offsets: NDArray[np.int64]) -> list[str]:
    """Write one comma-separated item per residue."""
    return [",".join(items[start:stop]) for start, stop in itertools.pairwise(offsets)]
