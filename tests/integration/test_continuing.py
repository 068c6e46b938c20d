"""Going on from the model of a finished run (--init)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import profactory
from profactory.errors import CheckpointError, ConfigError, NotARunError
from profactory.files import read_json
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "t.csv", "single_label_classification")


@pytest.fixture(scope="module")
def first(table: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> profactory.TrainedRun:
    """Return a finished run with an adapter."""
    out = tmp_path_factory.mktemp("runs") / "first"
    settings: dict[str, Any] = {"method": "lora", "lora_rank": 3, "pooling": "attention", "epochs": 2}
    return profactory.train(table, model=str(model), out=out, learning_rate=3e-3, **settings)


def adapter(run: profactory.TrainedRun) -> dict[str, Any]:
    return load_file(run.path / "model" / "adapter" / "adapter_model.safetensors")


def test_training_goes_on_with_adapter_and_head(
    first: profactory.TrainedRun, table: Path, tmp_path: Path
) -> None:
    """A14: an adapter put inside another was not loaded, not in the optimizer and not saved."""
    before = adapter(first)
    assert any("lora_B" in name and tensor.abs().max() > 0 for name, tensor in before.items())
    still = profactory.train(table, init=str(first.path), out=tmp_path / "a", epochs=1, learning_rate=1e-12)
    unchanged = adapter(still)
    assert unchanged.keys() == before.keys()  # no doubled prefix
    for name, tensor in before.items():
        np.testing.assert_allclose(unchanged[name], tensor, atol=1e-7, err_msg=name)
    sequences = [row["sequence"] for row in read_rows(table)][:20]
    records = zip(first.predict(sequences), still.predict(sequences), strict=True)
    assert all(one["prediction"] == two["prediction"] for one, two in records)

    further = profactory.train(table, init=str(first.path), out=tmp_path / "b", epochs=2, learning_rate=3e-3)
    moved = adapter(further)
    assert [n for n in before if np.allclose(moved[n], before[n], atol=1e-6)] == []
    design = read_json(further.path / "model" / "config.json")["profactory"]["design"]
    assert (design["method"], design["pooling"], design["tuning"]["rank"]) == ("lora", "attention", 3)
    again = profactory.train(table, init=str(further.path), out=tmp_path / "c", epochs=1)
    assert adapter(again).keys() == before.keys()


def test_the_model_is_not_described_twice(
    first: profactory.TrainedRun, table: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"model, method cannot be given"):
        profactory.train(table, init=str(first.path), model=str(model), method="lora", out=tmp_path / "run")
    with pytest.raises(ConfigError, match="single_label_classification, not for regression"):
        profactory.train(table, init=str(first.path), task="regression", out=tmp_path / "run")
    with pytest.raises(NotARunError):
        profactory.train(table, init=str(tmp_path / "nothing"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_classes_are_those_of_the_model(first: profactory.TrainedRun, table: Path, tmp_path: Path) -> None:
    rows = [row for row in table.read_text().splitlines() if row.split(",")[2] != "many"]
    fewer = tmp_path / "fewer.csv"
    fewer.write_text("\n".join(rows) + "\n")
    run = profactory.train(fewer, init=str(first.path), out=tmp_path / "run", epochs=1)
    assert run.load().task.classes == first.load().task.classes
    fewer.write_text("\n".join([*rows, "x,MKTAYIAKQR,golgi,,train"]) + "\n")
    with pytest.raises(profactory.errors.ProFactoryError, match="golgi"):
        profactory.train(fewer, init=str(first.path), out=tmp_path / "other", epochs=1)


def test_a_resumed_run_must_begin_from_the_same_model(
    first: profactory.TrainedRun, table: Path, tmp_path: Path
) -> None:
    begun_from = shutil.copytree(first.path / "model", tmp_path / "model")
    run = profactory.train(table, init=str(begun_from), out=tmp_path / "run", epochs=1)
    Run.open(run.path).set_status("stopped")
    config = begun_from / "config.json"
    config.write_text(config.read_text().replace('"data_sha256"', '"data_sha_256"'))
    with pytest.raises(CheckpointError, match="init changed"):
        profactory.resume(run.path)
