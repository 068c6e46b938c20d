"""What a run says about relatives of the test sequences in train, on a set made of them."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

import profactory
from profactory.data import homology
from profactory.errors import DataError
from profactory.files import read_json
from tests.support.models import tiny_esm
from tests.support.tables import RESIDUES, random_sequences, read_rows

FAMILIES, MEMBERS, LONERS = 40, 6, 160


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"), width=64)


@pytest.fixture(scope="module")
def redundant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels that nothing but a relative tells: one by family at random, others have no family."""
    rng = random.Random(3)
    rows = []
    for ancestor in random_sequences(FAMILIES, low=60, high=90, seed=1):
        label = rng.choice("ab")
        for _ in range(MEMBERS):
            letters = list(ancestor)
            for place in rng.sample(range(len(letters)), 2):
                letters[place] = rng.choice(RESIDUES)
            rows.append(("".join(letters), label))
    rows += [(s, rng.choice("ab")) for s in random_sequences(LONERS, low=60, high=90, seed=2)]
    path = tmp_path_factory.mktemp("data") / "redundant.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("sequence", "label"), *rows])
    return path


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    settings = {"split": "random", "epochs": 60, "patience": 0, "learning_rate": 3e-3, "seed": 2, **settings}
    return profactory.train(table, model=str(model), method="freeze", out=out, **settings)


@pytest.mark.parametrize("mmseqs", [True, False])
def test_random_split_of_relatives_is_warned_of_with_what_is_at_stake(
    mmseqs: bool, redundant: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    if not mmseqs:
        monkeypatch.setattr(homology, "find_mmseqs", lambda: None)
    elif homology.find_mmseqs() is None:
        pytest.skip('pip install "profactory[homology]" brings MMseqs2')
    run = train(redundant, model, tmp_path / "run")
    noted = read_json(run.path / "data.json")["leakage"]
    found = run.metrics["leakage"]
    related = noted["near_duplicates"]
    assert noted["method"] == ("mmseqs2" if mmseqs else "kmer_estimate")
    assert 15 < related < noted["test_rows"] == 40
    assert found["scores"]["below_90"]["rows"] == 40 - related
    assert set(found["scores"]) == ({"below_30", "below_50", "below_90"} if mmseqs else {"below_90"})
    assert found["at_stake"]["difference"] > 0.1  # relatives are remembered, the others are guessed
    assert "of the score rests on relatives in train" in found["warning"]
    assert found["warning"] in caplog.text
    page = run.report.read_text(encoding="utf-8")
    assert "rests on relatives in train" in page
    assert "How new are the test sequences?" in page
    assert (run.path / "report" / "identity.png").is_file()
    assert ("were not looked for" in page) is not mmseqs


def test_scores_of_subsets_are_those_of_their_rows(redundant: Path, model: Path, tmp_path: Path) -> None:
    """Counted on the written predictions: the sequences without a family are those below 90 %."""
    run = train(redundant, model, tmp_path / "run", epochs=5)
    written = read_rows(run.path / "report" / "predictions_test.csv")
    loners = set(random_sequences(LONERS, low=60, high=90, seed=2))
    alone = [row for row in written if row["sequence"] in loners]
    subset = run.metrics["leakage"]["scores"]["below_90"]
    assert subset["rows"] == len(alone)
    right = sum(row["label"] == row["prediction"] for row in alone) / len(alone)
    assert subset["metrics"]["accuracy"]["value"] == pytest.approx(right)


def test_homology_split_of_the_same_data_has_no_warning(redundant: Path, model: Path, tmp_path: Path) -> None:
    if homology.find_mmseqs() is None:
        pytest.skip('pip install "profactory[homology]" brings MMseqs2')
    run = train(redundant, model, tmp_path / "run", split="homology", epochs=2)
    assert run.metrics["leakage"]["near_duplicates"] == 0
    assert run.metrics["leakage"]["warning"] == ""
    assert "rests on relatives" not in run.report.read_text(encoding="utf-8")


def test_the_search_is_done_once_for_the_same_data_and_split(
    redundant: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(redundant, model, tmp_path / "first", epochs=2)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr("profactory.data.leakage.find_leakage", refuse)
    second = train(redundant, model, tmp_path / "second", epochs=1)
    assert second.metrics["leakage"]["identity_histogram"] == first.metrics["leakage"]["identity_histogram"]
    with pytest.raises(AssertionError, match="searched again"):
        train(redundant, model, tmp_path / "third", epochs=1, seed=1)


def test_a_failing_search_is_said_and_does_not_stop_the_run(
    redundant: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise DataError("MMseqs2 stopped with code 1 at `search`.")

    monkeypatch.setattr(homology, "find_mmseqs", lambda: Path("/bin/false"))
    monkeypatch.setattr(homology, "search", broken)
    run = train(redundant, model, tmp_path / "run", epochs=1, seed=2)
    assert run.metrics["leakage"]["method"] == "kmer_estimate"
    assert "MMseqs2 stopped with code 1" in caplog.text


def test_of_too_many_rows_only_copies_are_counted_which_is_said_everywhere(
    redundant: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr("profactory.data.leakage.MOST_COMPARED", 200)
    table = tmp_path / "given.csv"
    rows = [row["sequence"] for row in read_rows(redundant)]
    parts = ["train"] * 300 + ["validation"] * 50 + ["test"] * 50
    lines = [f"{s},{'ab'[i % 2]},{part}\n" for i, (s, part) in enumerate(zip(rows, parts, strict=True))]
    lines[-1] = f"{rows[0]},a,test\n"  # stands in train
    table.write_text("sequence,label,split\n" + "".join(lines), encoding="utf-8")
    run = train(table, model, tmp_path / "run", split="given", epochs=1)
    said = "Relatives of test sequences were not looked for: there are more than 200 rows."
    assert read_json(run.path / "data.json")["leakage"] == {
        "exact_duplicates": {"train-validation": 0, "train-test": 1, "validation-test": 0},
        "note": said,
        "warning": "",
    }
    assert f"1 exact duplicates. {said}" in caplog.text
    assert said in run.report.read_text(encoding="utf-8")
    card = (run.path / "model" / "README.md").read_text(encoding="utf-8")
    assert said in card
    assert "near duplicates" not in card
    assert "leakage" not in run.metrics
