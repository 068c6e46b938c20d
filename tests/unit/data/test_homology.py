"""Homology splits against brute-force identity: families made by substitution need no alignment."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from profactory.data import homology
from profactory.data.grouping import majority_by_rows
from profactory.data.integers import number_groups
from profactory.data.prepare import prepare_dataset
from profactory.data.splitting import assign_splits, folds
from profactory.errors import MissingExtraError, SplitError
from tests.support.datasets import make_dataset
from tests.support.tables import RESIDUES, random_sequences

needs_mmseqs = pytest.mark.skipif(
    homology.find_mmseqs() is None, reason='pip install "profactory[homology]" brings MMseqs2'
)


def relative(sequence: str, identity: float, rng: random.Random) -> str:
    """Change exactly the share of residues that leaves this identity."""
    letters = list(sequence)
    for index in rng.sample(range(len(letters)), round(len(letters) * (1 - identity))):
        letters[index] = rng.choice([residue for residue in RESIDUES if residue != letters[index]])
    return "".join(letters)


def families(count: int = 30, members: int = 5, length: int = 120) -> list[str]:
    """Return families whose members have 70 to 95 % identity to a founder."""
    rng = random.Random(5)
    founders = random_sequences(count, low=length, high=length, seed=3)
    found = [relative(f, rng.uniform(0.7, 0.95), rng) for f in founders for _ in range(members)]
    rng.shuffle(found)
    return found


def across_at_least(sequences: list[str], sides: np.ndarray, identity: float) -> int:  # type: ignore[type-arg]
    """Count pairs on different sides with at least this identity, residue by residue, all against all."""
    letters = np.array([list(sequence) for sequence in sequences])
    same = (letters[:, None, :] == letters[None, :, :]).mean(axis=2)
    return int(((same >= identity) & (sides[:, None] != sides[None, :])).sum()) // 2


@needs_mmseqs
@pytest.mark.parametrize("searched_by", ["all pairs", "similar words"])
def test_no_relative_is_on_the_other_side_by_brute_force(
    searched_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if searched_by == "similar words":
        monkeypatch.setattr(homology, "ALL_PAIRS_BELOW", 0)
    sequences = families()
    data = make_dataset(sequences)
    division = assign_splits(data, None, method="homology", identity=0.4, ratios=(0.8, 0.1, 0.1), threads=1)
    counts = [int((division.splits == name).sum()) for name in ("train", "validation", "test")]
    assert counts == [120, 15, 15]
    assert across_at_least(sequences, division.splits, 0.4) == 0
    assert "finds no pair above the identity" in division.note
    # The brute force does see relatives: a random split has many on different sides.
    chance = assign_splits(data, None, method="random")
    assert across_at_least(sequences, chance.splits, 0.4) > 50


@needs_mmseqs
def test_every_pair_is_aligned_in_small_sets_and_finds_at_least_what_words_find(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sequences = families(count=10)
    every = homology.search(sequences, sequences, identity=0.4)
    peptides = [sequence[:10] for sequence in sequences]
    near = homology.search(peptides, peptides, coverage=0.5, e_value="0.001")
    monkeypatch.setattr(homology, "ALL_PAIRS_BELOW", 0)
    words = homology.search(sequences, sequences, identity=0.4)
    found, others = (set(zip(p.query.tolist(), p.target.tolist(), strict=True)) for p in (every, words))
    assert found >= others
    assert len(found) >= 10 * 5  # each at least itself
    assert len(near) > len(homology.search(peptides, peptides, coverage=0.5, e_value="0.001"))


@needs_mmseqs
def test_homology_folds_keep_families_together() -> None:
    sequences = families(count=12)
    fold = folds(make_dataset(sequences), None, 3, method="homology", identity=0.4, threads=1)
    assert np.bincount(fold).tolist() == [20, 20, 20]
    assert across_at_least(sequences, fold, 0.4) == 0


@needs_mmseqs
def test_variants_of_one_protein_cannot_be_divided_by_homology() -> None:
    rng = random.Random(1)
    parent = random_sequences(1, low=80, high=80)[0]
    variants = [relative(parent, 0.97, rng) for _ in range(20)]
    with pytest.raises(SplitError, match="so related"):
        assign_splits(make_dataset(variants), None, method="homology", threads=1)


def test_without_mmseqs_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binary() -> Path | None:
        return None

    monkeypatch.setattr(homology, "find_mmseqs", no_binary)
    with pytest.raises(MissingExtraError, match=r"profactory\[homology\]"):
        assign_splits(make_dataset(families(4)), None, method="homology")


def test_numbering_and_majority_by_hand() -> None:
    assert number_groups(np.array([7, 3, 7, 9, 3])).tolist() == [0, 1, 0, 2, 1]
    # Cluster 0 has 1 + 1 rows in part 0 and 3 in part 1; cluster 5 is in part 2 already.
    clusters, where, sizes = np.array([0, 0, 0, 5]), np.array([0, 0, 1, 2]), np.array([1, 1, 3, 4])
    assert majority_by_rows(clusters, where, sizes).tolist() == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (134, "terminate called after throwing\n  what():  std::bad_alloc\nAborted", "out of memory"),
        (-9, "", "out of memory"),
        (127, "cascaded_clustering.sh: 37: mkdir: not found", "misses a tool"),
        (1, "Error: disk full", "code 1 at `cluster`: Error: disk full"),
    ],
)
def test_why_mmseqs_failed(code: int, words: str, said: str) -> None:
    error = homology.failure("cluster", code, words)
    assert said in error.found
    assert error.fix


@needs_mmseqs
@pytest.mark.parametrize("folded", [False, pytest.param(True, marks=pytest.mark.extensive)])
def test_no_bundled_relative_is_across_by_local_alignment(folded: bool) -> None:
    """Every pair across the parts, aligned by biotite's Smith-Waterman, which knows nothing of k-mers."""
    from biotite.sequence import ProteinSequence
    from biotite.sequence.align import SubstitutionMatrix, align_optimal, get_sequence_identity

    data = prepare_dataset("bundled:demo-location", limit=36 if folded else 90).dataset
    if folded:
        sides = folds(data, None, 3, method="homology", identity=0.3, threads=1)
        assert np.bincount(sides).min() >= 10
    else:
        division = assign_splits(data, None, method="homology", identity=0.3, threads=1)
        sides = (division.splits != "train").astype(int)
    sequences = [ProteinSequence(text) for text in data.sequences]
    matrix = SubstitutionMatrix.std_protein_matrix()
    for one, other in zip(*np.nonzero(sides[:, None] > sides), strict=True):
        pair = sequences[one], sequences[other]
        if min(map(len, pair)) < 0.8 * max(map(len, pair)):
            continue  # cannot cover 80 % of both
        best = align_optimal(*pair, matrix, (-11, -1), local=True, max_number=1)[0]
        covered = min((best.trace[:, i] >= 0).sum() / len(pair[i]) for i in range(2))
        assert covered < 0.8 or get_sequence_identity(best, mode="all") < 0.3
