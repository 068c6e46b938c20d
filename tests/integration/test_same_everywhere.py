"""What a run trains, measures, writes and predicts later is one and the same thing.

Each test guards against a defect of a predecessor that its docstring names (A1, A7, A12, A17).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import log_loss, mean_squared_error

import profactory
from profactory.files import read_json
from profactory.runs import Run
from tests.support.models import tiny_esm, tiny_repo
from tests.support.tables import read_rows, write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    return profactory.train(table, model=str(model), out=out, **{"epochs": 1, "method": "freeze", **settings})


@pytest.mark.parametrize("method", ["freeze", "full", "lora"])
def test_a_run_changes_the_backbone_if_and_only_if_its_method_says_so(
    method: str, model: Path, tmp_path: Path
) -> None:
    """A1: "full" trained nothing but the head, under no_grad, and saved a copy of the untouched model."""
    table = write_table(tmp_path / "t.csv", "regression")
    run = train(table, model, tmp_path / "run", method=method, learning_rate=1e-2)
    before = load_file(model / "model.safetensors")
    saved = load_file(run.path / "model" / "model.safetensors")
    before = {name.removeprefix("esm."): tensor for name, tensor in before.items()}
    shared = [name for name in saved if "layer" in name and name in before]
    assert len(shared) > 20
    changed = [name for name in shared if not np.array_equal(saved[name], before[name])]
    if method == "full":
        assert len(changed) > len(shared) / 2
        assert any("query.weight" in name for name in changed)
    else:
        assert changed == []
    if method == "lora":
        adapter = load_file(run.path / "model" / "adapter" / "adapter_model.safetensors")
        assert all(np.any(tensor) for name, tensor in adapter.items() if "lora_B" in name)


@pytest.mark.parametrize("family", ["bert", "prott5", "ankh", "saprot", "esm"])
def test_training_and_prediction_read_a_sequence_the_same_way(family: str, tmp_path: Path) -> None:
    """A17: a length limit that counted spaces, words split and structure letters merged on one side only."""
    model = tiny_repo(family, tmp_path / "model")
    table = write_table(tmp_path / "t.csv", "regression", rows=48)
    run = train(table, model, tmp_path / "run", max_length=20)
    written = read_rows(run.path / "report" / "predictions_test.csv")
    sequences = [row["sequence"] for row in written]
    assert max(map(len, sequences)) > 20 > min(map(len, sequences))
    numbers = [float(row["prediction"]) for row in written]
    again = [record["prediction"] for record in run.predict(sequences)]
    np.testing.assert_allclose(again, numbers, atol=1e-4)
    cut = [record["prediction"] for record in run.predict([sequence[:20] for sequence in sequences])]
    np.testing.assert_allclose(cut, numbers, atol=1e-4)  # the limit is 20 residues, of every family
    assert np.std(numbers) > 1e-3


@pytest.mark.parametrize("method", ["freeze", "lora"])
def test_no_row_is_dropped_however_small_the_batches(method: str, model: Path, tmp_path: Path) -> None:
    """A12: every sequence longer than the token budget was dropped, in validation and test as well."""
    table = write_table(tmp_path / "t.csv", "residue_classification", rows=48)
    run = train(table, model, tmp_path / "run", method=method, tokens_per_batch=16)
    rows = read_rows(table)
    assert min(len(row["sequence"]) for row in rows) < 16 < max(len(row["sequence"]) for row in rows)
    for split in ("validation", "test"):
        written = read_rows(run.path / "report" / f"predictions_{split}.csv")
        assert [r["id"] for r in written] == [r["id"] for r in rows if r["split"] == split]
        assert [len(r["prediction"]) for r in written] == [len(r["sequence"]) for r in written]
        assert run.metrics["counts"][split]["residues"] == sum(len(r["sequence"]) for r in written)


@pytest.mark.parametrize("task", ["single_label_classification", "multi_label_classification", "regression"])
def test_the_validation_loss_is_the_tasks_own(task: str, model: Path, tmp_path: Path) -> None:
    """A7: cross-entropy was reported for regression and for multi-label tasks."""
    table = write_table(tmp_path / "t.csv", task)
    run = train(table, model, tmp_path / "run", monitor="loss")
    (event,) = [e for e in Run.open(run.path).events() if e["event"] == "evaluation"]
    rows = read_rows(run.path / "report" / "predictions_validation.csv")
    section = read_json(run.path / "model" / "config.json")["profactory"]
    temperature = section["calibration"]["temperature"]
    expected = expected_loss(task, rows, read_rows(table), temperature)
    assert event["metrics"]["loss"] == pytest.approx(expected, rel=1e-3)


def expected_loss(
    task: str, rows: list[dict[str, str]], table: list[dict[str, str]], temperature: float
) -> float:
    """Work the loss out from the text of a prediction file; its probabilities were calibrated afterwards."""
    if task == "regression":
        spread = np.std([float(row["label"]) for row in table if row["split"] == "train"])
        numbers = [[float(row[name]) / spread for row in rows] for name in ("label", "prediction")]
        return float(mean_squared_error(*numbers))
    names = [name.removeprefix("probability_") for name in rows[0] if name.startswith("probability_")]
    scores = np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
    truth = np.array([[name in row["label"].split(",") for name in names] for row in rows], float)
    if task == "single_label_classification":
        scores = scores**temperature
        return float(log_loss(truth, scores / scores.sum(axis=1, keepdims=True)))
    scores = 1 / (1 + ((1 - scores) / scores) ** temperature)
    return float(-(truth * np.log(scores) + (1 - truth) * np.log(1 - scores)).mean())
