"""Rows that must stay on one side of a split: exact duplicates, and relatives found by MMseqs2."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from profactory.data import homology
from profactory.data.dataset import Dataset
from profactory.data.integers import Ints, number_groups
from profactory.errors import SplitError

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class Units:
    """Rows that must stay together: the unit of each row, from 0 without gaps, and what was found."""

    of_row: Ints
    sentences: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


def exact_groups(sequences: Sequence[str]) -> Ints:
    """Return the same number for rows with the same sequence, from 0 in order of occurrence; shape ``(n,)``.

    Sequences are compared by a 64-bit hash, Python's own, keyed anew in every process; should two different
    ones ever share a hash they would merely stay on one side.
    """
    return number_groups(np.fromiter(map(hash, sequences), np.int64, len(sequences)))


def make_units(dataset: Dataset, method: str, identity: float, coverage: float, threads: int | None) -> Units:
    groups = exact_groups(dataset.sequences)
    extra = len(groups) - int(groups.max(initial=-1)) - 1
    sentences = [f"{extra:,} exact duplicates stay on one side with their originals."] if extra else []
    details: dict[str, Any] = {"exact_duplicates": extra}
    if method != "homology":
        return Units(groups, tuple(sentences), details)
    unique = dataset.select(np.unique(groups, return_index=True)[1])  # the first sequence of each group
    log.info("clustering %s sequences at %.0f %% identity", f"{len(unique):,}", 100 * identity)
    clusters = homology.cluster(unique.sequences, identity=identity, coverage=coverage, threads=threads)
    details |= {"identity": identity, "coverage": coverage, "clusters": int(clusters.max(initial=-1)) + 1}
    if np.median(unique.lengths) < homology.SHORT:
        sentences.append(
            f"Most sequences have fewer than {homology.SHORT} residues;"
            " among such peptides MMseqs2 misses relatives."
        )
    return Units(clusters[groups], tuple(sentences), details)


def separate(
    dataset: Dataset, units: Units, parts: Ints, identity: float, coverage: float, threads: int | None
) -> tuple[Ints, dict[str, Any]]:
    """Search across the parts and join what is related, until no related pair is on different sides.

    A pair that the clustering missed joins its two clusters; both go where most of their rows are.
    Only what moved can be related to something new, so only that is searched again. Each round joins at
    least two clusters, hence it ends.
    """
    groups = exact_groups(dataset.sequences)
    first = np.unique(groups, return_index=True)[1]
    unique = dataset.select(first)
    sizes = np.bincount(groups)
    clusters, where = units.of_row[first].copy(), parts[first].copy()
    largest = int(np.argmax(np.bincount(where, weights=sizes)))
    moved = np.flatnonzero(where != largest)  # any pair across has a side outside of the largest part
    found, rounds = 0, 0
    while len(moved):
        rounds += 1
        log.info("searching across the splits for relatives of %s sequences", f"{len(moved):,}")
        left, right = _search(unique, _turns(where, moved, first=rounds == 1), identity, coverage, threads)
        across = where[left] != where[right]
        found += int(across.sum())
        clusters = _joined(clusters, left[across], right[across])
        before = where
        where = majority_by_rows(clusters, where, sizes)
        moved = np.flatnonzero(before != where)
    if len(np.unique(where)) < len(np.unique(parts)):
        raise _too_related(identity)
    details = {"cross_pairs_joined": found, "search_rounds": rounds, "clusters": len(np.unique(clusters))}
    return where[groups], details


def _turns(where: Ints, moved: Ints, *, first: bool) -> Iterator[tuple[Ints, Ints]]:
    """Yield what is searched for in what, so that every pair across the parts with a side in `moved` is seen.

    At first these are many, and part after part is compared with what is in none of the parts before: half
    the work, as no pair is aligned twice and none within a part. Later they are few, and one search does.
    """
    if not first:
        yield moved, np.arange(len(where))
        return
    left = np.ones(len(where), bool)
    for part in np.unique(where[moved]):
        queries = moved[where[moved] == part]
        left[queries] = False
        yield queries, np.flatnonzero(left & (where != part))


def _search(
    unique: Dataset, turns: Iterable[tuple[Ints, Ints]], identity: float, coverage: float, threads: int | None
) -> tuple[Ints, Ints]:
    """Return the related pairs that searches find, as places in `unique`."""
    left, right = [], []
    for queries, targets in turns:
        pairs = homology.search(
            unique.select(queries).sequences,
            unique.select(targets).sequences,
            identity=identity,
            coverage=coverage,
            threads=threads,
        )
        left.append(queries[pairs.query])
        right.append(targets[pairs.target])
    return np.concatenate(left), np.concatenate(right)


def majority_by_rows(clusters: Ints, where: Ints, sizes: Ints) -> Ints:
    """Return for each sequence the part in which most rows of its cluster are, shape ``(sequences,)``."""
    dense = number_groups(clusters)
    weights = np.zeros((int(dense.max(initial=-1)) + 1, int(where.max(initial=0)) + 1), np.int64)
    np.add.at(weights, (dense, where), sizes)
    return np.asarray(weights.argmax(axis=1)[dense], np.int64)


def _joined(clusters: Ints, left: Ints, right: Ints) -> Ints:
    """Join the clusters that the pairs link."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = int(clusters.max(initial=-1)) + 1
    links = coo_array((np.ones(len(left), bool), (clusters[left], clusters[right])), shape=(count, count))
    _, component = connected_components(links, directed=False)
    return np.asarray(component[clusters], np.int64)


def check_enough(units: Units, parts: int) -> None:
    count = int(units.of_row.max(initial=-1)) + 1
    if count >= parts:
        return
    if "clusters" in units.details:
        raise _too_related(units.details["identity"])
    raise SplitError(
        f"{count} different sequences cannot be divided into {parts} parts.",
        expected=f"at least {parts} different sequences (duplicates stay on one side)",
        fix="add rows",
    )


def _too_related(identity: float) -> SplitError:
    return SplitError(
        f"At {100 * identity:g} % identity the sequences are so related that too few groups are left.",
        expected="at least one separate group for each split",
        fix="take a higher --identity, or for variants of one protein --method stratified or random",
    )
