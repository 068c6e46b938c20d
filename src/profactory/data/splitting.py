"""Dividing a data set into train, validation and test, or into folds.

Exact duplicates of a sequence always stay on one side, with every method: a test sequence that was trained
on measures memory. Methods:

``given``
    What the data say. A missing validation set is cut off the training set, never copied from it.
``random``
    Random.
``stratified``
    Random, with the same share of each class, each label (iterative stratification) or each quantile of
    a regression target everywhere. Per-residue tasks have no strata and are divided at random.
``homology``
    Whole clusters of relatives (MMseqs2), verified by a search across the splits.
``auto``
    ``given`` if the data are divided, else ``stratified``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.allocation import allocate, label_counts, majority, quantile_bins
from profactory.data.dataset import Dataset
from profactory.data.grouping import Units, check_enough, exact_groups, make_units, separate
from profactory.data.integers import Ints
from profactory.data.labels import encode_labels
from profactory.errors import SplitError
from profactory.tasks import Task, Values

SPLITS = ("train", "validation", "test")
METHODS = ("auto", "given", "random", "stratified", "homology")
Ratios = tuple[float, float, float]
Names = NDArray[np.object_]


@dataclass(frozen=True)
class Division:
    """How rows were divided.

    Parameters
    ----------
    splits
        ``train``, ``validation`` or ``test`` for each row, shape ``(n,)``.
    note
        Sentences for the user: what was done and what to know about it.
    method
        The method that was used.
    details
        The same for JSON: seed, ratios asked for and reached, duplicates, clusters, pairs found and removed.
    """

    splits: Names
    note: str
    method: str
    details: dict[str, Any] = field(default_factory=dict)


def assign_splits(
    dataset: Dataset,
    task: Task | None,
    *,
    method: str = "auto",
    ratios: Ratios = (0.8, 0.1, 0.1),
    seed: int = 0,
    identity: float = 0.3,
    coverage: float = 0.8,
    threads: int | None = None,
) -> Division:
    """Put each row into train, validation or test.

    Parameters
    ----------
    dataset
        The rows.
    task
        What the labels mean, for strata; None without labels (then ``stratified`` is random).
    method
        One of ``METHODS``.
    ratios
        Shares of train, validation and test; a share of 0 leaves that split out.
    seed
        Same data, method and seed: same division.
    identity, coverage
        For ``homology``: no two sequences on different sides have an alignment with this identity that covers
        this share of both.
    threads
        Processor threads for MMseqs2.

    Raises
    ------
    SplitError
        The data cannot be divided so.
    MissingExtraError
        ``homology`` without MMseqs2.
    """
    _check(method, ratios, identity, coverage)
    divided = dataset.divided
    if method == "given" or (method == "auto" and divided):
        return _given(dataset, task, dataset.splits, ratios, seed)
    method = "stratified" if method == "auto" else method
    rng = np.random.default_rng(seed)
    units = make_units(dataset, method, identity, coverage, threads)
    check_enough(units, sum(ratio > 0 for ratio in ratios))
    parts = _allocate_rows(dataset, task, method, units, ratios, rng)
    details: dict[str, Any] = {"method": method, "seed": seed, "ratios": list(ratios), **units.details}
    sentences = [_method_sentence(method, task, ratios, identity, coverage, seed)]
    if divided:
        sentences.append("The split column of the data was not used.")
    if method == "homology":
        parts, verified = separate(dataset, units, parts, identity, coverage, threads)
        details |= verified
        sentences.append(_verified_sentence(verified))
    splits = np.array(SPLITS, object)[parts]
    details["rows"] = count_splits(splits)
    return Division(splits, " ".join([*sentences, *units.sentences, *_off(splits, ratios)]), method, details)


def folds(
    dataset: Dataset,
    task: Task | None,
    k: int,
    *,
    method: str = "stratified",
    seed: int = 0,
    identity: float = 0.3,
    coverage: float = 0.8,
    threads: int | None = None,
) -> Ints:
    """Put each row into one of `k` folds of like size, by the same methods.

    Parameters
    ----------
    k
        Number of folds, at least 2.
    method
        ``random``, ``stratified`` or ``homology``.
    dataset, task, seed, identity, coverage, threads
        As for :func:`assign_splits`.

    Returns
    -------
    Ints
        Fold of each row, from 0; shape ``(n,)``.

    Raises
    ------
    SplitError, MissingExtraError
        As :func:`assign_splits`.
    """
    if k < 2 or method not in METHODS[2:]:
        raise SplitError(
            f"{k} folds by method {method!r} cannot be made.",
            expected="at least 2 folds by random, stratified or homology",
        )
    shares = (1 / k,) * k
    _check_bounds(identity, coverage)
    units = make_units(dataset, method, identity, coverage, threads)
    check_enough(units, k)
    parts = _allocate_rows(dataset, task, method, units, shares, np.random.default_rng(seed))
    if method == "homology":
        parts, _ = separate(dataset, units, parts, identity, coverage, threads)
    return parts


def count_splits(splits: NDArray[Any]) -> dict[str, int]:
    """Return the rows in each split."""
    return {name: int((splits == name).sum()) for name in SPLITS}


def _allocate_rows(
    dataset: Dataset,
    task: Task | None,
    method: str,
    units: Units,
    shares: Sequence[float],
    rng: np.random.Generator,
    rows: Ints | None = None,
) -> Ints:
    """Divide whole units; return the part of each row. `rows` are the rows that `units` is about, or all."""
    sizes = np.bincount(units.of_row).astype(units.of_row.dtype)
    if method == "random" or task is None or task.per_residue:
        return allocate(sizes, shares, rng)[units.of_row]
    values = encode_labels(dataset, task, rows)
    if task.is_multi_label:
        return allocate(sizes, shares, rng, labels=label_counts(units.of_row, values.values))[units.of_row]
    strata = majority(units.of_row, _strata(task, values))
    return allocate(sizes, shares, rng, strata=strata)[units.of_row]


def _strata(task: Task, values: Values) -> Ints:
    """Return the class, or the quantile bin of the first target, of each row."""
    if task.is_classification:
        return values.values.astype(np.int64)
    return quantile_bins(values.values[:, 0])


def _given(dataset: Dataset, task: Task | None, given: Names, ratios: Ratios, seed: int) -> Division:
    """Keep the division of the data; cut what is missing off the training set."""
    empty = int((given == "").sum())
    if empty:
        raise SplitError(
            "The data are not divided."
            if empty == len(given)
            else f"{empty:,} of {len(given):,} rows are in no split.",
            expected="a split column that says train, validation or test in every row, or a file for each",
            fix="fill the column, or divide the data with --split stratified, random or homology",
        )
    counts = count_splits(given)
    if not counts["train"]:
        raise SplitError("No row is in the train split.", fix="divide the data anew with --split stratified")
    sentences = ["The data are divided as given."]
    missing = [n for n, c, ratio in zip(SPLITS, counts.values(), ratios, strict=True) if not c and ratio > 0]
    splits = given
    if "validation" in missing:
        cut = missing if counts["validation"] + counts["test"] == 0 else ["validation"]
        splits = _cut_off_train(dataset, task, given, dict(zip(SPLITS, ratios, strict=True)), cut, seed)
        now = count_splits(splits)
        taken = " and ".join(f"{now[name]:,} rows of train became {name}" for name in cut)
        sentences.append(f"They have no {' and no '.join(cut)} split: {taken} (stratified, seed {seed}).")
    if not count_splits(splits)["test"]:
        sentences.append("There is no test split: nothing will be reported on unseen data.")
    return Division(
        splits, " ".join(sentences), "given", {"method": "given", "seed": seed, "rows": count_splits(splits)}
    )


def _cut_off_train(
    dataset: Dataset,
    task: Task | None,
    given: Names,
    ratio: dict[str, float],
    cut: list[str],
    seed: int,
) -> Names:
    rows = np.flatnonzero(given == "train")
    units = Units(exact_groups(dataset.select(rows).sequences))
    names = ["train", *cut]
    check_enough(units, len(names))
    shares = np.array([ratio[name] for name in names])
    rng = np.random.default_rng(seed)
    parts = _allocate_rows(dataset, task, "stratified", units, shares / shares.sum(), rng, rows)
    splits = given.copy()
    splits[rows] = np.array(names, object)[parts]
    return splits


def _check(method: str, ratios: Sequence[float], identity: float, coverage: float) -> None:
    if method not in METHODS:
        raise SplitError(f"There is no split method {method!r}.", expected=f"one of {', '.join(METHODS)}")
    if len(ratios) != 3 or min(ratios) < 0 or not 0.999 < sum(ratios) < 1.001 or ratios[0] <= 0:
        raise SplitError(
            f"The shares {' '.join(f'{r:g}' for r in ratios)} cannot be used.",
            expected="three shares for train, validation and test that add up to 1, the first above 0",
            fix="for example --ratios 0.8 0.1 0.1",
        )
    _check_bounds(identity, coverage)


def _check_bounds(identity: float, coverage: float) -> None:
    if not 0 < identity <= 1 or not 0 < coverage <= 1:
        raise SplitError(
            f"Identity {identity:g} and coverage {coverage:g} cannot be used.",
            expected="shares above 0 and up to 1, such as 0.3 for 30 %",
        )


def _method_sentence(
    method: str, task: Task | None, ratios: Ratios, identity: float, coverage: float, seed: int
) -> str:
    shares = " / ".join(f"{100 * ratio:g}" for ratio in ratios)
    how = {"random": "at random", "stratified": "by stratum of the label"}.get(method, "by homology")
    if method == "stratified" and (task is None or task.per_residue):
        how = "at random (there are no strata for per-residue labels)" if task else "at random (no labels)"
    if method == "homology":
        how += f" (clusters at {100 * identity:g} % identity over {100 * coverage:g} % of both sequences)"
    return f"The rows were divided {how} into {shares} % train / validation / test, seed {seed}."


def _verified_sentence(details: dict[str, Any]) -> str:
    found = details["cross_pairs_joined"]
    joined = f" after {found:,} pairs that the clustering missed were brought together" if found else ""
    return f"A search across the splits finds no pair above the identity{joined}."


def _off(splits: Names, ratios: Ratios) -> list[str]:
    """Say so when duplicates or clusters kept a split far from its share."""
    counts = count_splits(splits)
    return [
        f"{name} holds {100 * counts[name] / len(splits):.1f} % of the rows instead of {100 * ratio:g} %:"
        " groups that must stay together allow no better."
        for name, ratio in zip(SPLITS, ratios, strict=True)
        if abs(counts[name] / len(splits) - ratio) > max(0.2 * ratio, 1.5 / len(splits))
    ]
