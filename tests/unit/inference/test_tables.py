"""Files of predictions: every row, in order, with all its columns, whatever is wrong with some of them."""

from __future__ import annotations

import csv
import json
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from profactory.errors import ColumnError, ProFactoryError, ReadError, RowError
from profactory.evaluation.domain import fit_domain
from profactory.inference.file_report import FileReport
from profactory.inference.predictor import Predictor
from profactory.inference.tables import open_request, predict_file
from profactory.tasks import Task, TaskKind
from tests.support.fake_model import FakeModel

REGRESSION = Task(TaskKind.REGRESSION)
SINGLE = Task(TaskKind.SINGLE_LABEL, ("no", "yes"))
RESIDUE = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
SITES = Task(TaskKind.RESIDUE_MULTI_LABEL, ("a", "b"), separator="|")
NUMBERS = Task(TaskKind.RESIDUE_REGRESSION)


def _predictor(task: Task, **options: Any) -> Predictor:
    return Predictor(FakeModel(task, **options), device="cpu")


def _predict(
    predictor: Predictor,
    source: Path,
    out: Path,
    *,
    probabilities: bool = True,
    block: int = 4096,
    **ask: Any,
) -> FileReport:
    request = open_request(source, out, **ask)
    return predict_file(predictor, request, probabilities=probabilities, block_rows=block)


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text('id,sequence,note\np1,AC,"a,b"\np2,ACX12,bad\np3,cc,\np4,,empty\np5,A,=1+1\n')
    return path


def test_rows_keep_their_order_and_columns_and_bad_ones_stay(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "profactory"):
        report = _predict(_predictor(REGRESSION), source, tmp_path / "out.csv")
    rows = _csv(tmp_path / "out.csv")
    assert list(rows[0]) == ["id", "sequence", "note", "prediction", "truncated", "error"]
    assert [row["id"] for row in rows] == ["p1", "p2", "p3", "p4", "p5"]
    assert [row["sequence"] for row in rows] == ["AC", "ACX12", "cc", "", "A"]
    assert [row["note"] for row in rows] == ["a,b", "bad", "", "empty", "'=1+1"]
    assert [row["prediction"] for row in rows] == ["2.0", "", "3.0", "", "1.0"]
    assert [row["truncated"] for row in rows] == ["false", "", "false", "", "false"]
    assert "'1' at position 4" in rows[1]["error"]
    assert "empty" in rows[3]["error"]
    assert (report.rows, report.predicted, report.failed, report.truncated) == (5, 3, 2, 0)
    assert [problem.line for problem in report.problems] == [3, 5]
    assert "2 rows have no prediction" in caplog.text
    assert "line 3" in caplog.text


def test_classes_with_their_probabilities(source: Path, tmp_path: Path) -> None:
    _predict(_predictor(SINGLE), source, tmp_path / "out.csv")
    rows = _csv(tmp_path / "out.csv")
    assert [row["prediction"] for row in rows] == ["yes", "", "yes", "", "yes"]
    # Logits 2 and 4 for the mean letter 2.
    assert float(rows[0]["probability_yes"]) == pytest.approx(1 / (1 + np.exp(-2)))
    _predict(_predictor(SINGLE), source, tmp_path / "few.csv", probabilities=False)
    assert "probability_yes" not in _csv(tmp_path / "few.csv")[0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz"])
@pytest.mark.parametrize("task", [SINGLE, RESIDUE, SITES, NUMBERS], ids=lambda task: task.kind)
def test_every_format_holds_the_same(source: Path, tmp_path: Path, task: Task, suffix: str) -> None:
    from profactory.data.reading import open_table

    for name in ("one" + suffix, "two.csv"):
        _predict(_predictor(task), source, tmp_path / name)

    def rows(name: str) -> list[dict[str, str]]:
        found = [row for chunk in open_table(tmp_path / name).chunks() for row in chunk.columns.to_pylist()]
        return [{k: _number(v or "") for k, v in row.items() if k != "note"} for row in found]

    assert rows("one" + suffix) == rows("two.csv")


def _number(text: str) -> object:
    try:
        return round(float(text), 5)
    except ValueError:
        return text.lower()


def test_per_residue_text_is_as_long_as_the_sequence(tmp_path: Path) -> None:
    source = tmp_path / "in.fasta"
    source.write_text(">p1 first\nACAC\n>p2\nAC\n")
    report = _predict(_predictor(RESIDUE, max_length=3), source, tmp_path / "out.csv")
    rows = _csv(tmp_path / "out.csv")
    assert [row["prediction"] for row in rows] == ["HHH-", "HH"]
    assert [row["truncated"] for row in rows] == ["true", "false"]
    assert report.truncated == 1
    assert "longer than the model reads" in report.text()
    _predict(_predictor(NUMBERS, max_length=3), source, tmp_path / "numbers.csv")
    assert [row["prediction"] for row in _csv(tmp_path / "numbers.csv")] == ["1.0,3.0,1.0,", "1.0,3.0"]
    assert all(
        len(row["probability_H"].split(",")) == len(sequence)
        for row, sequence in zip(rows, ("ACAC", "AC"), strict=True)
    )


def test_rows_that_cannot_be_read_keep_their_place(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,sequence\np1,A\np2,A,too,many\np3,C\np4\n")
    report = _predict(_predictor(REGRESSION), source, tmp_path / "out.csv")
    rows = _csv(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["p1", "", "p3", ""]
    assert [row["prediction"] for row in rows] == ["1.0", "", "3.0", ""]
    assert "4 cells" in rows[1]["error"]
    assert [problem.line for problem in report.problems] == [3, 5]


def test_blocks_do_not_change_the_output(source: Path, tmp_path: Path) -> None:
    rows = "".join(f"p{i},{'AC' * (i % 7)}\n" for i in range(100))
    source.write_text("id,sequence\n" + rows + "bad,row,here\n")
    _predict(_predictor(REGRESSION), source, tmp_path / "one.csv")
    _predict(_predictor(REGRESSION), source, tmp_path / "two.csv", block=3)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_names_that_the_input_has_taken_are_numbered_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("sequence,prediction,prediction_2,error\nA,old,older,none\n")
    with caplog.at_level(logging.WARNING, "profactory"):
        _predict(_predictor(REGRESSION), source, tmp_path / "out.csv")
    (row,) = _csv(tmp_path / "out.csv")
    assert row == {
        "sequence": "A",
        "prediction": "old",
        "prediction_2": "older",
        "error": "none",
        "prediction_3": "1.0",
        "truncated": "false",
        "error_2": "",
    }
    assert "'prediction_3'" in caplog.text


def test_output_that_is_no_number_is_an_error_of_its_row(tmp_path: Path) -> None:
    class Broken(FakeModel):
        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            outputs = super().forward(*inputs)
            return torch.where(outputs == 3, torch.nan, outputs)

    source = tmp_path / "in.csv"
    source.write_text("sequence\nA\nC\nAC\n")
    for task, predictions in ((REGRESSION, ["1.0", "", "2.0"]), (NUMBERS, ["1.0", "", ""])):
        _predict(Predictor(Broken(task), device="cpu"), source, tmp_path / "out.csv", overwrite=True)
        rows = _csv(tmp_path / "out.csv")
        assert [row["prediction"] for row in rows] == predictions
        assert "not a number" in rows[1]["error"]


def test_an_existing_file_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(ProFactoryError, match="--overwrite"):
        _predict(_predictor(REGRESSION), source, out)
    assert out.read_text() == "precious"
    _predict(_predictor(REGRESSION), source, out, overwrite=True)
    assert len(_csv(out)) == 5
    with pytest.raises(ProFactoryError, match="the input itself"):
        _predict(_predictor(REGRESSION), source, source, overwrite=True)
    with pytest.raises(ProFactoryError, match="is a folder"):
        (tmp_path / "folder.csv").mkdir()
        _predict(_predictor(REGRESSION), source, tmp_path / "folder.csv", overwrite=True)


def test_what_cannot_be_predicted_at_all_writes_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    predictor = _predictor(REGRESSION)
    bad = tmp_path / "bad.csv"
    bad.write_text("sequence\n123\n456\n")
    with pytest.raises(RowError, match="not one of 2 rows"):
        _predict(predictor, bad, out)
    with pytest.raises(ColumnError, match="sequence"):
        _predict(predictor, source, out, sequence_column="nothing")
    with pytest.raises(ReadError):
        _predict(predictor, tmp_path / "missing.csv", out)
    with pytest.raises(ProFactoryError, match="format"):
        _predict(predictor, source, tmp_path / "out.doc")
    assert not out.exists()


def test_another_column_can_hold_the_sequences(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("sequence,binder\nC,A\n")
    _predict(_predictor(REGRESSION), source, tmp_path / "out.csv", sequence_column="binder")
    assert _csv(tmp_path / "out.csv")[0]["prediction"] == "1.0"


def test_long_lists_of_problems_are_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "in.csv"
    source.write_text("sequence\nA\n" + "1\n" * 2000)
    with caplog.at_level(logging.WARNING, "profactory"):
        report = _predict(_predictor(REGRESSION), source, tmp_path / "out.csv")
    assert (report.failed, len(report.problems)) == (2000, 1000)
    assert "1,980 more" in caplog.text
    said = json.loads(json.dumps(report.to_dict()))
    assert said["failed"] == 2000
    assert said["problems"][0]["line"] == 3


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        source = tmp_path / f"{rows}.parquet"
        sequences = ["ACDEFGHIKLMNPQRSTVWY"[i % 20] * 40 for i in range(rows)]
        pq.write_table(pa.table({"sequence": sequences}), source, row_group_size=2000)
        del sequences
        tracemalloc.start()
        try:
            _predict(_predictor(REGRESSION), source, tmp_path / f"{rows}.csv")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    assert peak(40_000) < 1.5 * peak(10_000)


def test_a_row_per_residue(tmp_path: Path) -> None:
    source, long = tmp_path / "in.fasta", tmp_path / "long.csv"
    source.write_text(">p1 first\nacAC\n>p2\nA1\n>p3\nAC\n")
    report = _predict(_predictor(RESIDUE, max_length=3), source, tmp_path / "out.csv", residue_table=long)
    rows = _csv(long)
    assert list(rows[0]) == [
        "row",
        "id",
        "position",
        "residue",
        "prediction",
        "probability_C",
        "probability_H",
    ]
    assert [(r["row"], r["id"], r["position"], r["residue"]) for r in rows] == [
        ("1", "p1", "1", "A"),
        ("1", "p1", "2", "C"),
        ("1", "p1", "3", "A"),  # the fourth is beyond what the model reads
        ("3", "p3", "1", "A"),
        ("3", "p3", "2", "C"),
    ]
    # Logits 1 and 2 for A, 3 and 6 for C.
    assert float(rows[0]["probability_H"]) == pytest.approx(1 / (1 + np.exp(-1)))
    assert float(rows[1]["probability_H"]) == pytest.approx(1 / (1 + np.exp(-3)))
    assert str(long) in report.text()
    _predict(_predictor(NUMBERS), source, tmp_path / "two.csv", residue_table=tmp_path / "long.parquet")
    table = pq.read_table(tmp_path / "long.parquet")
    assert table.column("prediction").to_pylist() == [1.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    with pytest.raises(ProFactoryError, match="one value per sequence"):
        _predict(_predictor(REGRESSION), source, tmp_path / "x.csv", residue_table=tmp_path / "y.csv")


def test_long_sequences_are_refused_when_asked_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("sequence\nAAAA\nAC\n")
    predictor = Predictor(FakeModel(REGRESSION, max_length=3), device="cpu", long="error")
    report = _predict(predictor, source, tmp_path / "out.csv")
    rows = _csv(tmp_path / "out.csv")
    assert [row["prediction"] for row in rows] == ["", "2.0"]
    assert "4 residues and the model reads 3" in rows[0]["error"]
    assert report.failed == 1
    source.write_text("sequence\nAAAA\nACCC\n")
    with pytest.raises(RowError, match="all 2 sequences are longer than the model reads") as caught:
        _predict(predictor, source, tmp_path / "none.csv")
    assert caught.value.fix == "--long windows or --long truncate"


@pytest.mark.parametrize(("strangers", "warned"), [(0, False), (4, False), (5, True), (50, True)])
def test_a_file_of_sequences_unlike_the_training_data_is_warned_of(
    tmp_path: Path, strangers: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    known = ["ACDEFGHIKL" * 3 + "A" * (i % 9) + "C" * (i % 7) for i in range(100)]
    model = FakeModel(REGRESSION)
    model.domain = fit_domain(known[:50], known[50:])
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    sequences = ["Q" * 30] * strangers + ["ACDEFGHIKLACDEFGHIKLACDEFGHIKLAAAACCC"] * (50 - strangers)
    source.write_text("\n".join(["sequence", *sequences, "12"]) + "\n")
    report = _predict(Predictor(model, device="cpu"), source, out, block=7)
    rows = _csv(out)
    assert list(rows[0]) == ["sequence", "prediction", "novelty", "unlike", "truncated", "error"]
    assert [row["unlike"] for row in rows] == ["composition"] * strangers + [""] * (51 - strangers)
    assert [float(row["novelty"]) for row in rows[:strangers]] == [1.0] * strangers
    assert rows[-1]["novelty"] == ""
    assert report.unlike == strangers
    assert report.unlike_in == ({"composition": strangers} if strangers else {})
    assert json.loads(json.dumps(report.to_dict()))["unlike_in"] == dict(report.unlike_in)
    both = FileReport(report.out)
    both.merge(json.loads(json.dumps(report.counts())))
    assert both.unlike_in == report.unlike_in
    share = f"{2 * strangers} %"
    found = (
        f"{share} of the sequences look unlike the training data (column novelty above 0.99): {share} in comp"
    )
    assert (found in caplog.text) == warned
