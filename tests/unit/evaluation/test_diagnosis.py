"""Diagnoses of real trainings made to show each finding, and of healthy ones, which must show none."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from profactory.data.batching import BatchPlan, Indices
from profactory.evaluation.course import peaks
from profactory.evaluation.diagnosis import HEALTHY, Diagnosis, diagnose
from profactory.runs import Run
from profactory.training.loop import fit
from profactory.training.state import FitSettings

TRAIN, VALIDATION, WIDTH = 96, 64, 8


class Regressor(nn.Module):
    """A small network on standard normal inputs."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(WIDTH, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        with torch.no_grad():
            self.layers[2].weight.mul_(0.1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.layers(x).squeeze(-1) - y).square().sum()


class Source:
    """Labels that follow from the inputs as far as `signal` says (share of their variance)."""

    def __init__(self, signal: float, tokens: int = 16) -> None:
        rng = np.random.default_rng(3)
        x = rng.normal(size=(TRAIN + VALIDATION, WIDTH))
        truth = x @ rng.normal(size=WIDTH) / math.sqrt(WIDTH)
        truth = truth / truth.std()
        y = math.sqrt(signal) * truth + math.sqrt(1 - signal) * rng.normal(size=len(x))
        self.x, self.y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
        self.batches = BatchPlan(np.ones(TRAIN, np.int64), tokens=tokens)

    def __len__(self) -> int:
        return TRAIN

    def plan(self, epoch: int) -> list[Indices]:
        return self.batches.epoch(epoch)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        return {"x": self.x[indices], "y": self.y[indices]}

    def weight(self, indices: Indices) -> float:
        return float(len(indices))

    def rows(self, indices: Indices) -> list[int]:
        return indices.tolist()


def trained(
    path: Path, *, signal: float = 0.9, hidden: int = 8, blind: bool = False, **settings: Any
) -> Diagnosis:
    """Train for real and diagnose what the run's events say."""
    model, source, run = Regressor(hidden), Source(signal), Run.create(path, {})
    if blind:
        source.x = torch.zeros_like(source.x)
    inputs, labels = source.x[TRAIN:], source.y[TRAIN:]
    reference = float(source.y[:TRAIN].var(correction=0))

    def validate() -> dict[str, float]:
        return {"loss": float(model(inputs, labels)) / VALIDATION}

    options = {"epochs": 20, "learning_rate": 0.01, "device": "cpu", "schedule": "cosine", **settings}
    with run.lock():
        fit(model, source, validate, run, FitSettings(**options))
    return diagnose(list(run.events()), METRICS, reference_loss=reference, settings=options)


def interval(value: float, width: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


METRICS: dict[str, Any] = {
    "task": "regression",
    "main_metric": "spearman",
    "counts": {"test": {"proteins": 100}, "validation": {"proteins": 100}},
    "test": {"spearman": interval(0.8)},
    "validation": {"spearman": interval(0.82)},
}


def kinds(diagnosis: Diagnosis) -> list[str]:
    return [finding.kind for finding in diagnosis.findings]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"learning_rate": 0.03, "schedule": "constant"},
        {"signal": 0.5, "patience": 3, "epochs": 40},
        {"optimizer": "sgd", "learning_rate": 0.1},
        {"eval_steps": 3},
    ],
    ids=["plain", "constant", "noisy labels, stopped early", "sgd", "evaluated often"],
)
def test_healthy_trainings_show_nothing(tmp_path: Path, settings: dict[str, Any]) -> None:
    diagnosis = trained(tmp_path / "run", **settings)
    assert kinds(diagnosis) == []
    assert diagnosis.paragraph == HEALTHY
    assert diagnosis.to_dict()["healthy"]


def test_overfitting(tmp_path: Path) -> None:
    """Few noisy labels, a wide network, many epochs."""
    diagnosis = trained(tmp_path / "run", signal=0.2, hidden=128, epochs=60, learning_rate=0.005)
    assert kinds(diagnosis) == ["overfitting"]
    evidence = diagnosis.findings[0].evidence
    assert evidence["last_training_loss"] < 0.5 * evidence["last_validation_loss"]
    assert evidence["lowest_validation_loss"] < evidence["last_validation_loss"]
    assert any("--dropout" in remedy for remedy in diagnosis.findings[0].remedies)


def test_underfitting(tmp_path: Path) -> None:
    """Inputs that say nothing: the best is to predict the mean."""
    diagnosis = trained(tmp_path / "run", blind=True)
    assert kinds(diagnosis) == ["underfitting"]
    evidence = diagnosis.findings[0].evidence
    assert evidence["lowest_training_loss"] >= 0.9 * evidence["loss_of_a_constant_prediction"]


@pytest.mark.parametrize("settings", [{"learning_rate": 5.0}, {"optimizer": "sgd", "learning_rate": 0.4}])
def test_learning_rate_too_high(tmp_path: Path, settings: dict[str, Any]) -> None:
    diagnosis = trained(tmp_path / "run", max_grad_norm=0.0, **settings)
    assert kinds(diagnosis) == ["learning_rate_too_high"]
    assert diagnosis.findings[0].evidence["highest_training_loss"] > 1.5
    assert diagnosis.findings[0].remedies[0] == f"--learning-rate {settings['learning_rate'] / 10:.2g}"


@pytest.mark.parametrize("rate", [1e-6, 1e-4, 3e-4])
def test_learning_rate_too_low(tmp_path: Path, rate: float) -> None:
    """Hardly any movement, and a curve that is still falling when the epochs are used up."""
    diagnosis = trained(tmp_path / "run", learning_rate=rate)
    assert kinds(diagnosis) == ["learning_rate_too_low"]
    assert diagnosis.findings[0].remedies[0] == f"--learning-rate {rate * 10:.2g}"


def test_unstable_loss(tmp_path: Path) -> None:
    diagnosis = trained(tmp_path / "run", signal=0.2, hidden=256, epochs=30, learning_rate=0.02)
    assert "unstable_loss" in kinds(diagnosis)
    evidence = diagnosis.findings[0].evidence
    assert evidence["peaks_of_the_training_loss"] or evidence["peaks_of_the_validation_loss"] >= 3


def test_too_few_evaluations_are_said(tmp_path: Path) -> None:
    diagnosis = trained(tmp_path / "run", epochs=2)
    assert "there are 2 evaluations; 4 are needed" in diagnosis.paragraph
    assert set(diagnosis.not_checked) == {
        "learning_rate_too_high", "learning_rate_too_low", "overfitting", "underfitting", "unstable_loss",
    }  # fmt: skip


def class_metrics(predicted: list[int], support: list[int], task: str = "single_label_classification") -> Any:
    rows = zip("abcdef", predicted, support, strict=False)
    table = [{"class": name, "predicted": p, "support": s} for name, p, s in rows]
    counts = {"validation": {"proteins": sum(support)}}
    return {"task": task, "main_metric": "mcc", "counts": counts, "per_class": {"validation": table}}


@pytest.mark.parametrize(
    ("predicted", "support", "collapsed"),
    [
        ([98, 2], [70, 30], True),
        ([98, 2], [90, 10], False),  # most labels are of that class
        ([60, 40], [70, 30], False),
        ([50, 50, 0, 0, 0], [20, 20, 20, 20, 20], True),  # three of five never
        ([50, 20, 20, 0, 0], [50, 20, 20, 4, 6], False),  # one class of few labels
    ],
)
def test_class_collapse(predicted: list[int], support: list[int], collapsed: bool) -> None:
    found = diagnose([], class_metrics(predicted, support))
    assert kinds(found) == ["class_collapse"] * collapsed


def test_classes_that_a_multi_label_model_never_predicts() -> None:
    found = diagnose([], class_metrics([90, 0, 0, 0], [90, 20, 20, 20], "multi_label_classification"))
    assert kinds(found) == ["class_collapse"]
    assert found.findings[0].evidence["never_predicted"] == ["b", "c", "d"]


@pytest.mark.parametrize(
    ("metric", "test", "validation", "found"),
    [
        ("spearman", interval(0.5), interval(0.8), True),
        ("spearman", interval(0.75), interval(0.8), False),  # within chance
        ("spearman", interval(0.76, 0.01), interval(0.8, 0.01), False),  # certain but small
        ("rmse", interval(2.0, 0.2), interval(1.0, 0.2), True),
        ("rmse", interval(1.0, 0.2), interval(2.0, 0.2), False),  # better, not worse
    ],
)
def test_far_below_validation(metric: str, test: Any, validation: Any, found: bool) -> None:
    metrics = {**METRICS, "main_metric": metric, "test": {metric: test}, "validation": {metric: validation}}
    diagnosis = diagnose([], metrics, leakage={"near_duplicates": 3})
    assert kinds(diagnosis) == ["test_below_validation"] * found
    if found:
        assert diagnosis.findings[0].evidence["leakage"] == {"near_duplicates": 3}
        assert diagnosis.findings[0].remedies[0] == "--split homology"


def test_without_a_test_set_that_is_not_checked() -> None:
    metrics = {key: value for key, value in METRICS.items() if key != "test"}
    assert "test_below_validation" in diagnose([], metrics).not_checked


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3, 2, 1], 0), ([1, 2, 3], 0), ([1, 2, 1], 1), ([1, 1.4, 1], 0), ([2, 1, 2, 1, 2, 1], 2), ([1], 0)],
)
def test_peaks(values: list[float], expected: int) -> None:
    assert peaks(np.array(values, float), 0.5) == expected
