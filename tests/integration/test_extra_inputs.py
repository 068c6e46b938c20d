"""Structure strings and features from the table to the prediction, and layers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import profactory
from profactory.errors import ColumnError, ConfigError, RowError
from profactory.files import read_json
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_rows, write_table

LETTERS = "DVQPL"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Labels that follow from the structure strings and from nothing in the sequence."""
    file = write_table(tmp_path / "t.csv", "regression", rows=64)
    rows = read_rows(file)
    rng = np.random.default_rng(0)
    for index, row in enumerate(rows):
        share = rng.uniform(0.1, 0.9)
        length = len(row["sequence"])
        row["foldseek_3di"] = "".join(rng.choice(list(LETTERS), length))
        row["ss8"] = "".join("H" if rng.random() < share else "C" for _ in range(length))
        row["label"] = f"{row['ss8'].count('H') / length:.4f}"
        row["split"] = ("train", "train", "train", "validation", "test")[index % 5]
    return write_rows(tmp_path / "structures.csv", rows)


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    return profactory.train(table, model=str(model), out=out, **settings)


@pytest.mark.parametrize("pooling", ["mean", pytest.param("light-attention", marks=pytest.mark.slow)])
def test_the_adapter_learns_from_structures(pooling: str, table: Path, model: Path, tmp_path: Path) -> None:
    options = {"pooling": pooling, "epochs": 20, "patience": 0}
    run = train(table, model, tmp_path / "run", method="ses-adapter", learning_rate=5e-3, **options)
    assert run.metrics["test"]["spearman"]["value"] > 0.8
    blind = train(table, model, tmp_path / "blind", method="freeze", **options)
    assert blind.metrics["test"]["spearman"]["value"] < 0.6
    assert list((run.path / "ckpt").iterdir())
    written = read_rows(run.path / "report" / "predictions_test.csv")
    run.predict(table, out=tmp_path / "out.csv")
    again = {row["id"]: row["prediction"] for row in read_rows(tmp_path / "out.csv")}
    np.testing.assert_allclose(
        [float(again[row["id"]]) for row in written], [float(row["prediction"]) for row in written], atol=1e-5
    )
    metrics = profactory.evaluate(run.path, table, split="test")
    assert metrics["test"]["rmse"]["value"] == pytest.approx(run.metrics["test"]["rmse"]["value"], abs=1e-6)


IN_A_NEW_PROCESS = """
import json, sys, profactory
sequences, structures = json.loads(sys.argv[2]), json.loads(sys.argv[3])
records = profactory.load(sys.argv[1]).predict(sequences, structures=structures)
print(json.dumps([record["prediction"] for record in records]))
"""


@pytest.mark.slow
def test_the_adapter_predicts_identically_in_a_new_process(table: Path, model: Path, tmp_path: Path) -> None:
    run = train(table, model, tmp_path / "run", method="ses-adapter", epochs=3)
    rows = read_rows(table)[:9]
    sequences = [row["sequence"] for row in rows]
    structures = {"3di": [row["foldseek_3di"] for row in rows], "ss8": [row["ss8"] for row in rows]}
    here = [record["prediction"] for record in run.load().predict(sequences, structures=structures)]
    words = [str(run.path), json.dumps(sequences), json.dumps(structures)]
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, *words]
    there = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6)
    assert np.std(here) > 1e-3
    other = {"3di": structures["3di"], "ss8": ["C" * len(text) for text in structures["ss8"]]}
    changed = [record["prediction"] for record in run.load().predict(sequences, structures=other)]
    assert np.abs(np.subtract(changed, here)).max() > 1e-3  # the strings are read


def test_structure_columns_are_never_ignored(table: Path, model: Path, tmp_path: Path) -> None:
    """A15: given with another method they are an error; alone they choose the method that reads them."""
    with pytest.raises(ConfigError, match="structure_columns has no meaning with method lora"):
        train(table, model, tmp_path / "run", method="lora", structure_columns=["ss8"])
    run = train(table, model, tmp_path / "run", structure_columns=["ss8"], epochs=1)
    section = read_json(run.path / "model" / "config.json")["profactory"]
    assert section["design"]["method"] == "ses-adapter"
    assert section["design"]["structures"] == {"ss8": "ss8"}


def test_a_table_without_structures_is_refused_with_what_is_missing(
    table: Path, model: Path, tmp_path: Path
) -> None:
    bare = write_table(tmp_path / "bare.csv", "regression")
    with pytest.raises(ColumnError, match="foldseek_3di"):
        train(bare, model, tmp_path / "run", method="ses-adapter")
    assert not (tmp_path / "run").exists()
    run = train(table, model, tmp_path / "run", method="ses-adapter", epochs=1)
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        run.predict(bare, out=tmp_path / "out.csv")
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        profactory.evaluate(run.path, bare)
    with pytest.raises(ConfigError, match="3di and ss8 strings"):
        run.predict(["MKTAYIAK"])
    structures = {"3di": ["DVDVDVDV"], "ss8": ["HHHHCCCC"]}
    (record,) = run.load().predict("MKTAYIAK", structures=structures)
    assert np.isfinite(record["prediction"])
    with pytest.raises(RowError, match="for 9 residues"):
        run.load().predict("MKTAYIAKQ", structures=structures)


def test_strings_of_another_length_are_named_with_their_rows(
    table: Path, model: Path, tmp_path: Path
) -> None:
    rows = read_rows(table)
    rows[3]["ss8"] += "H"
    rows[8]["foldseek_3di"] = "D1" + rows[8]["foldseek_3di"][2:]
    bad = write_rows(tmp_path / "bad.csv", rows)
    with pytest.raises(RowError) as caught:
        train(bad, model, tmp_path / "run", method="ses-adapter")
    found = [(problem.line, problem.column) for problem in caught.value.problems]
    assert sorted(found) == [(5, "ss8"), (10, "foldseek_3di")]
    run = train(table, model, tmp_path / "run", method="ses-adapter", epochs=1)
    run.predict(bad, out=tmp_path / "out.csv")
    errors = {row["id"]: row["error"] for row in read_rows(tmp_path / "out.csv") if row["error"]}
    assert sorted(errors) == ["p3", "p8"]
    assert "residues" in errors["p3"]


@pytest.mark.parametrize("method", ["freeze", "lora"])
def test_features_stand_beside_the_embedding(method: str, model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "single_label_classification")
    features = ["hydrophobicity", "charge", "aaindex"]
    run = train(table, model, tmp_path / "run", method=method, features=features, epochs=2)
    rows = read_rows(run.path / "report" / "predictions_test.csv")
    records = run.predict([row["sequence"] for row in rows])
    for row, record in zip(rows, records, strict=True):
        assert record["probability_few"] == pytest.approx(float(row["probability_few"]), abs=1e-5)
    loaded = run.load().model
    assert loaded.head.in_width == 32 + 1 + 1 + 15
    train_rows = [row["sequence"] for row in read_rows(table) if row["split"] == "train"]
    from profactory.models.descriptors import describe

    np.testing.assert_allclose(loaded.beside.shift, describe(train_rows, features).mean(0), rtol=1e-4)


def test_features_that_cannot_be_are_refused(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "residue_classification")
    with pytest.raises(ConfigError, match="whole sequence"):
        train(table, model, tmp_path / "run", features=["charge"])
    table = write_table(tmp_path / "s.csv", "regression")
    with pytest.raises(ConfigError, match="'colour'"):
        train(table, model, tmp_path / "run", features=["colour"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("layer", "pooling"), [(1, "mean"), ("mix", "mean"), ("mix", "attention")])
def test_other_layers_train_and_predict(layer: Any, pooling: str, model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "regression", rows=48)
    run = train(table, model, tmp_path / "run", method="freeze", layer=layer, pooling=pooling, epochs=2)
    rows = read_rows(run.path / "report" / "predictions_test.csv")
    records = run.predict([row["sequence"] for row in rows])
    np.testing.assert_allclose(
        [r["prediction"] for r in records], [float(row["prediction"]) for row in rows], atol=1e-5
    )
    mix = run.load().model.mix
    assert (mix is not None) == (layer == "mix")
    assert mix is None or not torch.allclose(mix.weights, torch.full((3,), 1 / 3), atol=1e-6)
