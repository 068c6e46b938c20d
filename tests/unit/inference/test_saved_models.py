"""Prediction with real (tiny) models: the same alone, in any batch, and after saving and loading."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from profactory import api
from profactory.inference.predictor import Predictor
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind
from tests.support.models import tiny_esm

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
TASKS = [
    Task(TaskKind.SINGLE_LABEL, ("a", "b", "c")),
    Task(TaskKind.MULTI_LABEL, ("a", "b", "c")),
    Task(TaskKind.REGRESSION, targets=("heat", "cold")),
    Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "E", "H")),
    Task(TaskKind.RESIDUE_MULTI_LABEL, ("dna", "metal"), separator="|"),
    Task(TaskKind.RESIDUE_REGRESSION),
]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("models") / "tiny")


def _sequences() -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list(LETTERS), int(length))) for length in rng.integers(1, 60, 25)]


def _save(backbone: Path, task: Task, folder: Path, method: str = "freeze") -> Predictor:
    model = ProteinModel.build(
        resolve(str(backbone)),
        task,
        method=method,
        pooling=None if task.per_residue else "mean",
        max_length=40,
    )
    model.save(folder, provenance={})
    return Predictor(model, device="cpu", tokens_per_batch=128)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_a_saved_model_predicts_the_same_row_by_row(backbone: Path, task: Task, tmp_path: Path) -> None:
    predictor = _save(backbone, task, tmp_path / "model")
    sequences = _sequences()
    together = predictor.predict_outputs(sequences)
    assert together.values.dtype == np.float32
    loaded = api.load(tmp_path / "model", device="cpu", tokens_per_batch=1)
    assert loaded.max_length == 40
    assert loaded.task == task
    for row, sequence in enumerate(sequences):
        alone = loaded.predict_outputs([sequence])[0]
        np.testing.assert_allclose(together[row], alone, rtol=1e-5, atol=1e-6)
        if task.per_residue:
            assert len(together[row]) == min(len(sequence), 40)
    assert np.ptp(together.values) > 1e-3  # not all the same by a dead network


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_files_hold_what_the_model_gives_in_memory(backbone: Path, task: Task, tmp_path: Path) -> None:
    predictor = _save(backbone, task, tmp_path / "model", method="lora")
    sequences = _sequences()
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("sequence\n" + "\n".join(sequences) + "\n")
    api.predict(tmp_path / "model", source, out=out, device="cpu")
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, predictor.predict(sequences), strict=True):
        for name, value in record.items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value, rel=1e-4, abs=1e-5)
            elif name == "prediction" and not task.kind.endswith("regression"):
                assert row[name] == value
        if task.per_residue:
            text = row["prediction"]
            length = len(text) if task.is_string else len(text.split(","))
            assert length == len(row["sequence"])
