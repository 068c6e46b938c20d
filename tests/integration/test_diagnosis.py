"""Trainings made to go wrong, from the table to the report: what the diagnosis says of them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import profactory
from profactory.files import read_json
from tests.support.models import tiny_esm
from tests.support.tables import random_sequences, write_rows

CHARGED, OTHERS = "DEHKR", "ACFGILMNPQSTVWY"


def sequence_with(share: float, rng: random.Random) -> str:
    """Return 60 residues of which about a share is charged."""
    return "".join(rng.choice(CHARGED if rng.random() < share else OTHERS) for _ in range(60))


def charged(sequence: str) -> float:
    """Return the share of charged residues."""
    return sum(map(sequence.count, CHARGED)) / len(sequence)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def diagnosis(rows: list[dict[str, str]], model: Path, tmp_path: Path, **settings: Any) -> dict[str, Any]:
    """Train on a table and return the diagnosis that the run wrote."""
    table = write_rows(tmp_path / "t.csv", rows)
    run = profactory.train(table, model=str(model), method="freeze", out=tmp_path / "run", **settings)
    written = read_json(run.path / "report" / "diagnosis.json")
    page = (run.path / "report" / "report.html").read_text(encoding="utf-8")
    for finding in written["findings"]:
        assert finding["sentence"].partition(":")[0] in page
    return written


def test_a_model_that_predicts_one_class_for_all(model: Path, tmp_path: Path) -> None:
    """Labels that nothing in the sequences tells apart, 7 of 10 in one class."""
    rng = random.Random(0)
    names = ["cytosol"] * 7 + ["membrane"] * 2 + ["nucleus"]
    rows = [
        {"sequence": sequence, "label": rng.choice(names), "split": split}
        for sequence, split in zip(
            random_sequences(200), ["train"] * 120 + ["validation"] * 40 + ["test"] * 40, strict=True
        )
    ]
    written = diagnosis(rows, model, tmp_path, epochs=6)
    (found,) = (f for f in written["findings"] if f["kind"] == "class_collapse")
    assert found["evidence"]["most_predicted"] == "cytosol"
    assert found["evidence"]["share_of_predictions"] >= 0.95
    counted = [row["label"] for row in rows if row["split"] == "validation"].count("cytosol") / 40
    assert found["evidence"]["share_of_labels"] == pytest.approx(counted)
    assert found["remedies"][0] == "--class-weights balanced"


def test_each_of_several_models_has_its_diagnosis_and_the_whole_counts_them(
    model: Path, tmp_path: Path
) -> None:
    """Labels that nothing in the sequences tells apart, in three folds."""
    rng = random.Random(0)
    names = ["cytosol"] * 7 + ["membrane"] * 2 + ["nucleus"]
    rows = [{"sequence": sequence, "label": rng.choice(names)} for sequence in random_sequences(200)]
    table = write_rows(tmp_path / "t.csv", rows)
    out = tmp_path / "run"
    run = profactory.train(table, model=str(model), method="freeze", out=out, folds=3, epochs=6)
    each = [read_json(path / "report" / "diagnosis.json") for path in sorted((out / "members").iterdir())]
    assert len(each) == 3
    expected = Counter(finding["kind"] for one in each for finding in one["findings"])
    assert expected["underfitting"]
    assert run.metrics["members"]["symptoms"] == expected
    assert f"underfitting in {expected['underfitting']}" in run.report.read_text(encoding="utf-8")


def test_a_test_set_of_another_kind(model: Path, tmp_path: Path) -> None:
    """The label is the share of charged residues, but in the test set it is chance."""
    rng = random.Random(1)
    rows = []
    for index in range(260):
        split = "train" if index < 140 else "validation" if index < 200 else "test"
        sequence = sequence_with(rng.random(), rng)
        label = rng.random() if split == "test" else charged(sequence)
        rows.append({"sequence": sequence, "label": f"{label:.4f}", "split": split})
    for copy in range(5):  # one residue of sixty is another: a relative of more than 90 % identity
        rows[-1 - copy]["sequence"] = "W" + rows[copy]["sequence"][1:]
    written = diagnosis(rows, model, tmp_path, epochs=40, learning_rate=0.01, patience=0)
    (found,) = (f for f in written["findings"] if f["kind"] == "test_below_validation")
    evidence = found["evidence"]
    assert evidence["validation"]["low"] > evidence["test"]["high"]
    assert evidence["rows"] == {"validation": 60, "test": 60}
    assert evidence["leakage"]["near_duplicates"] == 5
    assert "5 test sequences have a relative of 90 % identity in train" in found["sentence"]
    assert found["remedies"][0] == "--split homology"


def test_a_training_that_goes_well(model: Path, tmp_path: Path) -> None:
    """The same labels in all splits: neither finding."""
    rng = random.Random(2)
    rows = []
    for index in range(200):
        sequence = sequence_with(rng.random(), rng)
        split = "train" if index < 120 else "validation" if index < 160 else "test"
        rows.append(
            {"sequence": sequence, "label": "many" if charged(sequence) > 0.5 else "few", "split": split}
        )
    written = diagnosis(rows, model, tmp_path, epochs=20, learning_rate=0.01)
    assert {f["kind"] for f in written["findings"]} & {"class_collapse", "test_below_validation"} == set()
