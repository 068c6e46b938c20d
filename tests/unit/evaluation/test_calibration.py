"""Temperature, sets and intervals: fitted on some rows, kept on others. Numbers by hand and by simulation."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve

from profactory.evaluation.calibration import fit_calibration
from profactory.evaluation.certainty import calibration_error, measure_certainty, reliability
from profactory.evaluation.report import EvaluatedSplit, write_report
from profactory.tasks import Calibration, Task, TaskKind, Values

SINGLE = Task(TaskKind.SINGLE_LABEL, ("a", "b", "c", "d"))
MULTI = Task(TaskKind.MULTI_LABEL, ("a", "b", "c", "d"))
NUMBER = Task(TaskKind.REGRESSION)
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "E", "H"))
RESIDUE_NUMBERS = Task(TaskKind.RESIDUE_REGRESSION)


def classes(rng: np.random.Generator, n: int, sharpened: float = 1.0) -> tuple[Values, Values]:
    """Labels that really have the probabilities, and outputs that are too sure of them."""
    logits = rng.normal(0, 1.5, (n, 4))
    p = softmax(logits, axis=1)
    truth = (p.cumsum(axis=1) < rng.uniform(size=(n, 1))).sum(axis=1)
    return Values(truth.astype(np.int64)), Values(softmax(sharpened * logits, axis=1).astype(np.float32))


def sets(rng: np.random.Generator, n: int, sharpened: float = 1.0) -> tuple[Values, Values]:
    logits = rng.normal(-0.5, 1.5, (n, 4))
    truth = rng.uniform(size=(n, 4)) < expit(logits)
    return Values(truth.astype(np.float32)), Values(expit(sharpened * logits).astype(np.float32))


def numbers(rng: np.random.Generator, n: int) -> tuple[Values, Values]:
    truth = rng.normal(size=(n, 1))
    return Values(truth.astype(np.float32)), Values((truth + rng.normal(size=(n, 1))).astype(np.float32))


@pytest.mark.parametrize(("task", "draw"), [(SINGLE, classes), (MULTI, sets)])
@pytest.mark.parametrize("sharpened", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_comes_out(task: Task, draw, sharpened: float) -> None:
    rng = np.random.default_rng(0)
    calibration = fit_calibration(task, *draw(rng, 4000, sharpened), coverage=0.9)
    assert calibration.temperature == pytest.approx(sharpened, rel=0.08)
    targets, raw = draw(rng, 4000, sharpened)
    measured = measure_certainty(task, calibration, targets, calibration.apply(task, raw), raw)
    assert measured["calibration_error"] < 0.025
    if sharpened != 1.0:
        assert measured["calibration_error"] < measured["calibration_error_before"]
        assert measured["log_loss"] < measured["log_loss_before"]


def test_a_handful_of_right_answers_makes_nobody_certain() -> None:
    targets = Values(np.arange(12) % 4)
    outputs = Values(np.where(np.eye(4)[targets.values] > 0, 0.85, 0.05).astype(np.float32))
    calibration = fit_calibration(SINGLE, targets, outputs, coverage=0.9)
    assert calibration.apply(SINGLE, outputs).values.max() < 0.95


@pytest.mark.parametrize(("task", "draw"), [(SINGLE, classes), (MULTI, sets), (NUMBER, numbers)])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_new_rows_are_covered_as_often_as_promised(task: Task, draw, coverage: float) -> None:
    """The mean over many fits: at least what is promised, and not much more."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(40):
        calibration = fit_calibration(task, *draw(rng, 150), coverage=coverage)
        targets, raw = draw(rng, 400)
        outputs = calibration.apply(task, raw)
        found.append(measure_certainty(task, calibration, targets, outputs)["coverage"])
    error = float(np.std(found)) / math.sqrt(len(found))
    assert np.mean(found) > coverage - 2 * error
    assert np.mean(found) < coverage + 0.02 + 2 * error


def test_intervals_by_hand() -> None:
    """Nine errors 0.1 … 0.9: of 10 ranks, 90 % is the ninth; with eight rows there is no such interval."""
    outputs = Values(np.zeros((9, 1), np.float32))
    targets = Values((np.arange(1, 10)[:, None] / 10 * [[-1.0]]).astype(np.float32))
    ten = Values(np.append(targets.values, [[0.05]], axis=0).astype(np.float32))
    found = fit_calibration(NUMBER, ten, Values(np.zeros((10, 1), np.float32)), coverage=0.9)
    assert found.radius == pytest.approx((0.9,))
    assert fit_calibration(NUMBER, targets, outputs, coverage=0.9) == Calibration()  # fewer than ten rows
    assert fit_calibration(NUMBER, ten, Values(np.zeros((10, 1), np.float32)), coverage=0.95) == Calibration()


def test_each_target_has_its_own_interval_and_missing_labels_do_not_count() -> None:
    task = Task(TaskKind.REGRESSION, targets=("tm", "ph"))
    targets = np.zeros((40, 2), np.float32)
    targets[:, 0], targets[:, 1] = 10.0, 1.0
    targets[:10, 1] = np.nan
    found = fit_calibration(task, Values(targets), Values(np.zeros((40, 2), np.float32)), coverage=0.9)
    assert found.radius == pytest.approx((10.0, 1.0))


def test_residues_without_a_label_do_not_count() -> None:
    offsets = np.array([0, 30, 60])
    truth = np.tile([0, 1, 2, -1], 15)
    scores = np.full((60, 3), 0.1, np.float32)
    scores[np.arange(60), truth] = 0.8
    found = fit_calibration(RESIDUES, Values(truth, offsets), Values(scores, offsets), coverage=0.9)
    measured = measure_certainty(RESIDUES, found, Values(truth, offsets), Values(scores, offsets))
    assert measured["rows"] == 45
    assert measured["coverage"] == 1.0
    values = np.where(truth < 0, np.nan, 1.0).astype(np.float32)
    found = fit_calibration(
        RESIDUE_NUMBERS, Values(values, offsets), Values(np.zeros((60, 1), np.float32), offsets), coverage=0.9
    )
    assert found.radius == (1.0,)


@settings(deadline=None, max_examples=60)
@given(st.integers(10, 40), st.integers(0, 10**6), st.sampled_from([0.7, 0.8, 0.9]))
def test_risk_control_against_every_threshold(n: int, seed: int, coverage: float) -> None:
    """The highest threshold with (n R + 1) / (n + 1) <= 1 - coverage, by trying all of them."""
    targets, raw = sets(np.random.default_rng(seed), n)
    calibration = fit_calibration(MULTI, targets, raw, coverage=coverage)
    scores, truth = calibration.apply(MULTI, raw).values, targets.values > 0.5
    some = truth.any(axis=1)
    count = int(some.sum())

    def risk(threshold: float) -> float:
        kept = (scores >= np.float32(threshold)) & truth
        return float((1 - kept[some].sum(1) / truth[some].sum(1)).sum())

    good = [t for t in np.unique(scores[truth]) if (risk(t) + 1) / (count + 1) <= 1 - coverage + 1e-9]
    assert calibration.threshold == (pytest.approx(max(good)) if good else None)


def test_reliability_is_scikit_learns_and_the_error_that_of_a_loop() -> None:
    targets, outputs = sets(np.random.default_rng(2), 500)
    bins = reliability(MULTI, targets, outputs)
    accuracy, confidence = calibration_curve(targets.values.ravel() > 0.5, outputs.values.ravel(), n_bins=15)
    assert [entry["accuracy"] for entry in bins] == pytest.approx(list(accuracy))
    assert [entry["confidence"] for entry in bins] == pytest.approx(list(confidence), rel=1e-5)
    naive, p, t = 0.0, outputs.values.ravel(), targets.values.ravel()
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = (p >= low) & ((p < high) | (high == 1))
        if inside.any():
            naive += inside.mean() * abs(p[inside].mean() - t[inside].mean())
    assert calibration_error(bins) == pytest.approx(naive, abs=1e-6)


def test_the_report_says_how_far_to_believe(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    validation, test = classes(rng, 300, 2.5), classes(rng, 300, 2.5)
    calibration = fit_calibration(SINGLE, *validation, coverage=0.9)
    splits = {
        name: EvaluatedSplit(
            targets, calibration.apply(SINGLE, raw), pa.table({"sequence": ["MKT"] * 300}), raw=raw
        )
        for name, (targets, raw) in (("validation", validation), ("test", test))
    }
    report = write_report(tmp_path, task=SINGLE, splits=splits, calibration=calibration)
    stored = json.loads((tmp_path / "metrics.json").read_text())["calibration"]
    assert stored["coverage"] == 0.9
    assert stored["temperature"] == pytest.approx(2.5, rel=0.2)
    measured = stored["measured"]["test"]
    assert measured["calibration_error"] < measured["calibration_error_before"]
    assert measured["coverage"] == pytest.approx(0.9, abs=0.06)
    assert "reliability.png" in report.files
    page = report.page.read_text()
    assert stored["sentence"] in page
    header = (tmp_path / "predictions_test.csv").read_text().splitlines()[0]
    assert header.split(",")[1:] == [
        "prediction", "probability_a", "probability_b", "probability_c", "probability_d", "prediction_set",
    ]  # fmt: skip
