"""What kernels have in common, and means over them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy import sparse

from profactory.evaluation.rows import Array, Floats, Ints

Metrics = dict[str, Floats]


class Kernel(Protocol):
    """Metrics of a block of bootstrap samples."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it gives."""

    @property
    def cost(self) -> float:
        """Numbers touched per bootstrap sample."""

    @property
    def width(self) -> int:
        """Numbers held per bootstrap sample."""

    def __call__(self, weights: Floats) -> Metrics:
        """Map weights ``(proteins, samples)`` to metrics ``(samples,)`` each."""


def divide(numerator: Array, denominator: Array) -> Floats:
    """Divide, giving NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def divide_or_zero(numerator: Array, denominator: Array) -> Floats:
    """Divide, giving 0 where the denominator is 0."""
    out = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def count_table(
    owners: Ints, columns: Ints, shape: tuple[int, int], values: Array | None = None
) -> sparse.csr_array:
    """Sum values (ones) into cells ``(owner, column)`` of a sparse table."""
    data = np.ones(len(owners)) if values is None else values
    return sparse.coo_array((data, (owners, columns)), shape=shape).tocsr()


def mean_defined(columns: list[Floats]) -> Floats:
    """Return the mean over columns without NaN, ``(samples,)``; NaN where none is defined."""
    stacked = np.stack(columns)
    defined = ~np.isnan(stacked)
    return divide(np.where(defined, stacked, 0.0).sum(axis=0), defined.sum(axis=0))


def equal_bins(values: Floats, count: int) -> Ints:
    """Return the bin of each value, `count` bins of equal counts, ascending."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


class ProteinMeans:
    """The mean over proteins of a number per protein; proteins where it is NaN do not count."""

    def __init__(self, name: str, values: Floats) -> None:
        self.names = (name,)
        defined = ~np.isnan(values)
        self.table = np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)])
        self.cost = float(self.table.size)
        self.width = 2

    def __call__(self, weights: Floats) -> Metrics:
        total, count = self.table @ weights
        return {self.names[0]: divide(total, count)}


class TargetMean:
    """The mean over several regression targets of one kernel each, as `score` takes it."""

    def __init__(self, kernels: list[Kernel]) -> None:
        self.kernels = kernels
        self.names = kernels[0].names
        self.cost = sum(kernel.cost for kernel in kernels)
        self.width = max(kernel.width for kernel in kernels)

    def __call__(self, weights: Floats) -> Metrics:
        parts = [kernel(weights) for kernel in self.kernels]
        return {name: mean_defined([part[name] for part in parts]) for name in self.names}
