from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.writing import neutral_text, open_writer, restore_text, write_table
from profactory.errors import ProFactoryError

FORMULAS = ("=1+1", "+A1", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)", "-x", "'=1")
HARMLESS = (
    "-7.6",
    "+1e-5",
    "-.5",
    "-0.5,0.3,nan",
    "-1 2 3",
    "--HHEE--",
    "-",
    "MKT",
    "",
    "'quoted'",
    "a=b",
    "1-2",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_neutralised_and_restored(text: str) -> None:
    assert neutral_text(text) == "'" + text
    assert restore_text(neutral_text(text)) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_numbers_and_residue_strings_stay(text: str) -> None:
    assert neutral_text(text) == text


@given(st.text(alphabet="'=+-@\t\rA1,. ", max_size=12))
def test_no_text_is_lost(text: str) -> None:
    written = neutral_text(text)
    assert restore_text(written) == text or written == text
    assert not written.startswith(("=", "@", "\t", "\r"))


def columns() -> dict[str, list[object]]:
    return {
        "id": ["a", 'quote " and, comma', "two\nlines", "蛋白质"],
        "=name": ["=1+1", "-7.5", None, "x"],
        "score": [np.float32(0.1), None, np.float32("nan"), np.float32(1e-9)],
        "flag": [True, False, None, True],
    }


def test_csv_is_what_other_readers_read(tmp_path: Path) -> None:
    write_table(tmp_path / "out.csv", columns())
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["id", "'=name", "score", "flag"]
    assert [row[0] for row in rows[1:]] == columns()["id"]
    assert [row[1] for row in rows[1:]] == ["'=1+1", "-7.5", "", "x"]
    assert [row[2] for row in rows[1:]] == ["0.1", "", "", "1e-09"]
    assert [row[3] for row in rows[1:]] == ["true", "false", "", "true"]
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(pl.read_csv(tmp_path / "out.csv")) == 4


def test_tsv_and_compressed_files(tmp_path: Path) -> None:
    write_table(tmp_path / "out.tsv", {"a": ["x\ty", "z"], "b": [1, 2]})
    assert pd.read_csv(tmp_path / "out.tsv", sep="\t")["a"].tolist() == ["x\ty", "z"]
    for name in ("one.csv.gz", "two.csv.gz"):
        write_table(tmp_path / name, {"a": ["x"]})
    assert gzip.decompress((tmp_path / "one.csv.gz").read_bytes()) == b"a\nx\n"
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


def test_jsonl_keeps_text_and_has_no_nan(tmp_path: Path) -> None:
    write_table(tmp_path / "out.jsonl", columns())
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {"id": "a", "=name": "=1+1", "score": 0.1, "flag": True}
    assert rows[2]["score"] is None
    assert rows[3]["id"] == "蛋白质"


def test_parquet_keeps_text_types_and_late_values(tmp_path: Path) -> None:
    with open_writer(tmp_path / "out.parquet", ["a", "score", "nothing"]) as writer:
        writer.write({"a": ["=1"], "score": [None], "nothing": [None]})
        writer.write({"a": ["b"], "score": [np.float32(0.25)], "nothing": [None]})
        writer.write({"a": ["c"], "score": [None], "nothing": [None]})
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["a"].to_pylist() == ["=1", "b", "c"]
    assert table["score"].to_pylist() == [None, 0.25, None]
    assert str(table.schema.field("score").type) == "float"
    assert str(table.schema.field("nothing").type) == "string"


@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.parquet", "o.jsonl", "o.csv.gz"])
def test_no_rows_give_a_header(tmp_path: Path, name: str) -> None:
    with open_writer(tmp_path / name, ["a", "b"]):
        pass
    assert (tmp_path / name).is_file()
    if name == "o.csv":
        assert (tmp_path / name).read_text() == "a,b\n"
    if name == "o.parquet":
        assert pq.read_table(tmp_path / name).column_names == ["a", "b"]


@pytest.mark.parametrize("name", ["o.csv", "o.parquet", "o.jsonl"])
def test_an_error_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / name, {"a": ["old"]})
    before = (tmp_path / name).read_bytes()

    def fail() -> None:
        with open_writer(tmp_path / name, ["a"]) as writer:
            writer.write({"a": ["new"]})
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_unknown_ending_and_double_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProFactoryError, match=r"\.parquet"):
        write_table(tmp_path / "out.xlsx", {"a": []})
    with pytest.raises(ProFactoryError, match="twice"), open_writer(tmp_path / "out.csv", ["a", "a"]):
        pass


def test_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        write_table(tmp_path / "out.csv", {"a": ["x"], "b": []})
    assert not (tmp_path / "out.csv").exists()


def test_32_bit_floats_come_back_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(2000).astype(np.float32)
    write_table(tmp_path / "out.csv", {"p": values})
    back = (tmp_path / "out.csv").read_text().split()[1:]
    assert np.array_equal(np.array(back, np.float32), values)
