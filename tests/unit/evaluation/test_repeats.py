"""Mean, deviation and interval over folds and seeds, worked out by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from profactory.evaluation.repeats import repeated, summarise


def test_folds_by_hand() -> None:
    found = repeated([0.5, 0.6, 0.7], [0, 1, 2], held_out=0.5)
    assert found is not None
    assert found.mean == pytest.approx(0.6)
    assert found.deviation == pytest.approx(0.1)
    half = 4.302653 * math.sqrt((1 / 3 + 0.5) * 0.01)  # t quantile of 2 degrees of freedom, from a table
    assert (found.low, found.high) == pytest.approx((0.6 - half, 0.6 + half), rel=1e-6)


def test_seeds_alone_are_a_usual_t_interval() -> None:
    values = [0.2, 0.5, 0.3, 0.7]
    found = repeated(values, range(4), held_out=0)
    assert found is not None
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_seeds_are_averaged_within_their_fold() -> None:
    both = repeated([0.4, 0.6, 0.7, 0.9], [0, 0, 1, 1], held_out=1.0)
    folds = repeated([0.5, 0.8], [0, 1], held_out=1.0)
    assert both is not None
    assert folds is not None
    assert (both.low, both.high) == pytest.approx((folds.low, folds.high))
    assert both.deviation == pytest.approx(0.208166, rel=1e-5)
    assert both.values == (0.4, 0.6, 0.7, 0.9)


def test_one_fold_has_no_interval_and_an_undefined_metric_no_summary() -> None:
    alone = repeated([0.4, 0.6], [0, 0], held_out=0.25)
    assert alone is not None
    assert (alone.low, alone.high) == (None, None)
    assert repeated([0.4, math.nan], [0, 1], held_out=0.25) is None
    found = summarise([{"mcc": 0.1, "auroc": math.nan}, {"mcc": 0.3, "auroc": 0.5}], [0, 1], held_out=0.25)
    assert list(found) == ["mcc"]
