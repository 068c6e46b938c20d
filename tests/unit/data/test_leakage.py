"""Relatedness of test to train: counts and identities worked out by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from profactory.data import homology
from profactory.data.leakage import aligned_identity, count_duplicates, find_leakage, kmer_identity
from tests.support.datasets import make_dataset
from tests.support.tables import RESIDUES, random_sequences

needs_mmseqs = pytest.mark.skipif(
    homology.find_mmseqs() is None, reason='pip install "profactory[homology]" brings MMseqs2'
)


def mutated(sequence: str, changes: int, seed: int = 0) -> str:
    """Change so many residues, at places far from each other."""
    rng = random.Random(seed)
    letters = list(sequence)
    for place in range(changes):
        index = place * len(letters) // changes
        letters[index] = rng.choice([r for r in RESIDUES if r != letters[index]])
    return "".join(letters)


def test_duplicates_between_splits_by_hand() -> None:
    groups = np.array([0, 1, 2, 0, 3, 1, 1, 4])
    splits = np.array(["train", "train", "train", "validation", "validation", "test", "test", "test"])
    assert count_duplicates(groups, splits) == {"train-validation": 1, "train-test": 2, "validation-test": 0}


def test_kmer_estimate_by_hand() -> None:
    # ABCDEFGHI has the five words ABCDE … EFGHI; ABCDEFGHV shares the first four of them.
    assert kmer_identity(["ACDEFGHIK"], ["ACDEFGHIV"])[0] == pytest.approx((4 / 5) ** 0.2)
    assert kmer_identity(["ACDEFGHIK"], ["ACDEFGHIK", "WWWWWWWWW"])[0] == 1
    assert kmer_identity(["ACDEFGHIK", "ACD"], ["LMNPQRSTV"]).tolist() == [0, 0]
    assert kmer_identity(["ACDEF"], []).tolist() == [0]


def test_kmer_estimate_is_near_the_identity_of_close_relatives() -> None:
    sequence = random_sequences(1, low=200, high=200)[0]
    others = random_sequences(50, low=200, high=200, seed=9)
    for changes in (2, 10, 20):
        estimate = kmer_identity([mutated(sequence, changes)], [*others, sequence])[0]
        assert abs(estimate - (1 - changes / 200)) < 0.06


def redundant() -> tuple[list[str], list[str]]:
    """20 training sequences; test: 4 copies, 4 with 5 % changed, 4 with 35 % changed, 8 unrelated."""
    train = random_sequences(20, low=200, high=200, seed=1)
    test = train[:4] + [mutated(s, 10) for s in train[4:8]] + [mutated(s, 70) for s in train[8:12]]
    return train, test + random_sequences(8, low=200, high=200, seed=2)


@needs_mmseqs
def test_aligned_identity_is_that_of_the_alignment_by_hand() -> None:
    train, test = redundant()
    identity = aligned_identity(test, train)
    assert identity[:4].tolist() == [1, 1, 1, 1]
    assert identity[4:8] == pytest.approx([0.95] * 4, abs=0.006)
    assert identity[8:12] == pytest.approx([0.65] * 4, abs=0.02)  # ends may be cut off the alignment
    assert (identity[12:] == 0).all()


@needs_mmseqs
def test_report_subsets_and_warning() -> None:
    train, test = redundant()
    splits = ["train"] * 20 + ["test"] * 20
    leakage = find_leakage(make_dataset(train + test, None, splits), np.array(splits))
    report = json.loads(json.dumps(leakage.to_dict(), allow_nan=False))
    assert report["method"] == "mmseqs2"
    assert report["exact_duplicates"]["train-test"] == 4
    assert report["near_duplicates"] == 8
    assert report["subsets"] == {"below_30": 8, "below_50": 8, "below_90": 12}
    assert sum(report["identity_histogram"]["counts"]) == 20
    assert leakage.subsets()["below_30"].tolist() == list(range(32, 40))
    assert leakage.subsets()["below_90"].tolist() == list(range(28, 40))
    assert leakage.warning.startswith("40 % of the test sequences")


def test_without_mmseqs_the_estimate_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_binary() -> Path | None:
        return None

    monkeypatch.setattr(homology, "find_mmseqs", no_binary)
    train, test = redundant()
    splits = np.array(["train"] * 20 + ["test"] * 20)
    leakage = find_leakage(make_dataset(train + test), splits)
    assert leakage.to_dict()["method"] == "kmer_estimate"
    assert leakage.near_duplicates == 8
    assert "(estimated)" in leakage.warning


def test_duplicates_too_short_for_any_search_are_found() -> None:
    splits = np.array(["train"] * 3 + ["test"] * 2)
    leakage = find_leakage(make_dataset(["MK", "AC", "DEF", "MK", "WY"]), splits)
    assert leakage.identity.tolist() == [1, 0]


def test_no_test_set_and_unrelated_test_set_have_no_warning() -> None:
    sequences = random_sequences(10, low=50, high=60)
    empty = find_leakage(make_dataset(sequences), np.array(["train"] * 8 + ["validation"] * 2))
    assert empty.warning == ""
    assert empty.to_dict()["median_identity"] is None
    clean = find_leakage(make_dataset(sequences), np.array(["train"] * 5 + ["test"] * 5))
    assert clean.warning == ""
    assert clean.to_dict()["subsets"] == {"below_30": 5, "below_50": 5, "below_90": 5}


def test_the_estimate_does_not_claim_what_it_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unrelated sequences share words by chance; that is no identity, and no subset below it."""
    monkeypatch.setattr(homology, "find_mmseqs", lambda: None)
    sequences = random_sequences(300, low=300, high=400, seed=4)
    leakage = find_leakage(make_dataset(sequences), np.array(["train"] * 280 + ["test"] * 20))
    assert (kmer_identity(sequences[280:], sequences[:280]) > 0.3).any()
    assert (leakage.identity == 0).all()
    assert list(leakage.subsets()) == ["below_90"]
    assert "below 60 % identity were not looked for" in leakage.note


def test_variants_of_one_protein_are_no_fault_of_the_split() -> None:
    """A mutational scan cannot be divided by homology, so that is not proposed."""
    (parent,) = random_sequences(1, low=120, high=120)
    variants = [mutated(parent, 2, seed) for seed in range(30)]
    leakage = find_leakage(make_dataset(variants), np.array(["train"] * 20 + ["test"] * 10))
    assert leakage.warning.startswith("All test sequences")
    assert "homology" not in leakage.warning
