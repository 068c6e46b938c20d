"""Splits: partition, shares, determinism, duplicates on one side; numbers worked out by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profactory.data.allocation import _cuts, allocate, majority, quantile_bins
from profactory.data.integers import number_groups
from profactory.data.labels import encode_labels
from profactory.data.splitting import SPLITS, assign_splits, exact_groups, folds
from profactory.errors import SplitError
from profactory.tasks import Task, TaskKind
from tests.support.datasets import make_dataset
from tests.support.tables import random_sequences

SINGLE = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
RATIOS = (0.8, 0.1, 0.1)


def counts(splits: np.ndarray[Any, Any]) -> dict[str, int]:
    return dict(Counter(splits.tolist()))


def different(count: int, seed: int = 0) -> list[str]:
    sequences = random_sequences(count, seed=seed, low=20)
    assert len(set(sequences)) == count
    return sequences


def test_random_split_has_the_shares_asked_for() -> None:
    division = assign_splits(make_dataset(different(100)), None, method="random", ratios=RATIOS)
    assert counts(division.splits) == {"train": 80, "validation": 10, "test": 10}


def test_stratified_split_keeps_the_share_of_each_class() -> None:
    labels = ["a"] * 90 + ["b"] * 30
    data = make_dataset(different(120), labels)
    splits = assign_splits(data, SINGLE, method="stratified", ratios=(0.8, 0.1, 0.1)).splits
    table = Counter(zip(splits.tolist(), labels, strict=True))
    assert table == {
        ("train", "a"): 72,
        ("validation", "a"): 9,
        ("test", "a"): 9,
        ("train", "b"): 24,
        ("validation", "b"): 3,
        ("test", "b"): 3,
    }


def test_stratified_shares_hold_over_many_small_classes() -> None:
    """40 classes of 3: 96, 12 and 12 rows; rounding each class by itself would give test none."""
    names = tuple(f"c{i:02}" for i in range(40))
    labels = [name for name in names for _ in range(3)]
    task = Task(TaskKind.SINGLE_LABEL, names)
    splits = assign_splits(make_dataset(different(120), labels), task, method="stratified").splits
    assert counts(splits) == {"train": 96, "validation": 12, "test": 12}
    assert {label for label, split in zip(labels, splits, strict=True) if split == "train"} == set(names)


def test_a_class_with_one_row_is_in_train() -> None:
    labels = ["a"] * 99 + ["b"]
    for seed in range(20):
        splits = assign_splits(make_dataset(different(100), labels), SINGLE, seed=seed).splits
        assert splits[99] == "train"


def test_regression_is_stratified_by_quantile() -> None:
    labels = [str(i) for i in range(100)]
    task = Task(TaskKind.REGRESSION)
    splits = assign_splits(make_dataset(different(100), labels), task, method="stratified").splits
    for low in range(0, 100, 10):  # ten bins of ten: eight, one and one of each
        assert counts(splits[low : low + 10]) == {"train": 8, "validation": 1, "test": 1}


def test_quantile_bins_by_hand() -> None:
    values = np.array([float(i) for i in range(20)] + [np.nan])
    bins = quantile_bins(values)
    assert bins[:20].tolist() == [0] * 10 + [1] * 10  # 20 numbers make two bins
    assert bins[20] not in bins[:20]
    assert quantile_bins(np.zeros(50)).tolist() == [quantile_bins(np.zeros(50))[0]] * 50


def test_multi_label_shares_of_every_label() -> None:
    rng = np.random.default_rng(1)
    names = tuple("pqrst")
    frequency = np.array([0.5, 0.3, 0.2, 0.1, 0.05])
    matrix = rng.random((2000, 5)) < frequency
    cells = [",".join(np.array(names)[row]) for row in matrix]
    task = Task(TaskKind.MULTI_LABEL, names)
    splits = assign_splits(make_dataset(different(2000), cells), task, method="stratified").splits
    for share, split in zip(RATIOS, SPLITS, strict=True):
        assert abs((splits == split).sum() - share * 2000) <= 5
        # Random would be off by about the root of the expected count, 14 for the first label of test.
        assert (np.abs(matrix[splits == split].sum(0) - share * matrix.sum(0)) <= 2).all()


def test_duplicates_stay_on_one_side_and_count_with_their_rows() -> None:
    sequences = different(50) * 2
    for method in ("random", "stratified"):
        for seed in range(5):
            data = make_dataset(sequences, ["a", "b"] * 50)
            splits = assign_splits(data, SINGLE, method=method, seed=seed).splits
            assert splits[:50].tolist() == splits[50:].tolist()
            assert counts(splits) == {"train": 80, "validation": 10, "test": 10}


def test_many_copies_of_one_sequence_go_to_train() -> None:
    sequences = ["MKTAYIAKQR"] * 60 + different(40)
    division = assign_splits(make_dataset(sequences), None, method="random")
    assert set(division.splits[:60]) == {"train"}
    assert counts(division.splits) == {"train": 80, "validation": 10, "test": 10}
    assert division.details["exact_duplicates"] == 59
    assert "59 exact duplicates" in division.note


def test_share_that_cannot_be_reached_is_said() -> None:
    sequences = ["MKTAYIAKQR"] * 95 + different(5)
    division = assign_splits(make_dataset(sequences), None, method="random")
    assert "test holds" in division.note
    assert all(counts(division.splits)[name] for name in SPLITS)


def test_a_share_of_zero_leaves_the_split_out() -> None:
    splits = assign_splits(make_dataset(different(20)), None, method="random", ratios=(0.9, 0.1, 0)).splits
    assert counts(splits) == {"train": 18, "validation": 2}


@pytest.mark.parametrize("method", ["random", "stratified"])
def test_same_seed_same_split_other_seed_other_split(method: str) -> None:
    data = make_dataset(different(100), ["a", "b"] * 50)
    first, again, other = (assign_splits(data, SINGLE, method=method, seed=seed).splits for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


def test_given_is_kept() -> None:
    given_splits = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    for method in ("auto", "given"):
        division = assign_splits(
            make_dataset(different(10), ["a", "b"] * 5, given_splits), SINGLE, method=method
        )
        assert division.splits.tolist() == given_splits
        assert division.method == "given"


def test_missing_validation_is_cut_off_train_and_said() -> None:
    """90 rows of train at 0.8 to 0.1 make 80 and 10; test stays as it is."""
    labels = ["a", "b"] * 55
    data = make_dataset(different(110), labels, ["train"] * 90 + ["test"] * 20)
    division = assign_splits(data, SINGLE)
    assert counts(division.splits) == {"train": 80, "validation": 10, "test": 20}
    assert set(division.splits[90:]) == {"test"}
    assert "10 rows of train became validation" in division.note


def test_missing_test_is_said_not_made_up() -> None:
    data = make_dataset(different(20), ["a", "b"] * 10, ["train"] * 16 + ["validation"] * 4)
    division = assign_splits(data, SINGLE)
    assert counts(division.splits) == {"train": 16, "validation": 4}
    assert "no test split" in division.note


def test_train_only_is_divided() -> None:
    data = make_dataset(different(100), ["a", "b"] * 50, ["train"] * 100)
    assert counts(assign_splits(data, SINGLE).splits) == {"train": 80, "validation": 10, "test": 10}


def test_chosen_method_overrides_given_and_says_so() -> None:
    data = make_dataset(different(10), ["a", "b"] * 5, ["train"] * 5 + ["test"] * 5)
    assert "split column of the data was not used" in assign_splits(data, SINGLE, method="random").note


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "given"}, "not divided"),
        ({"method": "magic"}, "no split method 'magic'"),
        ({"ratios": (0.5, 0.2, 0.2)}, "0.5 0.2 0.2 cannot be used"),
        ({"ratios": (0, 0.5, 0.5)}, "cannot be used"),
        ({"identity": 30}, "Identity 30"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        assign_splits(make_dataset(different(10)), None, **options)


def test_too_few_sequences_are_refused() -> None:
    with pytest.raises(SplitError, match="2 different sequences cannot be divided into 3 parts"):
        assign_splits(make_dataset(["MKT", "MKV", "MKT"] * 10), None)
    with pytest.raises(SplitError, match="train"):
        assign_splits(make_dataset(["MKT", "MKV"], None, ["test", "test"]), None)


def test_folds_are_even_and_stratified() -> None:
    labels = ["a"] * 80 + ["b"] * 20
    fold = folds(make_dataset(different(100), labels), SINGLE, 5, seed=1)
    assert np.bincount(fold).tolist() == [20] * 5
    assert np.bincount(fold[80:]).tolist() == [4] * 5
    with pytest.raises(SplitError):
        folds(make_dataset(different(10)), None, 1)


def test_majority_by_hand() -> None:
    units = np.array([0, 0, 0, 1, 1, 2])
    values = np.array([5, 7, 7, 3, 2, 9])
    assert majority(units, values).tolist() == [7, 2, 9]


def test_exact_groups_count_from_zero_in_order() -> None:
    data = make_dataset(["MK", "AA", "MK", "CC", "AA"])
    assert exact_groups(data.sequences).tolist() == [0, 1, 0, 2, 1]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=3, max_size=60),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33), (0.9, 0.1, 0.0)]),
    strata=st.integers(1, 5),
    multi=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_allocation_properties(
    sizes: list[int], shares: tuple[float, ...], strata: int, multi: bool, seed: int
) -> None:
    rows = np.array(sizes)
    groups = np.random.default_rng(seed).integers(0, strata, len(rows))
    options: dict[str, Any] = {"strata": groups}
    if multi:
        options = {"labels": np.eye(strata, dtype=np.int64)[groups] * rows[:, None]}
    parts = allocate(rows, shares, np.random.default_rng(seed), **options)
    again = allocate(rows, shares, np.random.default_rng(seed), **options)
    assert parts.tolist() == again.tolist()
    assert ((parts >= 0) & (parts < 3)).all()
    got = np.bincount(parts, weights=rows, minlength=3)
    for part, share in enumerate(shares):
        assert (got[part] > 0) == (share > 0)
        # A unit and the rounding of one stratum are the most by which a part can be off.
        assert abs(got[part] - share * rows.sum()) <= rows.max() * (2 + strata)


@pytest.mark.parametrize("kind", [TaskKind.REGRESSION, TaskKind.MULTI_LABEL, TaskKind.RESIDUE_REGRESSION])
def test_labels_are_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch, kind: TaskKind) -> None:
    cells = {
        TaskKind.REGRESSION: ["1", "2.5", "3", "4", "5"],
        TaskKind.MULTI_LABEL: ["a", "a,b", "", "b", "b,a"],
        TaskKind.RESIDUE_REGRESSION: ["1 2", "3 4 5", "6", "7 8 9 1", "2 3"],
    }[kind]
    data = make_dataset(["MK", "MKV", "M", "MKVA", "AC"], cells)
    task = Task(kind, classes=("a", "b") if kind is TaskKind.MULTI_LABEL else ())
    whole = task.encode(cells, [2, 3, 1, 4, 2])
    monkeypatch.setattr("profactory.data.labels.ENCODED_ROWS", 2)
    for rows in (None, np.array([4, 0, 3])):
        found = encode_labels(data, task, rows)
        expected = whole if rows is None else whole.take(rows)
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.lengths.tolist() == expected.lengths.tolist()
    assert len(encode_labels(data, task, np.arange(0))) == 0


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.integers(-4, 40), max_size=60))
def test_groups_are_numbered_as_by_a_dictionary(names: list[int]) -> None:
    seen: dict[int, int] = {}
    expected = [seen.setdefault(name, len(seen)) for name in names]
    assert number_groups(np.array(names, np.int64)).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=30),
    cut=st.integers(0, 30),
)
def test_a_unit_goes_where_its_middle_lies(sizes: list[int], cut: int) -> None:
    rows, ends = np.array(sizes), np.cumsum(sizes)
    bounds = np.array([min(cut, ends[-1]), ends[-1]])
    middles = ends - rows / 2
    expected = [int((middles < bound).sum()) for bound in bounds]
    assert _cuts(rows, ends, bounds).tolist() == expected
