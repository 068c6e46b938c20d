"""``profactory predict`` on a run with a tiny model."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from profactory.cli.main import main
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.runs import Run
from profactory.tasks import Task, TaskKind
from tests.support.models import tiny_esm


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    spec = resolve(str(tiny_esm(folder / "tiny")))
    task = Task(TaskKind.SINGLE_LABEL, ("soluble", "not"))
    made = Run.create(folder / "run", {"data": "toy.csv"})
    ProteinModel.build(spec, task, max_length=50).save(made.model_dir, provenance={})
    made.set_status("finished")
    return made.path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.tsv"
    path.write_text("id\taa_seq\np1\tMKTAYIAK\np2\tMKT1\n")
    return path


def test_one_sequence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--sequence", "MKTAYIAK"]) == 0
    lines = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert lines["prediction"] in ("soluble", "not")
    assert float(lines["probability_soluble"]) + float(lines["probability_not"]) == pytest.approx(1, abs=1e-3)


def test_several_sequences_and_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["predict", str(run / "model"), "--sequence", "MKTAYIAK", "--sequence", "mkt"]
    assert main(typed) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main([*typed, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [sorted(record) for record in records] == [
        ["prediction", "probability_not", "probability_soluble"]
    ] * 2


def test_a_sequence_that_is_none_ends_with_1(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--sequence", "12 hello!"]) == 1
    assert "no residue" in capsys.readouterr().err


def test_a_file(run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    assert main(["predict", str(run), str(source), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"1 of 2 rows predicted (torch fp32 on cpu): {out}\n"
    assert "Warning: 1 row has no prediction" in captured.err
    assert "line 3" in captured.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["p1", "p2"]
    before = out.read_bytes()
    assert main(["predict", str(run), str(source), "--out", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["predict", str(run), str(source), "--out", str(out), "--overwrite", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["predicted"], said["failed"]) == (2, 1, 1)


@pytest.mark.parametrize("words", [["-"], ["--sequence", "MKT"]])
def test_a_cluster_reads_files(run: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), *words, "--cluster", "ray", "--out", "out"]) == 2
    assert "A cluster reads files" in capsys.readouterr().err


def test_standard_input(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.csv"
    for text in (b">p1\nMKTAYIAK\n", b"id;seq\np1;MKTAYIAK\n", b'[{"id": "p1", "sequence": "MKTAYIAK"}]'):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main(["predict", str(run), "-", "--out", str(out), "--overwrite"]) == 0
        with out.open(newline="") as file:
            (row,) = csv.DictReader(file)
        assert (row["id"], row["error"]) == ("p1", "")
        assert row["prediction"] in ("soluble", "not")


def test_long_sequences(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["predict", str(run), "--sequence", "MKTAYIAK" * 10, "--json"]
    records = {}
    for long in ("truncate", "windows"):
        assert main([*typed, "--long", long]) == 0
        (records[long],) = json.loads(capsys.readouterr().out)
    assert records["truncate"]["truncated"] is True
    assert records["windows"]["windows"] == 2
    assert "truncated" not in records["windows"]
    assert main([*typed, "--long", "error"]) == 1
    assert "80 residues and the model reads 50" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input": "missing.csv"}, "missing.csv"),
        ({"out": "out.doc"}, "format"),
        ({"options": ["--sequence-column", "nothing"]}, "nothing"),
        ({"run": "nowhere"}, "nowhere"),
    ],
    ids=["input", "out", "column", "run"],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(
    run: Path,
    source: Path,
    tmp_path: Path,
    change: dict[str, object],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(ProteinModel, "load", load)
    monkeypatch.chdir(tmp_path)
    words = [str(change.get("run", run)), str(change.get("input", source))]
    options = ["--out", str(change.get("out", "out.csv")), *change.get("options", [])]  # type: ignore[misc]
    assert main(["predict", *words, *options]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert "fix: " in captured.err


def test_a_run_without_a_model_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unfinished = Run.create(tmp_path / "run", {"data": "toy.csv"})
    assert main(["predict", str(unfinished.path), "--sequence", "MKT"]) == 1
    assert f"profactory resume {unfinished.path}" in capsys.readouterr().err
