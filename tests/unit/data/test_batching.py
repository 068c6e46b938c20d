"""BatchPlan: every sample once, within the budget, reshuffled, reproducible, little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profactory.data.batching import BatchPlan, groups, padding_waste
from profactory.errors import ConfigError

lengths_lists = st.lists(st.integers(1, 3000), min_size=1, max_size=200)
budgets = st.tuples(st.none() | st.integers(1, 4000), st.none() | st.integers(1, 40)).filter(any)


def as_lists(batches: list[np.ndarray]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@given(lengths_lists, budgets, st.integers(0, 2**31 - 1), st.integers(0, 50))
@settings(max_examples=150, deadline=None)
def test_every_sample_once_and_within_the_limits(lengths, budget, seed, epoch):
    tokens, sequences = budget
    plan = BatchPlan(np.array(lengths), tokens, sequences, seed)
    for batches in (plan.epoch(epoch), plan.in_order()):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        for batch in batches:
            cost = len(batch) * max(lengths[i] for i in batch)
            assert len(batch) == 1 or (tokens is None or cost <= tokens)
            assert sequences is None or len(batch) <= sequences


@given(lengths_lists, budgets, st.integers(0, 2**31 - 1))
@settings(max_examples=50, deadline=None)
def test_pure_function_of_its_arguments(lengths, budget, seed):
    first = BatchPlan(np.array(lengths), *budget, seed)
    second = BatchPlan(np.array(lengths), *budget, seed)
    second.epoch(7)  # asking for another epoch in between changes nothing
    assert as_lists(first.epoch(3)) == as_lists(second.epoch(3))


def test_a_sequence_longer_than_the_budget_is_a_batch_of_its_own():
    """The predecessor dropped it, in validation and test as well (A12)."""
    plan = BatchPlan(np.array([5, 5000, 7]), tokens=100)
    assert sorted(as_lists(plan.epoch(0)), key=len) == [[1], [0, 2]]


def test_reshuffled_every_epoch():
    """The predecessor formed batches once: same composition and order every epoch (A13)."""
    lengths = np.random.default_rng(0).integers(50, 400, 500)
    plan = BatchPlan(lengths, tokens=4000, seed=1)
    one, two = plan.epoch(0), plan.epoch(1)
    sets_one, sets_two = ({frozenset(b.tolist()) for b in batches} for batches in (one, two))
    assert len(sets_one & sets_two) < len(sets_one) / 10  # composition
    assert [len(b) for b in one] != [len(b) for b in two]  # order
    other_seed = BatchPlan(lengths, tokens=4000, seed=2).epoch(0)
    assert as_lists(other_seed) != as_lists(one)


def test_equal_lengths_meet_wholly_at_random():
    plan = BatchPlan(np.full(64, 56), sequences=8)
    partners = {frozenset(batch.tolist()) for epoch in range(20) for batch in plan.epoch(epoch)}
    assert len(partners) == 160  # no batch of eight ever came twice


@pytest.mark.parametrize("n", [1000, 5000])
@pytest.mark.parametrize("limits", [{"tokens": 4096}, {"tokens": 8192}, {"sequences": 16}])
@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.7])
def test_padding_waste_below_five_percent(n, limits, sigma):
    rng = np.random.default_rng(n)
    lengths = np.clip(rng.lognormal(np.log(250), sigma, n), 20, 1024).astype(int)
    plan = BatchPlan(lengths, **limits)
    for epoch in range(3):
        assert padding_waste(lengths, plan.epoch(epoch)) < 0.05
    assert padding_waste(lengths, plan.in_order()) < 0.05


def test_padding_waste_by_hand():
    # Two batches: 2 x 5 with 8 used, 1 x 3 with 3 used; 2 of 13 are padding.
    waste = padding_waste(np.array([5, 3, 3]), [np.array([0, 1]), np.array([2])])
    assert waste == pytest.approx(2 / 13)


def test_in_order_is_longest_first():
    plan = BatchPlan(np.array([3, 9, 5, 7]), sequences=2)
    assert as_lists(plan.in_order()) == [[1, 3], [2, 0]]


@pytest.mark.parametrize("limits", [{}, {"tokens": 0}, {"sequences": -1}])
def test_impossible_limits(limits):
    with pytest.raises(ConfigError):
        BatchPlan(np.array([1, 2]), **limits)


def test_lengths_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        BatchPlan(np.array([1, 0]), tokens=5)


def test_groups_keep_the_last_partial_one():
    assert groups([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
