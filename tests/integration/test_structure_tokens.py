"""SaProt reads the 3Di letters of a table with any method: from training to the prediction of a new table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import profactory
from profactory.errors import ColumnError, ConfigError
from profactory.files import read_json
from tests.support.models import tiny_esm, tiny_repo
from tests.support.tables import read_rows, write_rows, write_table

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo("saprot", tmp_path_factory.mktemp("saprot") / "tiny")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Labels that follow from the 3Di letters and from nothing in the sequence."""
    rows = read_rows(write_table(tmp_path / "t.csv", "regression", rows=60))
    rng = np.random.default_rng(0)
    for index, row in enumerate(rows):
        share = rng.uniform(0.1, 0.9)
        length = len(row["sequence"])
        helix = rng.random(length) < share
        row["foldseek_3di"] = "".join(
            "V" if inside else other for inside, other in zip(helix, rng.choice(LETTERS, length), strict=True)
        )
        row["label"] = f"{helix.mean():.4f}"
        row["split"] = ("train", "train", "train", "validation", "test")[index % 5]
    return write_rows(tmp_path / "with.csv", rows)


def without(table: Path, file: Path) -> Path:
    rows = [{name: row[name] for name in row if name != "foldseek_3di"} for row in read_rows(table)]
    return write_rows(file, rows)


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    return profactory.train(table, model=str(model), out=out, **settings)


def design(run: profactory.TrainedRun) -> dict[str, Any]:
    section = read_json(run.path / "model" / "config.json")["profactory"]
    return dict(section["design"])


@pytest.mark.parametrize("method", ["freeze", "lora", "full"])
def test_trained_evaluated_and_predicted_with_structures(
    method: str, table: Path, model: Path, tmp_path: Path
) -> None:
    run = train(table, model, tmp_path / "run", method=method, epochs=2)
    assert design(run)["structures"] == {"3di": "foldseek_3di"}
    written = read_rows(run.path / "report" / "predictions_test.csv")
    run.predict(table, out=tmp_path / "out.csv")
    again = {row["id"]: float(row["prediction"]) for row in read_rows(tmp_path / "out.csv")}
    np.testing.assert_allclose(
        [again[row["id"]] for row in written], [float(row["prediction"]) for row in written], atol=1e-5
    )
    metrics = profactory.evaluate(run.path, table, split="test")
    assert metrics["test"]["rmse"]["value"] == pytest.approx(run.metrics["test"]["rmse"]["value"], abs=1e-6)
    rows = read_rows(table)
    masked = write_rows(
        tmp_path / "masked.csv", [{**row, "foldseek_3di": "X" * len(row["sequence"])} for row in rows]
    )
    run.predict(masked, out=tmp_path / "masked-out.csv")
    unknown = {row["id"]: float(row["prediction"]) for row in read_rows(tmp_path / "masked-out.csv")}
    assert max(abs(unknown[name] - again[name]) for name in again) > 1e-4


def test_structures_are_learnt_from(table: Path, model: Path, tmp_path: Path) -> None:
    options = {"method": "freeze", "epochs": 60, "patience": 0, "learning_rate": 5e-3}
    run = train(table, model, tmp_path / "run", **options)
    blind = train(without(table, tmp_path / "without.csv"), model, tmp_path / "blind", **options)
    assert run.metrics["test"]["spearman"]["value"] > blind.metrics["test"]["spearman"]["value"] + 0.2


def test_a_table_without_the_column_is_refused(table: Path, model: Path, tmp_path: Path) -> None:
    run = train(table, model, tmp_path / "run", epochs=1)
    bare = without(table, tmp_path / "bare.csv")
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        run.predict(bare, out=tmp_path / "out.csv")
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        profactory.evaluate(run.path, bare)
    with pytest.raises(ConfigError, match="3di strings"):
        run.predict(["MKTAYIAK"])
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        profactory.train(bare, init=str(run.path), out=tmp_path / "next", epochs=1)
    more = profactory.train(table, init=str(run.path), out=tmp_path / "next", epochs=1)
    assert design(more)["structures"] == {"3di": "foldseek_3di"}


@pytest.fixture(scope="module")
def prostt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_repo("prostt5", tmp_path_factory.mktemp("prostt5") / "tiny")


def test_prostt5_reads_structures_where_it_is_asked_to(
    table: Path, prostt5: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = train(table, prostt5, tmp_path / "plain", method="freeze", epochs=1)
    assert design(plain)["structures"] == {}  # a column alone does not take the residues away
    with caplog.at_level(logging.INFO, "profactory"):
        run = train(
            table, prostt5, tmp_path / "run", structure_columns=["3di=foldseek_3di"], epochs=2, lora_rank=4
        )
    assert any("in the place of the residues" in record.message for record in caplog.records)
    assert (design(run)["method"], design(run)["structures"]) == ("lora", {"3di": "foldseek_3di"})
    rows = read_rows(table)
    other = write_rows(
        tmp_path / "other.csv", [{**row, "sequence": "W" * len(row["sequence"])} for row in rows]
    )
    run.predict(table, out=tmp_path / "own.csv")
    run.predict(other, out=tmp_path / "other-out.csv")
    own, blind = (
        [float(row["prediction"]) for row in read_rows(tmp_path / name)]
        for name in ("own.csv", "other-out.csv")
    )
    assert own == blind  # residues are not read
    assert len(set(own)) > 1
    with pytest.raises(ColumnError, match="no column 'foldseek_3di'"):
        run.predict(without(table, tmp_path / "bare.csv"), out=tmp_path / "out.csv")


def test_prostt5_reads_residues_beside_the_adapter(table: Path, prostt5: Path, tmp_path: Path) -> None:
    run = train(table, prostt5, tmp_path / "run", method="ses-adapter", epochs=1)
    assert (design(run)["method"], design(run)["structures"]) == ("ses-adapter", {"3di": "foldseek_3di"})


def test_structures_are_joined(table: Path, model: Path, tmp_path: Path) -> None:
    bare = without(table, tmp_path / "bare.csv")
    joined = {"structures": str(table)}
    run = train(bare, model, tmp_path / "run", epochs=1, **joined)
    assert design(run)["structures"] == {"3di": "foldseek_3di"}
    assert design(run)["method"] != "ses-adapter"
    profactory.predict(run.path, bare, out=tmp_path / "joined.csv", **joined)
    profactory.predict(run.path, table, out=tmp_path / "own.csv")
    own, other = (
        [row["prediction"] for row in read_rows(tmp_path / f"{name}.csv")] for name in ("own", "joined")
    )
    assert own == other


def test_without_structures_the_model_says_so_and_reads_the_sequence(
    table: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bare = without(table, tmp_path / "bare.csv")
    with caplog.at_level(logging.INFO, "profactory"):
        run = train(bare, model, tmp_path / "run", epochs=1)
    assert sum("structure is unknown" in record.message for record in caplog.records) == 1
    assert design(run)["structures"] == {}
    (record,) = run.predict(["MKTAYIAK"])
    assert np.isfinite(record["prediction"])
    with pytest.raises(ConfigError, match="trained without structures"):
        profactory.train(bare, init=str(run.path), structures=str(table), out=tmp_path / "next")


def test_settings_of_structures_are_never_ignored(table: Path, model: Path, tmp_path: Path) -> None:
    """A15: what a model or method does not read is an error."""
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="reads structures in its tokens"):
        train(table, model, out, method="ses-adapter")
    with pytest.raises(ConfigError, match="does not read eight-state"):
        train(table, model, out, structure_columns=["3di=foldseek_3di", "ss8=foldseek_3di"])
    bare = without(table, tmp_path / "bare.csv")
    helices = [
        {"id": row["id"], "sequence": row["sequence"], "ss8": "H" * len(row["sequence"])}
        for row in read_rows(table)
    ]
    other = write_rows(tmp_path / "ss8.csv", helices)
    with pytest.raises(ColumnError, match="no 3Di letters"):
        train(bare, model, out, structures=str(other))
    esm = tiny_esm(tmp_path / "esm")
    with pytest.raises(ConfigError, match="structures has no meaning with method lora"):
        train(bare, esm, out, method="lora", structures=str(table))
    with pytest.raises(ConfigError, match="together"):
        train(bare, esm, out, lora_rank=4, structures=str(table))
    assert not out.exists()
    named = write_rows(
        tmp_path / "named.csv",
        [{("mine" if k == "foldseek_3di" else k): v for k, v in row.items()} for row in read_rows(table)],
    )
    run = train(named, model, out, lora_rank=4, structure_columns=["3di=mine"], epochs=1)
    assert (design(run)["method"], design(run)["structures"]) == ("lora", {"3di": "mine"})
