"""The data report with what training would cost: its page, its files, and what it says of the model."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from profactory import api
from profactory.errors import ConfigError, DataError, RowError, UnknownModelError
from profactory.pipeline.check import check_data
from profactory.tasks import TaskKind


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "proteins.csv"
    rows = [f"MK{'ACDEFGHIKLMNPQRSTVWY'[i] * (i + 3)},{'ab'[i % 2]}" for i in range(20)]
    path.write_text("sequence,label\n" + "\n".join([*rows, "MK1,<b>bold</b>", "MKV,a"]) + "\n")
    return path


def test_page_stands_alone_and_names_what_is_wrong(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    report = check_data(table, out=out)
    page = (out / "report.html").read_text()
    assert "22 rows read = 21 used + 1 rejected" in page
    assert "letter &#39;1&#39; at position 3" in page
    assert "profactory train" in page
    assert page.count('src="data:image/png;base64,') == 2
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert json.loads((out / "report.json").read_text())["counts"]["rejected"] == 1
    assert [Path(name).name for name in report.written] == ["rejected_rows.csv", "report.html", "report.json"]
    with pytest.raises(DataError, match="already holds"):
        check_data(table, out=out)
    assert check_data(table, out=out, overwrite=True).written


def test_text_from_data_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    rows = "".join(f"MK{'ACDEFGHIKL'[i]},{'<script>' if i % 2 else '{{ 1 }}'}\n" for i in range(10))
    path.write_text("sequence,<img src=x>\n" + rows + "MK<1>,a\n")
    check_data(path, label_column="<img src=x>", out=tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;img src=x&gt;" in page


def test_estimate_and_limit_are_those_of_the_model(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("sequence,label\n" + "".join(f"{'MKV' * (200 + i)},{i % 2}\n" for i in range(200)))
    small, large = check_data(path), check_data(path, model="esm2-650m", method="full", max_length=700)
    assert small.too_long == 59  # 3 * (200 + i) > 1022 from i = 141
    assert large.too_long == 166  # > 700 from i = 34
    assert small.estimate["method"] == "freeze"
    assert large.estimate["memory_bytes"] > 4 * 4 * 649_400_320
    assert large.estimate["download_bytes"] == 4 * 649_400_320
    assert "esm2-650m, full:" in large.text()
    assert large.next_command.endswith("--model esm2-650m --method full --max-length 700")
    with pytest.raises(UnknownModelError):
        check_data(path, model="esm9")


def test_a_model_of_unknown_size_is_simply_not_estimated(table: Path) -> None:
    report = check_data(table, model="someone/some-model")
    assert "memory_bytes" not in report.estimate
    assert "Training here" not in report.text()


def test_the_folder_with_the_data_is_no_place_for_the_report(table: Path) -> None:
    with pytest.raises(DataError, match="is the folder with the data"):
        check_data(table.parent, out=table.parent)


def test_needs_no_torch(table: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from profactory import api; api.check(sys.argv[1], out=sys.argv[2]);"
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(table), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 0


def test_too_little_memory_is_said(table: Path) -> None:
    text = check_data(table, model="esm2-15b", method="full").text()
    assert "That is more memory than is free" in text
    assert "That is more memory" not in check_data(table).text()


def test_where_no_row_can_be_used_all_are_named_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("profactory.data.problems.KEPT", 5)
    path, out = tmp_path / "data.csv", tmp_path / "out"
    path.write_text("sequence,label\n" + "".join(f"{i},a\n" for i in range(30)))
    with pytest.raises(RowError, match="30 of 30 rows cannot be used"):
        check_data(path, out=out)
    rows = list(csv.DictReader((out / "rejected_rows.csv").read_text().splitlines()))
    assert [(row["line"], row["value"]) for row in rows] == [(str(i + 2), str(i)) for i in range(30)]
    report = json.loads((out / "report.json").read_text())
    assert report["usable"] is False
    assert (report["counts"]["rows_read"], report["counts"]["used"], report["counts"]["rejected"]) == (
        30,
        0,
        30,
    )
    page = (out / "report.html").read_text()
    assert "30 rows read = 0 used + 30 rejected" in page
    assert "5 of 30; all are in rejected_rows.csv" in page
    assert str(out / "rejected_rows.csv") in caplog.text
    with pytest.raises(DataError, match="already holds"):
        check_data(path, out=out)


def test_labels_that_all_fail_are_named_nevertheless(tmp_path: Path) -> None:
    path, out = tmp_path / "data.csv", tmp_path / "out"
    path.write_text("sequence,label\nMKV,high\nMKA,low\n")
    with pytest.raises(RowError, match="no usable row"):
        check_data(path, out=out, task=TaskKind.REGRESSION)
    assert len((out / "rejected_rows.csv").read_text().splitlines()) == 3
    assert (out / "report.html").exists()


def test_python_takes_the_words_of_the_command_line(tmp_path: Path) -> None:
    table = tmp_path / "numbers.csv"
    table.write_text("sequence,label\n" + "".join(f"MK{'ACDEFGHIKL'[i] * 5},{i % 2}\n" for i in range(10)))
    for task in ("regression", TaskKind.REGRESSION):
        report = api.check(table, task=task, label_column="label", limit="8")
        assert report.task is not None
        assert report.task["kind"] == "regression"
        assert report.counts["rows_read"] == 8
        assert "(regression)" in "".join(api.recommend(table, task=task).reasons)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "regresion"}, "regression"),
        ({"method": "lor"}, "lora"),
        ({"limit": "many"}, "integer"),
        ({"sample": 2}, "sample"),
    ],
)
def test_python_refuses_other_words_with_those_that_can_be_said(
    table: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        api.check(table, **options)
