"""Writers: what is read back is what was written, by libraries that are not ours."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.writing import neutral_text, open_writer, restore_text
from profactory.errors import ProFactoryError

NAMES = ["name", "score", "cut"]
FIRST = {"name": ["a", 'b,"\n'], "score": [np.float32(0.1), None], "cut": [True, None]}
SECOND = {"name": [None], "score": [float("nan")], "cut": [np.bool_(False)]}


def _write(path: Path) -> Path:
    with open_writer(path, NAMES) as writer:
        writer.write(FIRST)
        writer.write(SECOND)
    return path


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.TSV", "\t"), ("t.csv.gz", ",")])
def test_text_tables(tmp_path: Path, name: str, delimiter: str) -> None:
    path = _write(tmp_path / name)
    opened: Any = gzip.open if name.endswith("gz") else open
    with opened(path, "rt", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter=delimiter))
    assert rows == [["name", "score", "cut"], ["a", "0.1", "true"], ['b,"\n', "", ""], ["", "", "false"]]


def test_json_lines(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in _write(tmp_path / "t.jsonl").read_text().splitlines()]
    assert rows == [
        {"name": "a", "score": 0.1, "cut": True},
        {"name": 'b,"\n', "score": None, "cut": None},
        {"name": None, "score": None, "cut": False},
    ]


def test_parquet(tmp_path: Path) -> None:
    table = pq.read_table(_write(tmp_path / "t.parquet"))
    assert [str(field.type) for field in table.schema] == ["string", "float", "bool"]
    assert table.to_pydict() == {
        "name": ["a", 'b,"\n', None],
        "score": [pytest.approx(0.1), None, pytest.approx(float("nan"), nan_ok=True)],
        "cut": [True, None, False],
    }


@pytest.mark.parametrize("name", ["t", "t.txt", "t.xlsx", "t.parquet.gz", ".gz"])
def test_a_name_without_a_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ProFactoryError, match=r"\.parquet"), open_writer(tmp_path / name, NAMES):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.jsonl", "t.parquet"])
def test_after_an_error_the_old_file_is_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    with pytest.raises(ZeroDivisionError), open_writer(tmp_path / name, NAMES) as writer:
        writer.write(FIRST)
        raise ZeroDivisionError
    assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_equal_tables_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("t.csv.gz", "t.parquet"):
        assert _write(tmp_path / name).read_bytes() == _write(tmp_path / f"again-{name}").read_bytes()


@pytest.mark.parametrize("text", ["=1+1", "+A1", "-2+3|cmd", "@SUM(A1)", "\tx", "-=", "'=1", "-A1", "\r="])
def test_formulas_are_neutralised(text: str) -> None:
    assert neutral_text(text) == "'" + text


@pytest.mark.parametrize(
    "text",
    ["", "MKT", "-1.5", "+3", "1e-5", "--HHEE", "-", "-0.5,0.25,,", "-0.5 1", "'quoted", "a=b", "-.5e3"],
)
def test_what_is_no_formula_is_left_alone(text: str) -> None:
    assert neutral_text(text) == text
    assert restore_text(text) == text


@given(st.text("=+-@\t'aA1.,(|", max_size=8) | st.text(max_size=8))
def test_neutralised_text_comes_back(text: str) -> None:
    assert restore_text(neutral_text(text)) == text


def test_names_of_columns_are_neutralised_too(tmp_path: Path) -> None:
    with open_writer(tmp_path / "t.csv", ["=x"]) as writer:
        writer.write({"=x": ["=y"]})
    assert (tmp_path / "t.csv").read_text() == "'=x\n'=y\n"
