"""95 % intervals by bootstrap over proteins.

A residue task resamples proteins, not residues: the residues of one chain are not independent.
Percentile intervals (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13),
widened to hold the value itself where resampling is biased.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from profactory.evaluation import kernels as k
from profactory.evaluation.metrics import Scores, per_protein_means, per_protein_pearson, score
from profactory.evaluation.names import known_metrics, positive_class
from profactory.evaluation.rows import Floats, Rows, make_rows
from profactory.tasks import Task, Values

BUDGET = 4e8  # numbers touched by one kernel; about a second or two of one core
FEWEST = 100
CHUNK = 4_000_000  # numbers held at once
AREAS = ("auroc", "auprc")
MICRO_AREAS = ("auroc_micro", "auprc_micro")
COUNTED = k.ClassCounts.names

Recipe = tuple[tuple[str, ...], Callable[[], k.Kernel]]


@dataclass(frozen=True)
class Interval:
    """A value with its interval; NaN where undefined."""

    value: float
    low: float
    high: float
    samples: int = 0

    def to_dict(self) -> dict[str, float | int]:
        """Return the fields as a dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class Method:
    """How intervals were made, for the report."""

    level: float
    samples: int
    seed: int
    unit: str = "proteins"
    kind: str = "percentile bootstrap"

    def sentence(self) -> str:
        """Return one sentence for people."""
        return (
            f"{self.level:.0%} intervals: {self.kind} over {self.unit}, {self.samples:,} samples"
            f" (fewer, at least {FEWEST}, for rankings of large sets), seed {self.seed}."
        )


def with_intervals(
    task: Task,
    targets: Values,
    outputs: Values,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    scores: Scores | None = None,
    only: Collection[str] | None = None,
) -> dict[str, Interval]:
    """Compute every metric of a task with its bootstrap interval.

    Parameters
    ----------
    task, targets, outputs
        As for :func:`~profactory.evaluation.metrics.compute_metrics`.
    samples
        Bootstrap samples. Rankings of large sets take fewer, at least 100, so that the work stays
        at about a second per metric; each :class:`Interval` says how many it had.
    seed
        The same seed gives the same intervals.
    level
        Share that the interval covers.
    scores
        The metrics, if they were computed before.
    only
        Metrics that get an interval; all of them if None.

    Returns
    -------
    dict
        Metric name to interval; NaN limits with fewer than two proteins, or where the metric is
        undefined in more than half of the samples.
    """
    scores = scores or score(task, targets, outputs)
    rows = make_rows(task, targets, outputs)
    wanted = scores.values if only is None else only
    defined = [name for name in wanted if np.isfinite(scores.values[name])]
    found = resample(task, rows, scores.values, samples=samples, seed=seed, only=defined)
    return {
        name: interval_of(value, found.get(name, np.empty(0)), level) for name, value in scores.values.items()
    }


def paired_difference(
    task: Task,
    targets: Values,
    outputs: Values,
    others: Values,
    metric: str,
    *,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    exact: tuple[Mapping[str, float], Mapping[str, float]] | None = None,
) -> Interval:
    """Return ``metric(outputs) - metric(others)`` with the interval of a paired bootstrap.

    Both sets of outputs are scored on the same resampled proteins, so that what makes a sample
    easy or hard for both cancels. `exact` holds the metrics of both, if they were computed before.
    """
    both = exact or tuple(score(task, targets, each).values for each in (outputs, others))
    drawn = []
    for each, values in zip((outputs, others), both, strict=True):
        rows = make_rows(task, targets, each)
        found = resample(task, rows, values, samples=samples, seed=seed, only={metric})
        drawn.append(found.get(metric, np.empty(0)))
    count = min(map(len, drawn))
    return interval_of(both[0][metric] - both[1][metric], drawn[0][:count] - drawn[1][:count], level)


def interval_of(value: float, drawn: Floats, level: float) -> Interval:
    """Return the percentile interval of bootstrap values around the value itself."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(defined) < 2 or len(defined) < len(drawn) / 2:
        return Interval(float(value), float("nan"), float("nan"), len(drawn))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(min(low, value)), float(max(high, value)), len(drawn))


def resample(
    task: Task,
    rows: Rows,
    exact: Mapping[str, float],
    *,
    samples: int,
    seed: int,
    only: Iterable[str] | None = None,
) -> dict[str, Floats]:
    """Return each metric in every bootstrap sample, ``(samples,)``.

    The first samples are the same whatever their number, so that two sets of outputs of the same
    proteins can be compared sample by sample. `exact` holds the metrics of the data themselves.
    """
    wanted = set(known_metrics(task) if only is None else only)
    if rows.problem or rows.proteins < 2:
        return {}
    found: dict[str, Floats] = {}
    for kernel in build_kernels(task, rows, wanted, exact):
        count = int(min(samples, max(FEWEST, BUDGET // max(kernel.cost, 1.0))))
        found.update(_run(kernel, rows.proteins, count, seed))
    return {name: values for name, values in found.items() if name in wanted}


def _run(kernel: k.Kernel, proteins: int, samples: int, seed: int) -> dict[str, Floats]:
    chunk = max(1, CHUNK // max(proteins, kernel.width))
    parts = [kernel(weights) for weights in draw_weights(proteins, samples, seed, chunk)]
    return {name: np.concatenate([part[name] for part in parts]) for name in kernel.names}


def draw_weights(proteins: int, samples: int, seed: int, chunk: int) -> Iterator[Floats]:
    """Yield how often each protein is drawn in each sample, ``(proteins, up to chunk samples)``."""
    generator = np.random.default_rng(seed)
    for start in range(0, samples, chunk):
        count = min(chunk, samples - start)
        drawn = generator.integers(proteins, size=(count, proteins))
        cells = (drawn * count + np.arange(count)[:, None]).ravel()
        yield np.bincount(cells, minlength=proteins * count).reshape(proteins, count).astype(np.float64)


def build_kernels(task: Task, rows: Rows, wanted: set[str], exact: Mapping[str, float]) -> list[k.Kernel]:
    """Return the kernels that together give the wanted metrics of a task."""
    if task.is_multi_label:
        recipes = _set_kernels(task, rows, exact)
    elif task.is_classification:
        recipes = _class_kernels(task, rows, exact)
    else:
        recipes = _number_kernels(task, rows)
    return [make() for names, make in recipes if wanted.intersection(names)]


def _class_kernels(task: Task, rows: Rows, exact: Mapping[str, float]) -> list[Recipe]:
    predicted = rows.scores.argmax(axis=1)
    columns = [1] if positive_class(task) is not None else list(range(task.n_outputs))
    truth, scores = rows.truth[:, None] == np.array(columns), rows.scores[:, columns]
    areas = (exact["auroc"], exact["auprc"])
    recipes: list[Recipe] = [
        (COUNTED, lambda: k.ClassCounts(rows.truth, predicted, rows.owners, rows.proteins, task.n_outputs))
    ]
    if task.per_residue:
        means = per_protein_means(rows, rows.truth == predicted)
        recipes.append((AREAS, lambda: k.BinnedAreas(truth, scores, rows.owners, rows.proteins, exact=areas)))
        recipes.append((("accuracy_per_protein",), lambda: k.ProteinMeans("accuracy_per_protein", means)))
    else:
        recipes.append((AREAS, lambda: k.ExactAreas(truth, scores)))
    return recipes


def _set_kernels(task: Task, rows: Rows, exact: Mapping[str, float]) -> list[Recipe]:
    truth, scores = rows.truth, rows.scores
    each = np.repeat(rows.owners, task.n_outputs)
    micro, areas = ((exact[roc], exact[precision]) for roc, precision in (MICRO_AREAS, AREAS))
    predicted = scores >= task.threshold
    recipes: list[Recipe] = [
        (k.SetCounts.names, lambda: k.SetCounts(truth, predicted, rows.owners, rows.proteins)),
        (
            MICRO_AREAS,
            lambda: k.BinnedAreas(
                truth.reshape(-1, 1),
                scores.reshape(-1, 1),
                each,
                rows.proteins,
                exact=micro,
                names=MICRO_AREAS,
            ),
        ),
    ]
    if task.per_residue:
        recipes.append((AREAS, lambda: k.BinnedAreas(truth, scores, rows.owners, rows.proteins, exact=areas)))
        return recipes
    recipes.append((AREAS, lambda: k.ExactAreas(truth, scores)))
    if truth.any():
        recipes.append((k.F1Max.names, lambda: k.F1Max(truth, scores)))
    return recipes


def _number_kernels(task: Task, rows: Rows) -> list[Recipe]:
    known = [np.flatnonzero(np.isfinite(rows.truth[:, i])) for i in range(task.n_outputs)]
    parts = [
        (rows.truth[at, i], rows.scores[at, i], rows.owners[at]) for i, at in enumerate(known) if len(at)
    ]
    recipes: list[Recipe] = [
        (k.Moments.names, lambda: k.TargetMean([k.Moments(*part, rows.proteins) for part in parts])),
    ]
    if not task.per_residue:
        recipes.append((k.Spearman.names, lambda: k.TargetMean([k.Spearman(*part) for part in parts])))
    else:
        recipes.append((k.Spearman.names, lambda: k.BinnedSpearman(*parts[0], rows.proteins)))
        means = per_protein_pearson(rows)
        recipes.append((("pearson_per_protein",), lambda: k.ProteinMeans("pearson_per_protein", means)))
    return recipes
