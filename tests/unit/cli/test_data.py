"""``profactory check`` and ``profactory split``."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from profactory.cli.main import main
from profactory.pipeline.split import split_data


@pytest.fixture
def source(tmp_path: Path) -> Path:
    letters = "ACDEFGHIKLMNPQRSTVWY"
    rows = [f"p{i},{letters[i:] + letters[:i] + letters[::-1]},{'ab'[i % 2]}" for i in range(20)]
    path = tmp_path / "in.csv"
    path.write_text("id,sequence,label\n" + "\n".join(rows) + "\n")
    return path


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_split_puts_every_row_into_one_file(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["split", str(source), "--out", str(tmp_path / "parts"), "--method", "random"]
    assert main([*typed, "--ratios", "0.5", "0.25", "0.25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"train": 10, "validation": 5, "test": 5}
    parts = [_rows(tmp_path / "parts" / f"{name}.csv") for name in ("train", "validation", "test")]
    assert sorted((row for part in parts for row in part), key=lambda row: row["id"]) == sorted(
        _rows(source), key=lambda row: row["id"]
    )


def test_split_says_how_near_test_and_training_sequences_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten proteins in train; two of them in test, with one of two halves and one without a relative."""
    draw = random.Random(7)
    proteins = ["".join(draw.choices("ACDEFGHIKLMNPQRSTVWY", k=60)) for _ in range(10)]
    rows = [(p, "train") for p in proteins] + [(p, "test") for p in proteins[:2]]
    rows += [("ACDEF" * 12, "validation")]
    rows += [(proteins[2][:30] + proteins[3][30:][::-1], "test"), ("W" * 60, "test")]
    source = tmp_path / "in.csv"
    source.write_text("sequence,split\n" + "".join(f"{s},{part}\n" for s, part in rows))
    typed = ["split", str(source), "--out", str(tmp_path / "parts"), "--method", "given"]
    assert main([*typed, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["leakage"]
    assert found["exact_duplicates"]["train-test"] == 2
    assert (found["test_rows_examined"], found["near_duplicates"]) == (4, 2)
    assert sum(found["identity_histogram"]["counts"]) == 4
    assert main([*typed, "--overwrite"]) == 0
    assert "Test against train: 2 exact duplicates, 2 of 4 with a relative" in capsys.readouterr().out
    assert main(["split", str(source), "--out", str(tmp_path / "one"), "--ratios", "1", "0", "0", "--method",
                 "random", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["leakage"] is None


def test_split_overwrites_nothing_unasked(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = tmp_path / "parts"
    typed = ["split", str(source), "--out", str(parts)]
    parts.mkdir()
    (parts / "test.csv").write_text("precious")
    assert main(typed) == 1
    assert "test.csv" in capsys.readouterr().err
    assert (parts / "test.csv").read_text() == "precious"
    assert main([*typed, "--overwrite"]) == 0
    assert "train.csv" in capsys.readouterr().out
    assert main(["split", str(source), "--out", str(source)]) == 1


def test_split_says_anew_what_the_rows_are(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    rows = [f"{'ACDEFGHIKL'[i] * (i + 5)},{i},train" for i in range(10)]
    source.write_text("sequence,label,split\n" + "\n".join(rows) + "\n")
    typed = [
        "split",
        str(source),
        "--out",
        str(tmp_path / "parts"),
        "--method",
        "random",
        "--task",
        "regression",
    ]
    assert main(typed) == 0
    for name in ("train", "validation", "test"):
        assert {row["split"] for row in _rows(tmp_path / "parts" / f"{name}.csv")} == {name}


def test_check_ends_with_1_if_rows_cannot_be_used_and_fix_mends_it(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(source)]) == 0
    source.write_text(source.read_text() + "p20,MK1,a\np21,,b\n")
    assert main(["check", str(source)]) == 1
    said = capsys.readouterr().out
    assert "line 22" in said
    assert "line 23" in said
    assert main(["check", str(source), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["usable"] is False
    assert main(["check", str(source), "--fix", "--out", str(tmp_path / "clean")]) == 0
    assert main(["check", str(tmp_path / "clean" / "clean.csv")]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "0"], "limit"),
        (["--label-column", "no"], "'no'"),
        (["--task", "residue_regression"], "p0"),
    ],
)
def test_check_names_what_cannot_be(
    source: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(source), *options]) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if said != "p0":
        assert said in captured.err


def test_split_of_very_many_rows_says_that_nothing_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("profactory.data.leakage.MOST_COMPARED", 10)
    source = tmp_path / "data.csv"
    source.write_text("sequence\n" + "".join(f"MK{'ACDEFGHIKLMN'[i] * (i + 9)}\n" for i in range(12)))
    report = split_data(source, tmp_path / "parts", method="random")
    assert report.leakage is None
    assert "Relatives of test sequences were not looked for: there are more than 10 rows." in report.text()
