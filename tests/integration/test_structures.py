"""Structures joined while a table is read: training, evaluation, prediction."""

from __future__ import annotations

from pathlib import Path

import pytest

import profactory
from profactory.errors import ColumnError, ConfigError, RowError
from profactory.files import read_json
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_rows, write_table


@pytest.fixture
def proteins(tmp_path: Path) -> Path:
    return write_table(tmp_path / "proteins.csv", "regression", rows=30)


@pytest.fixture
def structures(proteins: Path, tmp_path: Path) -> Path:
    """Structures of all proteins; those of the first lack two residues in the middle."""
    rows = [
        {"id": row["id"], "sequence": row["sequence"], "ss8": "H" * len(row["sequence"])}
        for row in read_rows(proteins)
    ]
    rows[0] = {"id": rows[0]["id"], **{k: rows[0][k][:3] + rows[0][k][5:] for k in ("sequence", "ss8")}}
    return write_rows(tmp_path / "structures.csv", rows)


def test_from_structures_to_predictions(proteins: Path, structures: Path, tmp_path: Path) -> None:
    model = str(tiny_esm(tmp_path / "tiny"))
    options = {"model": model, "epochs": 1}
    run = profactory.train(proteins, out=tmp_path / "run", structures=str(structures), **options)
    section = read_json(run.path / "model" / "config.json")["profactory"]
    assert section["design"]["method"] == "ses-adapter"
    assert section["design"]["structures"] == {"ss8": "ss8"}
    metrics = profactory.evaluate(run.path, proteins, structures=structures)
    assert metrics["test"]["rmse"]["value"] > 0
    with pytest.raises(ColumnError, match="'ss8'"):
        profactory.predict(run.path, proteins, out=tmp_path / "without.csv")

    rows = read_rows(proteins)
    strange = [*rows[:3], {**rows[3], "id": "unknown"}]
    new = write_rows(tmp_path / "new.csv", strange)
    profactory.predict(run.path, new, out=tmp_path / "out.csv", structures=structures)
    written = read_rows(tmp_path / "out.csv")
    assert [row["id"] for row in written] == [row["id"] for row in strange]
    assert [bool(row["prediction"]) for row in written] == [True, True, True, False]
    assert "eight-state" in written[3]["error"]
    profactory.predict(
        run.path, new, out=tmp_path / "masked.csv", structures=structures, missing_structure="mask"
    )
    masked = read_rows(tmp_path / "masked.csv")
    assert all(row["prediction"] for row in masked)
    assert [row["prediction"] for row in masked[:3]] == [row["prediction"] for row in written[:3]]


def test_structures_are_never_ignored(proteins: Path, structures: Path, tmp_path: Path) -> None:
    """A15: a method that does not read them is an error; so is a row without one."""
    options = {"out": tmp_path / "run", "structures": str(structures)}
    with pytest.raises(ConfigError, match="structures has no meaning with method lora"):
        profactory.train(proteins, method="lora", **options)
    rows = read_rows(proteins)
    rows[4]["id"] = "unknown"
    write_rows(proteins, rows)
    with pytest.raises(RowError, match="1 of 30 rows") as caught:
        profactory.train(proteins, **options)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.value) == (6, "id", "unknown")
    assert not (tmp_path / "run").exists()


def test_a_model_that_reads_none_refuses_structures(
    proteins: Path, structures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A15 for trained models: refused before anything is read; a column that is just there is mentioned."""
    model = str(tiny_esm(tmp_path / "tiny"))
    run = profactory.train(proteins, out=tmp_path / "run", model=model, epochs=1, method="freeze")
    out = tmp_path / "out.csv"
    for place in (run.path, run.path / "model"):
        with pytest.raises(ConfigError, match="reads sequences alone") as caught:
            profactory.predict(place, proteins, out=out, structures=tmp_path / "need not exist")
        assert "leave --structures out" in caught.value.fix
    with pytest.raises(ConfigError, match="reads sequences alone"):
        profactory.evaluate(run.path, proteins, structures=structures)
    with pytest.raises(ConfigError, match="no structures are named"):
        profactory.predict(run.path, proteins, out=out, missing_structure="mask")
    with pytest.raises(ConfigError, match="does not read ss8 strings"):
        profactory.load(run.path).predict("MKT", structures={"ss8": ["HHH"]})
    assert not out.exists()
    with caplog.at_level("INFO"):
        profactory.predict(run.path, structures, out=out)
    assert "'ss8'" in caplog.text
    assert [row["ss8"] for row in read_rows(out)] == [row["ss8"] for row in read_rows(structures)]
