"""Calibrated probabilities, sets and intervals: applied, written, stored. Numbers by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax

from profactory.tasks import Calibration, Task, TaskKind, Values

SINGLE = Task(TaskKind.SINGLE_LABEL, ("a", "b", "c"))
MULTI = Task(TaskKind.MULTI_LABEL, ("a", "b", "c"), separator=";")
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "E", "H"))
NUMBERS = Task(TaskKind.RESIDUE_REGRESSION)
LOGITS = np.random.default_rng(0).normal(0, 3, (50, 3))


def test_temperature_divides_the_logits() -> None:
    for task, squash in ((SINGLE, lambda z: softmax(z, axis=1)), (MULTI, expit)):
        raw = Values(squash(LOGITS).astype(np.float32))
        found = Calibration(temperature=1.7).apply(task, raw).values
        np.testing.assert_allclose(found, squash(LOGITS / 1.7), rtol=2e-4, atol=1e-6)
        assert found.dtype == np.float32


def test_nothing_changes_without_calibration() -> None:
    raw = Values(LOGITS.astype(np.float32))
    assert Calibration().apply(SINGLE, raw) is raw
    assert Calibration(temperature=2.0).apply(Task(TaskKind.REGRESSION), raw) is raw
    assert Calibration().columns(SINGLE, raw) == {}


@given(st.floats(0.1, 10), st.floats(0, 1, width=32))
def test_certain_probabilities_stay_probabilities(temperature: float, p: float) -> None:
    calibration = Calibration(temperature=temperature)
    single = calibration.apply(SINGLE, Values(np.array([[p, 1 - p, 0.0]], np.float32))).values
    multi = calibration.apply(MULTI, Values(np.array([[p, 0.0, 1.0]], np.float32))).values
    assert np.isfinite(single).all()
    assert single.sum() == pytest.approx(1, abs=1e-5)
    assert ((multi >= 0) & (multi <= 1)).all()
    assert multi[0, 1] < 1e-3 < multi[0, 2]


def test_sets_hold_the_likely_classes_and_always_the_likeliest() -> None:
    outputs = Values(np.array([[0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.29, 0.36, 0.35]], np.float32))
    calibration = Calibration(coverage=0.9, threshold=0.4)
    assert calibration.columns(SINGLE, outputs) == {"prediction_set": ["a,b", "c", "b"]}
    assert calibration.columns(MULTI, outputs) == {"prediction_set": ["a;b", "c", ""]}


def test_intervals_of_one_and_of_several_targets() -> None:
    one = Calibration(coverage=0.9, radius=(2.0,))
    columns = one.columns(Task(TaskKind.REGRESSION), Values(np.array([[10.0], [-1.0]], np.float32)))
    assert {name: list(column) for name, column in columns.items()} == {
        "prediction_low": [8.0, -3.0],
        "prediction_high": [12.0, 1.0],
    }
    two = Calibration(coverage=0.9, radius=(2.0, 0.5))
    columns = two.columns(
        Task(TaskKind.REGRESSION, targets=("tm", "ph")), Values(np.array([[50.0, 7.0]], np.float32))
    )
    assert {name: list(column) for name, column in columns.items()} == {
        "prediction_low_tm": [48.0],
        "prediction_high_tm": [52.0],
        "prediction_low_ph": [6.5],
        "prediction_high_ph": [7.5],
    }


def test_residues_have_one_item_each() -> None:
    offsets = np.array([0, 2, 3])
    outputs = Values(np.array([[0.6, 0.4, 0.0], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]], np.float32), offsets)
    sets = Calibration(coverage=0.9, threshold=0.4).columns(RESIDUES, outputs)
    assert sets == {"prediction_set": ["C|E,H", "E"]}
    numbers = Values(np.array([[1.0], [2.0], [3.0]], np.float32), offsets)
    assert Calibration(coverage=0.9, radius=(0.5,)).columns(NUMBERS, numbers) == {
        "prediction_low": ["0.5,1.5", "2.5"],
        "prediction_high": ["1.5,2.5", "3.5"],
    }


def test_stored_and_read_again() -> None:
    for calibration in (Calibration(), Calibration(1.3, 0.9, 0.07), Calibration(1.0, 0.8, None, (1.5, 0.2))):
        assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    "change", [{"temperature": 0}, {"temperature": math.nan}, {"radius": [math.inf]}, {"coverage": "much"}]
)
def test_impossible_numbers_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"impossible|convert"):
        Calibration.from_dict({**Calibration().to_dict(), **change})
