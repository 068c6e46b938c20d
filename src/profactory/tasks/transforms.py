"""Regression labels in another unit for training, and predictions back in the unit of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Knots = tuple[tuple[float, float], ...]

MOST_KNOTS = 1001
LARGEST = 88.0  # exp of more is no 32-bit number


@dataclass(frozen=True)
class LabelTransform:
    """A monotone change of labels, fitted on the training labels and kept with the model.

    Parameters
    ----------
    kind
        ``log``: the natural logarithm, for labels that span orders of magnitude. ``rank``: the quantile of a
        normal distribution that belongs to a label's rank, for labels with outliers or many at one end.
    knots
        For ``rank``, of each target: pairs of label and quantile, both rising; between them lines, beyond
        them the outermost.
    """

    kind: str
    knots: tuple[Knots, ...] = ()

    @classmethod
    def fit(cls, kind: str, values: Array) -> LabelTransform:
        """Fit to training labels ``(n, targets)``; NaN where missing."""
        if kind == "log":
            return cls(kind)
        return cls(kind, tuple(_knots(column[np.isfinite(column)]) for column in values.T))

    def apply(self, values: Array) -> Floats:
        """Return labels as the loss sees them; shape ``(…, targets)``, NaN stays."""
        if self.kind == "log":
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(np.log(values), np.float32)
        return self._interpolated(values, 0, 1)

    def invert(self, values: Array) -> Floats:
        """Return outputs of a model in the unit of the labels; shape ``(…, targets)``."""
        if self.kind == "log":
            return np.asarray(np.exp(np.minimum(values, LARGEST)), np.float32)
        return self._interpolated(values, 1, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {"kind": self.kind, "knots": [[list(pair) for pair in column] for column in self.knots]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LabelTransform:
        """Rebuild from :meth:`to_dict`.

        Raises
        ------
        ValueError
            There is no such transform.
        """
        if data["kind"] not in ("log", "rank"):
            raise ValueError(f"there is no label transform {data['kind']!r}")
        knots = tuple(tuple((float(x), float(z)) for x, z in column) for column in data["knots"])
        return cls(data["kind"], knots)

    def _interpolated(self, values: Array, start: int, end: int) -> Floats:
        result = np.empty(np.shape(values), np.float32)
        for i, column in enumerate(self.knots):
            pairs = np.asarray(column)
            result[..., i] = np.interp(values[..., i], pairs[:, start], pairs[:, end])
        return result


def _knots(labels: Array) -> Knots:
    """Return pairs of label and normal quantile; equal labels share the quantile of their mean rank."""
    values, counts = np.unique(labels.astype(np.float64), return_counts=True)
    if not len(values):
        return ((0.0, 0.0),)
    middle = (np.cumsum(counts) - counts / 2) / len(labels)  # mean rank as a share, never 0 or 1
    if len(values) > MOST_KNOTS:
        chosen = np.unique(np.linspace(0, len(values) - 1, MOST_KNOTS).round().astype(int))
        values, middle = values[chosen], middle[chosen]
    normal = NormalDist()
    return tuple((float(x), normal.inv_cdf(float(share))) for x, share in zip(values, middle, strict=True))
