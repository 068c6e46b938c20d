"""Label transforms against SciPy and by hand, and back again."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from profactory.tasks import LabelTransform, Task, TaskKind, Values

numbers = st.lists(st.floats(0.001, 1e6), min_size=2, max_size=60)


@pytest.mark.parametrize("kind", ["log", "rank"])
@settings(max_examples=60, deadline=None)
@given(labels=numbers)
def test_training_labels_come_back(kind: str, labels: list[float]) -> None:
    values = np.array(labels, np.float64)[:, None]
    transform = LabelTransform.fit(kind, values)
    back = transform.invert(transform.apply(values))
    np.testing.assert_allclose(back, values, rtol=1e-3, atol=1e-3 * np.ptp(values))


def test_log_is_the_natural_logarithm_and_no_output_overflows() -> None:
    transform = LabelTransform.fit("log", np.array([[1.0]]))
    assert transform.apply(np.array([[1.0], [math.e]])).ravel() == pytest.approx([0, 1])
    assert np.isfinite(transform.invert(np.array([[1e6], [-1e6]]))).all()


def test_rank_is_the_normal_quantile_of_the_mean_rank() -> None:
    rng = np.random.default_rng(0)
    labels = np.round(rng.exponential(size=200) ** 3, 1)  # many equal, some far out
    expected = stats.norm.ppf((stats.rankdata(labels) - 0.5) / len(labels))
    transform = LabelTransform.fit("rank", labels[:, None])
    np.testing.assert_allclose(transform.apply(labels[:, None]).ravel(), expected, atol=1e-6)


def test_beyond_the_training_labels_rank_stays_at_the_outermost() -> None:
    transform = LabelTransform.fit("rank", np.array([[1.0], [2.0], [5.0]]))
    assert transform.invert(np.array([[-9.0], [0.0], [9.0]])).ravel().tolist() == [1, 2, 5]


def test_targets_are_transformed_each_by_its_own_labels_and_missing_ones_stay_missing() -> None:
    labels = np.array([[1.0, 100.0], [2.0, np.nan], [3.0, 300.0]])
    transform = LabelTransform.fit("rank", labels)
    seen = transform.apply(labels)
    assert np.isnan(seen[1, 1])
    assert seen[:, 0] == pytest.approx(stats.norm.ppf([1 / 6, 1 / 2, 5 / 6]))
    assert seen[[0, 2], 1] == pytest.approx(stats.norm.ppf([1 / 4, 3 / 4]))


def test_large_sets_keep_few_knots_and_stay_near() -> None:
    labels = np.random.default_rng(1).lognormal(size=(50_000, 1))
    transform = LabelTransform.fit("rank", labels)
    assert len(transform.knots[0]) <= 1001
    expected = stats.norm.ppf((stats.rankdata(labels) - 0.5) / len(labels))
    inner = np.abs(expected) < 3
    assert np.abs(transform.apply(labels).ravel() - expected)[inner].max() < 0.05


@pytest.mark.parametrize("kind", ["log", "rank"])
def test_a_task_keeps_its_transform_through_json(kind: str) -> None:
    labels = np.array([[1.0], [10.0], [100.0]])
    task = Task(TaskKind.REGRESSION).with_transform(LabelTransform.fit(kind, labels))
    again = Task.from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    outputs = again.probabilities(task.transformed(Values(labels)).values)
    assert outputs.ravel() == pytest.approx([1, 10, 100], rel=1e-5)


def test_tasks_saved_before_there_were_transforms_are_read() -> None:
    assert Task.from_dict(Task(TaskKind.REGRESSION).to_dict()).transform is None
    with pytest.raises(ValueError, match="no label transform 'sqrt'"):
        Task.from_dict({**Task(TaskKind.REGRESSION).to_dict(), "transform": {"kind": "sqrt", "knots": []}})
