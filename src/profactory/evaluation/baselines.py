"""What is reached without a language model: the floor that a PLM has to beat to earn its keep.

`majority` knows only the training labels: class frequencies (its prediction is the most frequent
class) or the mean. `composition` is logistic or ridge regression on the shares of the 20 amino acids;
for residue tasks, on the one-hot window of 15 residues around each residue.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from profactory.data.composition import composition
from profactory.evaluation import features
from profactory.evaluation.metrics import compute_metrics
from profactory.evaluation.rows import Array, Floats
from profactory.tasks import Task, Values

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # C of logistic regression
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)  # alpha of ridge regression
MOST_SEQUENCES = 20_000
MOST_RESIDUES = 100_000
MOST_VALIDATION = 200_000
LABELS = {"majority": "Majority", "composition": "Composition"}


@dataclass
class Baselines:
    """Fitted baselines of one task.

    Parameters
    ----------
    task
        The task.
    notes
        How they were fitted, as sentences for the report.
    """

    task: Task
    prior: Floats
    linear: Callable[[Sequence[str], Array], Floats] | None
    notes: list[str] = field(default_factory=list)

    def predict(self, sequences: Sequence[str], like: Values) -> dict[str, Values]:
        """Return the outputs of each baseline for sequences.

        Parameters
        ----------
        sequences
            `n` sequences.
        like
            Targets or outputs of these sequences, for the number of residues of each.

        Returns
        -------
        dict
            ``majority`` and, if it could be fitted, ``composition``.
        """
        found = {"majority": self.constant(like)}
        if self.linear is not None:
            scores = np.asarray(self.linear(sequences, like.lengths), np.float32)
            found["composition"] = Values(scores, like.offsets)
        return found

    def constant(self, like: Values) -> Values:
        """Return the frequencies (means) of the training labels for every row of `like`."""
        return Values(np.tile(self.prior, (int(like.lengths.sum()), 1)).astype(np.float32), like.offsets)


def fit_constant(task: Task, targets: Values) -> Baselines:
    """Return the baseline that looks at no sequence alone; `targets` are those of the training split."""
    return Baselines(task, _prior(task, targets), None)


def fit_baselines(
    task: Task,
    sequences: Sequence[str],
    targets: Values,
    *,
    validation: tuple[Sequence[str], Values] | None = None,
    seed: int = 0,
) -> Baselines:
    """Fit both baselines on the training split.

    Parameters
    ----------
    task, sequences, targets
        The training split; ``len(sequences) == len(targets)``.
    validation
        Sequences and targets that choose the strength of regularisation; the library's default if
        there are none.
    seed
        For the choice of rows where there are more than are used.
    """
    fitted = fit_constant(task, targets)
    if task.per_residue:
        prepare, limit, unit = _residue_rows, MOST_RESIDUES, "residues"
    else:
        prepare, limit, unit = _sequence_rows, _most_sequences(task), "sequences"
    around, truth = prepare(task, sequences, targets, limit, seed)
    if not _learnable(task, truth):
        fitted.notes.append("The composition baseline was left out: the training labels do not vary.")
        return fitted
    models = [_fit(task, around, truth, strength) for strength in _strengths(task, validation)]
    candidates = [_predictor(task, model) for model in models]
    chosen = _choose(task, candidates, validation)
    fitted.linear = candidates[chosen]
    fitted.notes.append(_describe(task, models[chosen], len(truth), unit, len(candidates)))
    if not models[chosen].converged:
        fitted.notes.append("The composition baseline stopped at its limit of iterations.")
    return fitted


def baselines(
    task: Task,
    train_sequences: Sequence[str],
    train_targets: Values,
    eval_sequences: Sequence[str],
    eval_targets: Values,
    *,
    validation: tuple[Sequence[str], Values] | None = None,
    seed: int = 0,
) -> dict[str, Values]:
    """Fit on one split and predict another; see :func:`fit_baselines`."""
    fitted = fit_baselines(task, train_sequences, train_targets, validation=validation, seed=seed)
    return fitted.predict(eval_sequences, eval_targets)


@dataclass(frozen=True)
class _Linear:
    """A fitted linear model: ``scores = features @ weights.T + intercept``."""

    weights: Floats  # (outputs, features)
    intercept: Floats  # (outputs,)
    strength: float
    converged: bool = True


def _prior(task: Task, targets: Values) -> Floats:
    values = np.asarray(targets.values)
    if task.is_multi_label:
        return np.asarray(values[task.labelled(targets)].mean(axis=0), np.float64)
    if task.is_classification:
        counts = np.bincount(values[values >= 0].astype(np.int64), minlength=task.n_outputs)
        return np.asarray(counts / max(counts.sum(), 1), np.float64)
    columns = values.reshape(-1, task.n_outputs).astype(np.float64)
    known = np.isfinite(columns)
    return np.asarray(
        np.where(known, columns, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.float64
    )


def _most_sequences(task: Task) -> int:
    """Fewer rows for many classes: the time goes with rows times classes."""
    return max(2_000, min(MOST_SEQUENCES, 600_000 // max(task.n_outputs, 1)))


def _sample(rows: Array, limit: int, seed: int) -> Array:
    if len(rows) <= limit:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def _sequence_rows(
    task: Task, sequences: Sequence[str], targets: Values, limit: int, seed: int
) -> tuple[Array, Array]:
    rows = _sample(np.arange(len(sequences)), limit, seed)
    truth = np.asarray(targets.values)[rows]
    return composition([sequences[i] for i in rows]), truth


def _residue_rows(
    task: Task, sequences: Sequence[str], targets: Values, limit: int, seed: int
) -> tuple[Array, Array]:
    # Whole chains first, so that windows are cut for a few times the residues that are used.
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(sequences))
    enough = int(np.searchsorted(targets.lengths[order].cumsum(), 4 * limit)) + 1
    chosen = np.sort(order[:enough])
    part = targets.take(chosen)
    values = np.asarray(part.values)
    rows = _sample(np.flatnonzero(task.labelled(part)), limit, seed)
    around = features.windows([sequences[i] for i in chosen], part.lengths)
    return around[rows], values[rows]


def _learnable(task: Task, truth: Array) -> bool:
    if task.is_multi_label:
        return len(truth) > 1
    known = truth[np.isfinite(truth)] if not task.is_classification else truth
    return len(known) > 1 and bool(np.ptp(known) > 0)


def _strengths(task: Task, validation: tuple[Sequence[str], Values] | None) -> tuple[float, ...]:
    choices = STRENGTHS if task.is_classification else PENALTIES
    return choices if validation is not None and len(validation[0]) else choices[2:3]


def _fit(task: Task, around: Array, truth: Array, strength: float) -> _Linear:
    if task.per_residue:
        table: Any = features.one_hot(around)
        return _fit_rows(task, table, truth, strength)
    scaler = StandardScaler().fit(around)
    model = _fit_rows(task, scaler.transform(around), truth, strength)
    weights = model.weights / scaler.scale_
    return _Linear(weights, model.intercept - weights @ scaler.mean_, strength, model.converged)


def _fit_rows(task: Task, table: Any, truth: Array, strength: float) -> _Linear:
    if task.is_multi_label:
        return _fit_sets(table, truth, strength)
    if task.is_classification:
        return _fit_classes(table, truth, strength, task.n_outputs)
    return _fit_numbers(table, truth.reshape(len(truth), -1), strength)


def _logistic(table: Any, truth: Array, strength: float) -> tuple[LogisticRegression, bool]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-4).fit(table, truth)
    return model, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _fit_classes(table: Any, truth: Array, strength: float, classes: int) -> _Linear:
    model, converged = _logistic(table, truth, strength)
    weights, intercept = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:  # one row for the second class; the first is the zero point
        weights, intercept = np.stack([0 * weights[0], weights[0]]), np.array([0.0, intercept[0]])
    full = np.zeros((classes, weights.shape[1]))
    constant = np.full(classes, -np.inf)  # a class that never occurs in training has probability 0
    full[model.classes_], constant[model.classes_] = weights, intercept
    return _Linear(full, constant, strength, converged)


def _fit_sets(table: Any, truth: Array, strength: float) -> _Linear:
    weights = np.zeros((truth.shape[1], table.shape[1]))
    share = (truth.sum(axis=0) + 0.5) / (len(truth) + 1)
    intercept = np.log(share / (1 - share))  # of a class that all or no sequence has
    converged = True
    for i in np.flatnonzero(np.ptp(truth, axis=0) > 0):
        model, done = _logistic(table, truth[:, i] > 0.5, strength)
        weights[i], intercept[i] = model.coef_[0], model.intercept_[0]
        converged &= done
    return _Linear(weights, intercept, strength, converged)


def _fit_numbers(table: Any, truth: Array, strength: float) -> _Linear:
    weights, intercept = np.zeros((truth.shape[1], table.shape[1])), np.zeros(truth.shape[1])
    for i in range(truth.shape[1]):
        known = np.flatnonzero(np.isfinite(truth[:, i]))
        if not len(known):
            continue
        model = Ridge(alpha=strength, solver="auto").fit(table[known], truth[known, i].astype(np.float64))
        weights[i], intercept[i] = model.coef_, model.intercept_
    return _Linear(weights, intercept, strength)


def _predictor(task: Task, model: _Linear) -> Callable[[Sequence[str], Array], Floats]:
    def predict(sequences: Sequence[str], lengths: Array) -> Floats:
        if task.per_residue:
            around = features.windows(sequences, lengths)
            scores = features.linear_scores(around, model.weights, model.intercept)
        else:
            scores = composition(sequences) @ model.weights.T + model.intercept
        return np.asarray(task.probabilities(scores) if task.is_classification else scores, np.float64)

    return predict


def _choose(
    task: Task,
    candidates: Sequence[Callable[[Sequence[str], Array], Floats]],
    validation: tuple[Sequence[str], Values] | None,
) -> int:
    """Return the index of the candidate that is best on validation by the task's main metric."""
    if validation is None or len(candidates) == 1:
        return 0
    sequences, targets = _part(*validation)
    found = []
    for candidate in candidates:
        outputs = Values(candidate(sequences, targets.lengths), targets.offsets)
        found.append(compute_metrics(task, targets, outputs)[task.default_monitor])
    return int(np.argmax(np.nan_to_num(found, nan=-np.inf)))


def _part(sequences: Sequence[str], targets: Values) -> tuple[Sequence[str], Values]:
    """Return the first sequences, as many as hold the rows that suffice to choose by."""
    enough = int(np.searchsorted(targets.lengths.cumsum(), MOST_VALIDATION)) + 1
    if enough >= len(sequences):
        return sequences, targets
    return sequences[:enough], targets.take(np.arange(enough))


def _describe(task: Task, model: _Linear, rows: int, unit: str, tried: int) -> str:
    kind = "logistic" if task.is_classification else "ridge"
    what = "a one-hot window of 15 residues" if task.per_residue else "amino-acid composition"
    name = "C" if task.is_classification else "alpha"
    chosen = f"{name} = {model.strength:g}" + (" chosen on validation" if tried > 1 else "")
    return f"Composition baseline: {kind} regression on {what}, {chosen}, fitted on {rows:,} training {unit}."
