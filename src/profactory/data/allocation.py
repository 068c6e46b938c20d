"""Dividing units (groups of rows that must stay together) into parts, near to the shares asked for.

A unit is one sequence with all its exact duplicates, or a whole cluster of relatives. The same code serves
random, stratified and homology splits, and folds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.integers import Ints, small_type

Floats = NDArray[np.float64]
BULKY = 0.5  # a unit above this share of the smallest part is placed before the others


def allocate(
    sizes: Ints,
    shares: Sequence[float],
    rng: np.random.Generator,
    *,
    strata: Ints | None = None,
    labels: Ints | None = None,
) -> Ints:
    """Put every unit into one part.

    Parameters
    ----------
    sizes
        Rows in each unit, shape ``(units,)``.
    shares
        Share of the rows wanted in each part; they add up to 1. A part with share 0 stays empty.
    rng
        Source of the random order; the same state gives the same division.
    strata
        Stratum of each unit, shape ``(units,)``: each part gets its share of every stratum.
    labels
        Instead of strata, for multi-label data: rows with each label in each unit, shape ``(units, labels)``.

    Returns
    -------
    parts
        Index of the part of each unit, shape ``(units,)``. Every part with a share has at least one unit
        if there are as many units as parts, and every stratum is met in the first part.
    """
    wanted = np.asarray(shares, np.float64) * sizes.sum()
    parts = np.full(len(sizes), -1, np.int16)
    left = _place_bulky(sizes, wanted, parts, rng)
    placed = (parts >= 0).any()
    rest = np.flatnonzero(parts < 0) if placed else slice(None)
    if len(parts[rest]):
        ratio = left / left.sum() if left.sum() > 0 else np.asarray(shares, np.float64)
        if labels is not None:
            parts[rest] = _iterative(sizes[rest], labels[rest], ratio, rng)
        else:
            parts[rest] = _by_strata(sizes[rest], None if strata is None else strata[rest], ratio, rng)
    _fill_empty(parts, sizes, wanted > 0)
    return parts


def _place_bulky(sizes: Ints, wanted: Floats, parts: Ints, rng: np.random.Generator) -> Floats:
    """Place units that would upset the shares, largest first, where most is missing; return what is left."""
    left = wanted.copy()
    smallest = wanted[wanted > 0].min()
    bulky = np.flatnonzero((sizes > 1) & (sizes > BULKY * smallest))
    bulky = rng.permutation(bulky)
    for unit in bulky[np.argsort(-sizes[bulky], kind="stable")]:
        part = int(np.argmax(left))
        parts[unit] = part
        left[part] -= sizes[unit]
    return np.clip(left, 0, None)


def _by_strata(sizes: Ints, strata: Ints | None, ratio: Floats, rng: np.random.Generator) -> Ints:
    """Divide each stratum by itself; what rounding took from a part there, the next stratum gives back."""
    parts = np.zeros(len(sizes), np.int16)
    carry = np.zeros(len(ratio))
    for members in sorted(_groups(len(sizes), strata, rng), key=lambda group: int(sizes[group].sum())):
        rows = sizes[members]  # rare classes first
        ends = np.cumsum(rows, dtype=np.int64)
        ideal = ends[-1] * ratio + carry
        cuts = _cuts(rows, ends, np.cumsum(_whole(ideal, int(ends[-1]))))
        if ratio[0] > 0:
            cuts = np.maximum(cuts, 1)  # a class that is never seen in training cannot be learned
        for part, (start, stop) in enumerate(itertools.pairwise([0, *cuts])):
            parts[members[start:stop]] = part
        carry = ideal - np.diff(np.where(cuts > 0, ends[cuts - 1], 0), prepend=0)
    return parts


def _groups(count: int, strata: Ints | None, rng: np.random.Generator) -> list[Ints]:
    """Return the members of each stratum, in random order."""
    order = rng.permutation(count).astype(small_type(count))
    if strata is None:
        return [order]
    order = order[np.argsort(strata[order], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)


def _cuts(rows: Ints, ends: Ints, bounds: Ints) -> Ints:
    """Return before which unit each part ends: a unit is in the part in which its middle lies."""
    cuts = np.searchsorted(ends, bounds)
    return np.asarray(cuts + (2 * ends[cuts] - rows[cuts] < 2 * bounds), np.int64)


def _whole(ideal: Floats, total: int) -> Ints:
    """Round to whole numbers that are not negative and add up to `total`, by the largest remainder."""
    counts = np.floor(np.clip(ideal, 0, None)).astype(np.int64)
    while counts.sum() < total:
        counts[np.argmax(ideal - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 0, counts - ideal, -np.inf))] -= 1
    return counts


def _iterative(sizes: Ints, labels: Ints, ratio: Floats, rng: np.random.Generator) -> Ints:
    """Iterative stratification: rarest label first, each unit to the part that wants that label most.

    Sechidis, Tsoumakas, Vlahavas (2011) On the stratification of multi-label data, ECML PKDD,
    doi:10.1007/978-3-642-23808-6_10; here for units of several rows. Known packages divide single rows into
    equal folds only, so that neither duplicates nor clusters would stay together.
    """
    parts = np.full(len(sizes), -1, np.int64)
    wanted_rows = ratio * sizes.sum()
    wanted = np.outer(ratio, labels.sum(axis=0))  # (parts, labels)
    remaining = labels.sum(axis=0)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    while (remaining > 0).any():
        label = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(np.int64).max)))
        members = order[(parts[order] < 0) & (labels[order, label] > 0)]
        for unit in members:
            part = _neediest(wanted[:, label], wanted_rows)
            parts[unit] = part
            wanted[part] -= labels[unit]
            wanted_rows[part] -= sizes[unit]
        remaining = remaining - labels[members].sum(axis=0)
    for unit in order[parts[order] < 0]:  # rows without any label
        parts[unit] = int(np.argmax(wanted_rows))
        wanted_rows[parts[unit]] -= sizes[unit]
    return parts


def _neediest(wanted: Floats, wanted_rows: Floats) -> int:
    """Return the part that misses most of a label; between equals, the one that misses most rows."""
    best = np.flatnonzero(wanted >= wanted.max() - 1e-9)
    return int(best[np.argmax(wanted_rows[best])])


def _fill_empty(parts: Ints, sizes: Ints, needed: NDArray[np.bool_]) -> None:
    """Give an empty part the smallest unit of the part with most units, as far as there are enough units."""
    counts = np.array([np.count_nonzero(parts == part) for part in range(len(needed))])
    for part in np.flatnonzero(needed & (counts == 0)):
        donor = int(np.argmax(counts))
        if counts[donor] > 1:
            members = np.flatnonzero(parts == donor)
            parts[members[np.argmin(sizes[members])]] = part
            counts[donor], counts[part] = counts[donor] - 1, 1


def majority(units: Ints, values: Ints) -> Ints:
    """Return the commonest value among the rows of each unit (the smallest of equals), shape ``(units,)``.

    Parameters
    ----------
    units, values
        Unit (from 0, without holes) and value of each row, shape ``(rows,)``.
    """
    result = np.zeros(int(units.max(initial=-1)) + 1, values.dtype)
    result[units] = values  # of most units there is one row
    several = np.flatnonzero((np.bincount(units) > 1)[units])
    pairs, counts = np.unique(np.stack([units[several], values[several]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    unit, first = np.unique(pairs[0][order], return_index=True)
    result[unit] = pairs[1][order][first]
    return result


def label_counts(units: Ints, matrix: NDArray[Any]) -> Ints:
    """Return how many rows of each unit have each label, shape ``(units, labels)``."""
    counts = np.zeros((int(units.max(initial=-1)) + 1, matrix.shape[1]), np.int64)
    np.add.at(counts, units, matrix.astype(np.int64))
    return counts


def quantile_bins(values: NDArray[Any], most: int = 10) -> Ints:
    """Return the quantile bin of each number, at least ten rows to a bin; missing numbers have their own."""
    bins = np.zeros(len(values), np.int64)
    known = np.isfinite(values)
    count = int(min(most, max(1, known.sum() // 10)))
    if known.any():
        edges = np.unique(np.quantile(values[known], np.arange(1, count) / count))
        bins[known] = np.searchsorted(edges, values[known], side="right")
    bins[~known] = most
    return bins
