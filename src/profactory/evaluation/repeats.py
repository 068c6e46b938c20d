"""One number from several trainings: mean, deviation and an interval over folds and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

COVERAGE = 0.95


@dataclass(frozen=True)
class Repeated:
    """A metric over several trainings.

    Parameters
    ----------
    mean, deviation
        Over all trainings; the deviation is that of a sample (``n - 1``).
    low, high
        Interval of the mean; None if it cannot be given.
    values
        What each training gave.
    """

    mean: float
    deviation: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return {**asdict(self), "values": list(self.values)}


def repeated(values: Sequence[float], folds: Sequence[int], *, held_out: float) -> Repeated | None:
    """Summarise one metric of several trainings.

    Seeds are averaged within their fold. Trainings on folds overlap in their rows, so that their scores are
    no independent sample; the interval is the corrected resampled t interval of Nadeau and Bengio 2003
    (https://doi.org/10.1023/A:1024068626366): the variance of the mean of `k` folds is taken as
    ``(1 / k + held_out) * variance`` instead of ``variance / k``. With seeds alone (`held_out` 0) it is the
    usual t interval over the seeds, which says nothing about other data.

    Parameters
    ----------
    values
        The metric in each training.
    folds
        The fold of each training; with seeds alone a number of its own for each.
    held_out
        Rows held out in a fold by rows trained on.

    Returns
    -------
    Repeated or None
        None if the metric is undefined in any of the trainings.
    """
    numbers = np.asarray(values, np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        return None
    groups = np.array([numbers[np.asarray(folds) == fold].mean() for fold in sorted(set(folds))])
    mean, low, high = float(groups.mean()), None, None
    if len(groups) > 1:
        error = math.sqrt((1 / len(groups) + held_out) * groups.var(ddof=1))
        half = float(stats.t.ppf(0.5 + COVERAGE / 2, len(groups) - 1)) * error
        low, high = mean - half, mean + half
    deviation = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    return Repeated(mean, deviation, low, high, tuple(map(float, numbers)))


def summarise(
    metrics: Sequence[Mapping[str, float]], folds: Sequence[int], *, held_out: float
) -> dict[str, Repeated]:
    """Summarise every metric that all trainings have; see :func:`repeated`."""
    names = [name for name in metrics[0] if all(name in one for one in metrics)]
    found = {name: repeated([one[name] for one in metrics], folds, held_out=held_out) for name in names}
    return {name: summary for name, summary in found.items() if summary is not None}
