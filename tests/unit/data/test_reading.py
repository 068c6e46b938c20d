"""Readers: every format, encoding and line end gives the same cells, exactly as written."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profactory.data.reading import Limits, Table, open_table
from profactory.data.reading.records import LineFeed
from profactory.errors import ConfigError, Problem, ReadError

HEADER = ["id", "sequence", "label"]
ROWS = [["P1", "MKT", "a"], ["P2", "NA", "1,5"], ["P3", "NULL", ""], ["é", "1E5", "TRUE"]]

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return _write


def read(table: Table) -> tuple[list[list[str]], list[int], list[Problem]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    problems: list[Problem] = []
    for chunk in table.chunks():
        assert chunk.columns.schema.names == table.columns
        assert all(field.type == pa.string() for field in chunk.columns.schema)
        rows += [list(row) for row in zip(*(c.to_pylist() for c in chunk.columns.columns), strict=True)]
        lines += chunk.lines.tolist()
        problems += chunk.problems
    return rows, lines, problems


def text(delimiter: str = ",", end: str = "\n") -> str:
    handle = io.StringIO()
    csv.writer(handle, delimiter=delimiter, lineterminator=end).writerows([HEADER, *ROWS])
    return handle.getvalue()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-mark"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_every_kind_of_text(write: Write, end: str, delimiter: str, encoding: str, packed: bool) -> None:
    content = text(delimiter, end)
    data = (
        b"\xfe\xff" + content.encode("utf-16-be") if encoding.endswith("mark") else content.encode(encoding)
    )
    path = write("data.csv", gzip.compress(data) if packed else data)  # gz is known by content, not name
    table = open_table(path)
    assert table.columns == HEADER
    assert read(table) == (ROWS, [2, 3, 4, 5], [])
    assert read(table)[0] == ROWS  # a table can be read again


def test_words_and_numbers_stay_text(write: Write) -> None:
    words = ["NA", "NULL", "NAN", "nan", "INF", "TRUE", "1E5", "None", "", "007", "1.50", " x "]
    path = write("data.csv", ("sequence,n\n" + "".join(f"{word},1\n" for word in words)).encode())
    assert [row[0] for row in read(open_table(path))[0]] == words


def test_quotes_newlines_and_blank_lines(write: Write) -> None:
    path = write("data.csv", b'sequence,note\n"MK\nT","say ""hi"", you"\n\nAC,"x\r\ny"\n\n\nWW,z"q\n')
    rows, lines, problems = read(open_table(path))
    assert rows == [["MK\nT", 'say "hi", you'], ["AC", "x\r\ny"], ["WW", 'z"q']]
    assert lines == [2, 5, 9]
    assert problems == []


def test_last_line_without_an_end(write: Write) -> None:
    assert read(open_table(write("a.csv", b"sequence,label\nMKT,1")))[0] == [["MKT", "1"]]
    assert read(open_table(write("b.csv", b"sequence\nMKT\nAC")))[0] == [["MKT"], ["AC"]]


def test_rows_that_cannot_be_read_are_named(write: Write) -> None:
    path = write("data.csv", b'sequence,label\nMKT,1\nAC\nWW,2,3\nA\0C,4\n"AC"x,5\nGG,6\n')
    rows, lines, problems = read(open_table(path))
    assert rows == [["MKT", "1"], ["GG", "6"]]
    assert lines == [2, 7]
    assert [(p.line, p.reason) for p in problems] == [
        (3, "1 cell where the header has 2"),
        (4, "3 cells where the header has 2"),
        (5, "the cell holds a NUL byte"),
        (6, "a quote ends before the cell does; double the quotes inside a quoted cell"),
    ]
    assert {p.file for p in problems} == {str(path)}


@pytest.mark.parametrize("block", [16, 40, 64, 1000])
def test_blocks_of_any_size_give_the_same(write: Write, block: int) -> None:
    body = "id,sequence\n" + "".join(f'{i},"M\nK{i}"\n' if i % 7 == 0 else f"{i},AC{i}\n" for i in range(60))
    for end in ("\n", "\r\n", "\r"):
        path = write("data.csv", body.replace("\n", end).encode())
        assert read(open_table(path, limits=Limits(block=block))) == read(open_table(path))


letters = st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\r\t\",;|'")
cells = st.text(letters, max_size=8)
plain_cells = st.text(st.sampled_from("ACDe é,;.-'1"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(cells, cells, cells), max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    block=st.sampled_from([24, 100, 4_000_000]),
)
def test_whatever_is_written_is_read(
    tmp_path: Path, rows: list[tuple[str, ...]], delimiter: str, end: str, encoding: str, block: int
) -> None:
    handle = io.StringIO()
    writer = csv.writer(handle, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([HEADER, *rows])
    path = tmp_path / "data.csv"
    path.write_bytes(handle.getvalue().encode(encoding))
    found, _, problems = read(open_table(path, limits=Limits(block=block)))
    assert found == [list(row) for row in rows]
    assert problems == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.lists(plain_cells, min_size=1, max_size=4), min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
)
def test_the_fast_way_equals_the_csv_module(
    tmp_path: Path, rows: list[list[str]], end: str, final: bool
) -> None:
    body = end.join(["a\tsequence\tc", *("\t".join(row) for row in rows)]) + end * final
    path = tmp_path / "data.tsv"
    path.write_bytes(body.encode())
    limits = Limits(block=60)
    fast = read(open_table(path, limits=limits))
    with mock.patch.object(LineFeed, "plain_block", return_value=None):
        slow = read(open_table(path, limits=limits))
    assert fast[:2] == slow[:2]
    assert [(p.line, p.reason) for p in fast[2]] == [(p.line, p.reason) for p in slow[2]]


def test_delimiter_by_content(write: Write) -> None:
    assert read(open_table(write("a.csv", b"sequence;value\nMK;1,5\nAC;2,5\n")))[0][0] == ["MK", "1,5"]
    assert open_table(write("b.csv", b"sequence,labels\nMK,a;b\nAC,c;d\n")).columns == ["sequence", "labels"]
    assert open_table(write("c.csv", b"x;y,sequence\nMK,AC\n")).columns == ["x;y", "sequence"]
    assert open_table(write("d.txt", b"sequence\nMK\n")).columns == ["sequence"]


# --- FASTA


FASTA = (
    b">P1 first protein label=lyase split=train\nMKT\nAYI\n\n"
    b">sp|P2|X_HUMAN OS=Homo sapiens label=3\r\nac*\n>P3\n"
)


@pytest.mark.parametrize("packed", [False, True])
def test_fasta(write: Write, packed: bool) -> None:
    table = open_table(write("data.fasta", gzip.compress(FASTA) if packed else FASTA))
    assert table.columns == ["id", "header", "label", "split", "OS", "sequence"]
    rows, lines, problems = read(table)
    assert rows == [
        ["P1", "P1 first protein label=lyase split=train", "lyase", "train", "", "MKTAYI"],
        ["sp|P2|X_HUMAN", "sp|P2|X_HUMAN OS=Homo sapiens label=3", "3", "", "Homo sapiens", "ac*"],
        ["P3", "P3", "", "", "", ""],
    ]
    assert lines == [1, 5, 7]
    assert problems == []


def test_fasta_fields_between_bars(write: Write) -> None:
    table = open_table(write("a.fa", b">P1|label=7|split=test\nMKT\n"))
    assert read(table)[0] == [["P1|label=7|split=test", "P1|label=7|split=test", "7", "test", "MKT"]]


def test_fasta_header_pattern(write: Write) -> None:
    path = write("a.fa", b">P1|lyase\nMKT\n>broken\nAC\n")
    table = open_table(path, header_pattern=r"(?P<id>[^|]+)\|(?P<label>[^|]+)")
    rows, lines, problems = read(table)
    assert table.columns == ["id", "label", "sequence"]
    assert rows == [["P1", "lyase", "MKT"]]
    assert lines == [1]
    assert [(p.line, p.reason) for p in problems] == [(3, "the header does not match the header pattern")]
    for pattern in ("(", "no groups"):
        with pytest.raises(ConfigError):
            open_table(path, header_pattern=pattern)


def test_fasta_sequence_above_the_limit_is_one_bad_row(write: Write) -> None:
    path = write("a.fa", b">P1\n" + b"A" * 50 + b"\n" + b"A" * 60 + b"\n>P2\nMKT\n")
    rows, _, problems = read(open_table(path, limits=Limits(field=100)))
    assert [row[0] for row in rows] == ["P2"]
    assert [p.line for p in problems] == [1]


# --- JSON


JSON_ROWS = [["MKT", "1.50", "true", "", "[1, 2.0]"], ["NA", "1e5", "false", "x", ""]]


def test_json_lines_and_array(write: Write) -> None:
    lines = (
        b'{"sequence": "MKT", "a": 1.50, "b": true, "c": null, "d": [1, 2.0]}\n\n'
        b'{"sequence": "NA", "a": 1e5, "b": false, "c": "x"}\n'
    )
    for name, data, numbers in (
        ("data.jsonl", lines, [1, 3]),
        ("data.json", lines, [1, 3]),
        ("array.json", b"[" + lines.strip().replace(b"\n\n", b",\n ") + b"]\n", [1, 2]),
    ):
        table = open_table(write(name, data))
        assert table.columns == ["sequence", "a", "b", "c", "d"]
        assert read(table) == (JSON_ROWS, numbers, [])


def test_json_array_over_many_blocks(write: Write) -> None:
    records = [{"sequence": "MK" * (i % 9), "label": i} for i in range(300)]
    path = write("a.json", json.dumps(records, indent=1).encode())
    rows, lines, _ = read(open_table(path, limits=Limits(block=50)))
    assert rows == [[record["sequence"], str(record["label"])] for record in records]
    assert lines == list(range(1, 301))


def test_json_lines_that_are_no_records(write: Write) -> None:
    good = b'{"sequence": "MKT"}\n' * 1000
    path = write("a.jsonl", good + b'{"sequence": \n[1]\n{"x": 1}\n{"sequence": "A", "sequence": "C"}\n')
    rows, _, problems = read(open_table(path))
    assert len(rows) == 1000
    assert [p.line for p in problems] == [1001, 1002, 1003, 1004]
    assert problems[1].reason == "not a JSON object"
    assert problems[3].reason == "a key occurs twice"


# --- Parquet and Excel


def test_parquet_types_become_text(tmp_path: Path) -> None:
    table = pa.table(
        {
            "sequence": pa.array(["MKT", None, "NA"]),
            "whole": pa.array([1, None, 12345678901234567], pa.int64()),
            "double": pa.array([1.0, 0.1, None]),
            "single": pa.array([1.0, 0.1, None], pa.float32()),
            "flag": pa.array([True, False, None]),
            "word": pa.array(["a", "b", "a"]).dictionary_encode(),
            "list": pa.array([[1, 2], None, []]),
            "day": pa.array([datetime.date(2020, 1, 2), None, None]),
        }
    )
    pq.write_table(table, tmp_path / "data.parquet")
    rows, lines, problems = read(open_table(tmp_path / "data.parquet"))
    assert rows == [
        ["MKT", "1", "1.0", "1.0", "true", "a", "[1, 2]", "2020-01-02"],
        ["", "", "0.1", "0.1", "false", "b", "", ""],
        ["NA", "12345678901234567", "", "", "", "a", "[]", ""],
    ]
    assert lines == [1, 2, 3]
    assert problems == []


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=20))
def test_floats_survive_as_text(values: list[float]) -> None:
    from profactory.data.reading.parquet import to_text

    for kind in (pa.float32(), pa.float64()):
        assert [float(cell) for cell in to_text(pa.array(values, kind)).to_pylist()] == pytest.approx(
            values, rel=1e-7
        )
    assert pa.array(
        map(float, to_text(pa.array(values, pa.float32())).to_pylist()), pa.float32()
    ) == pa.array(values, pa.float32())


def test_excel(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["sequence", "label", "x", None],
        ["MKT", 1, 1.5],
        [None, None, None],
        ["NA", 2.0, True],
        ["AC", datetime.datetime(2020, 1, 2), None, None],
        ["AC", 1, 2, "beyond"],
    ):
        sheet.append(row)
    book.save(tmp_path / "data.xlsx")
    table = open_table(tmp_path / "data.xlsx")
    assert table.columns == ["sequence", "label", "x"]
    rows, lines, problems = read(table)
    assert rows == [["MKT", "1", "1.5"], ["NA", "2", "true"], ["AC", "2020-01-02T00:00:00", ""]]
    assert lines == [2, 4, 5]
    assert [(p.line, p.reason) for p in problems] == [(6, "4 cells where the header has 3")]


def test_global_csv_limit_is_put_back(write: Write) -> None:
    before = csv.field_size_limit()
    read(open_table(write("a.csv", b'sequence,label\n"MKT",1\n')))
    assert csv.field_size_limit() == before


def test_a_broken_byte_far_down_names_its_line(write: Write) -> None:
    """Rows before it were given; the line is counted across blocks."""
    body = b"sequence,label\n" + b"MKT,1\n" * 100 + b"AC,\xe9\n"
    chunks = open_table(write("a.csv", body), limits=Limits(block=100)).chunks()
    assert next(chunks).columns.num_rows > 1
    with pytest.raises(ReadError, match="byte 0xE9 in line 102"):
        list(chunks)
