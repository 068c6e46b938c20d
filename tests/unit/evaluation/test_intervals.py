from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from profactory.evaluation import kernels
from profactory.evaluation.intervals import build_kernels, draw_weights, paired_difference, with_intervals
from profactory.evaluation.metrics import compute_metrics, known_metrics
from profactory.evaluation.ranking import f1_max
from profactory.evaluation.rows import make_rows
from profactory.tasks import Task, TaskKind, Values
from tests.unit.evaluation.cases import (
    classes_case,
    numbers_case,
    residue_numbers_case,
    residue_sets_case,
    residues_case,
    sets_case,
)

ALL = (classes_case, sets_case, numbers_case, residues_case, residue_sets_case, residue_numbers_case)


def drawn(proteins: int, samples: int = 5) -> np.ndarray:
    return next(draw_weights(proteins, samples, seed=3, chunk=samples))


def repeated(weights: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(weights)), weights.astype(int))


def test_weights_are_bootstrap_samples() -> None:
    weights = drawn(50, 200)
    assert weights.shape == (50, 200)
    assert (weights.sum(axis=0) == 50).all()
    assert weights.mean() == 1
    # A protein is left out with probability (1 - 1/50)^50 = 0.364.
    assert (weights == 0).mean() == pytest.approx(0.364, abs=0.02)


def test_weights_do_not_depend_on_the_chunk() -> None:
    whole = np.concatenate(list(draw_weights(20, 30, 1, chunk=30)), axis=1)
    parts = np.concatenate(list(draw_weights(20, 30, 1, chunk=7)), axis=1)
    assert np.array_equal(whole, parts)


@pytest.mark.parametrize("case", ALL)
def test_every_sample_is_the_metric_of_the_repeated_proteins(case: object) -> None:
    """Kernels against `compute_metrics`, itself held against scikit-learn, on really repeated rows."""
    task, targets, outputs = case()  # type: ignore[operator]
    exact = compute_metrics(task, targets, outputs)
    rows = make_rows(task, targets, outputs)
    weights = drawn(len(targets))
    found: dict[str, np.ndarray] = {}
    for kernel in build_kernels(task, rows, set(known_metrics(task)), exact):
        found |= kernel(weights)
    binned = {"auroc_micro", "auprc_micro"} | ({"auroc", "auprc", "spearman"} if task.per_residue else set())
    for sample in range(weights.shape[1]):
        chosen = repeated(weights[:, sample])
        expected = compute_metrics(task, targets.take(chosen), outputs.take(chosen))
        if task.per_residue and "accuracy_per_protein" in expected:
            assert found["accuracy_per_protein"][sample] == pytest.approx(expected["accuracy_per_protein"])
        for name, value in expected.items():
            tolerance = 0.003 if name in binned else 1e-5 if "pearson_per" in name else 1e-6
            if name == "f1_max":
                tolerance = 0.004  # 200 thresholds instead of all
            assert found[name][sample] == pytest.approx(value, abs=tolerance), name


def test_two_classes_with_ties_equal_scikit_learn() -> None:
    _, targets, outputs = classes_case(("a", "b"), n=80)
    rounded = outputs.values.round(1)
    weights = drawn(80)
    found = kernels.ExactAreas((targets.values == 1)[:, None], rounded[:, 1:].astype(float))(weights)
    for sample in range(5):
        chosen = repeated(weights[:, sample])
        truth, scores = targets.values[chosen], rounded[chosen, 1]
        assert found["auroc"][sample] == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-6)
        assert found["auprc"][sample] == pytest.approx(sk.average_precision_score(truth, scores), abs=1e-6)


def test_spearman_with_ties_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(6, size=70).astype(float)
    values = (truth + rng.normal(size=70)).round(0)
    weights = drawn(70)
    found = kernels.Spearman(truth, values, np.arange(70))(weights)["spearman"]
    for sample in range(5):
        chosen = repeated(weights[:, sample])
        assert found[sample] == pytest.approx(stats.spearmanr(truth[chosen], values[chosen]).statistic)


def test_f1_max_thresholds_hold_the_best() -> None:
    _, targets, outputs = sets_case(n=400)
    truth, scores = targets.values > 0.5, outputs.values.astype(float)
    kernel = kernels.F1Max(truth, scores)
    assert kernel(np.ones((400, 1)))["f1_max"][0] == pytest.approx(f1_max(truth, scores)[0], abs=1e-6)


def test_interval_of_an_accuracy_is_the_binomial_one() -> None:
    task, targets, outputs = classes_case(n=900, seed=1)
    found = with_intervals(task, targets, outputs)["accuracy"]
    half = 1.96 * math.sqrt(found.value * (1 - found.value) / 900)
    assert found.low == pytest.approx(found.value - half, abs=0.006)
    assert found.high == pytest.approx(found.value + half, abs=0.006)


def test_interval_of_a_mean_error_is_the_analytic_one() -> None:
    task, targets, outputs = numbers_case(n=600)
    errors = np.abs(targets.values - outputs.values)[:, 0]
    found = with_intervals(task, targets, outputs)["mae"]
    half = 1.96 * errors.std(ddof=1) / math.sqrt(600)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.12)


def test_coverage_is_near_95_per_cent() -> None:
    rng = np.random.default_rng(0)
    task = Task(TaskKind.REGRESSION)
    truth = np.arange(150, dtype=np.float32)[:, None]
    inside = 0
    for _ in range(200):
        outputs = Values(truth + rng.normal(size=truth.shape).astype(np.float32))
        found = with_intervals(task, Values(truth), outputs, samples=300)["mae"]
        inside += found.low <= math.sqrt(2 / math.pi) <= found.high  # mean of |normal|
    assert 0.89 <= inside / 200 <= 0.99


def test_residues_of_one_protein_are_not_independent() -> None:
    """Whole chains right or wrong: resampling residues would give a far too narrow interval."""
    rng = np.random.default_rng(0)
    proteins, length = 60, 100
    offsets = np.arange(proteins + 1) * length
    truth = rng.integers(2, size=proteins * length)
    right = np.repeat(rng.random(proteins) < 0.7, length)
    outputs = np.eye(2, dtype=np.float32)[np.where(right, truth, 1 - truth)]
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, ("a", "b"))
    found = with_intervals(task, Values(truth, offsets), Values(outputs, offsets))["accuracy"]
    share = right.mean()
    expected = 2 * 1.96 * math.sqrt(share * (1 - share) / proteins)
    assert found.high - found.low == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("case", ALL)
def test_values_lie_in_their_intervals_and_seeds_repeat(case: object) -> None:
    task, targets, outputs = case()  # type: ignore[operator]
    first = with_intervals(task, targets, outputs, samples=200)
    again = with_intervals(task, targets, outputs, samples=200)
    other = with_intervals(task, targets, outputs, samples=200, seed=1)
    assert first == again
    assert first != other
    assert list(first) == list(known_metrics(task))
    for name, interval in first.items():
        assert interval.low <= interval.value <= interval.high, name
        assert interval.low < interval.high, name


def test_one_protein_and_undefined_metrics_have_no_interval() -> None:
    task, targets, outputs = classes_case()
    single = with_intervals(task, targets.take([0]), outputs.take([0]))
    assert all(math.isnan(interval.low) for interval in single.values())
    one_class = with_intervals(task, Values(np.zeros(200, np.int64)), outputs)
    assert math.isnan(one_class["auroc"].value)
    assert math.isnan(one_class["auroc"].low)
    assert one_class["accuracy"].low < one_class["accuracy"].high


def test_paired_difference_uses_the_pairing() -> None:
    """Nearly the same predictions: the difference is known far better than either value."""
    task, targets, outputs = numbers_case(n=300)
    rng = np.random.default_rng(5)
    worse = Values(outputs.values + 0.5 * rng.normal(size=outputs.values.shape).astype(np.float32))
    difference = paired_difference(task, targets, outputs, worse, "spearman")
    alone = with_intervals(task, targets, outputs)["spearman"]
    expected = compute_metrics(task, targets, outputs)["spearman"]
    assert difference.value == pytest.approx(expected - compute_metrics(task, targets, worse)["spearman"])
    assert difference.high - difference.low < 0.5 * (alone.high - alone.low)
    same = paired_difference(task, targets, outputs, outputs, "spearman")
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_large_sets_take_fewer_samples_but_enough() -> None:
    task, targets, outputs = classes_case(tuple("abcdefghij"), n=4000)
    found = with_intervals(task, targets, outputs, samples=1000)
    assert found["accuracy"].samples == 1000
    assert all(interval.samples >= 100 for interval in found.values())
