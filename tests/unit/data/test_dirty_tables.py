"""Whatever the table, every row is used or named: used + rejected = rows read = rows written (D1)."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from profactory.data.prepare import prepare_dataset
from profactory.data.reading import Limits, open_table
from profactory.errors import ColumnError, ConfigError, ReadError, RowError
from profactory.tasks import TaskKind

sequences = st.one_of(
    st.sampled_from(["MKT", "ACDEF", "NA", "NAN", "mkt", "M K", "MKT*", "MXU", "WWWW"]),
    st.sampled_from(["", "M1T", "M-K", "1E5", "M*K", "TRUE", '"', "é", "M\nK", "M,K"]),
)
labels = st.sampled_from(["a", "b", "a", "b", " a", "", "c"])
splits = st.sampled_from(["train", "train", "train", "val", "Test", "holdout", ""])
rows = st.one_of(
    st.tuples(sequences, labels, splits),
    st.tuples(sequences, labels, splits),
    st.lists(st.sampled_from(["MKT", "a", "train"]), min_size=1, max_size=5),
)


def bad_lines(table: list[list[str]]) -> int:
    """Count the rows that are refused for more than their label, by a rule of one line each."""
    known = {"train", "val", "test"}
    count = 0
    for row in table:
        if len(row) != 3:
            count += 1
            continue
        clean = "".join(row[0].split()).upper().removesuffix("*")
        fine = clean and all(letter in "ACDEFGHIKLMNPQRSTVWYUOBZXJ" for letter in clean)
        count += not (fine and row[2].strip().lower() in known)
    return count


@settings(deadline=None, max_examples=60)
@given(
    table=st.lists(rows.map(list), min_size=1, max_size=25),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_used_and_rejected_are_all_rows(
    table: list[list[str]], delimiter: str, end: str, encoding: str
) -> None:
    handle = io.StringIO()
    writer = csv.writer(handle, delimiter=delimiter, lineterminator=end)
    writer.writerows([["sequence", "label", "split"], ["MKT", "a", "train"], ["MKT", "b", "train"], *table])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(handle.getvalue().encode(encoding))
        prepared = prepare_dataset(
            path, bad_rows="drop", task=TaskKind.SINGLE_LABEL, cache=Path(folder) / "cache"
        )
        counts = prepared.counts
        assert counts["rows_read"] == len(table) + 2
        assert counts["used"] + counts["rejected"] == counts["rows_read"]
        assert counts["used"] == len(prepared.dataset)
        assert counts["rejected"] == len(prepared.rejected) == sum(counts["rejected_by"].values())
        by = counts["rejected_by"]
        assert by.get("sequence", 0) + by.get("unreadable", 0) + by.get("split", 0) == bad_lines(table)
        lines = [problem.line for problem in prepared.rejected]
        assert len(set(lines)) == len(lines)  # a row is refused once
        assert not set(lines) & set(prepared.dataset.lines.tolist())


@settings(deadline=None, max_examples=80)
@given(
    body=st.lists(
        st.sampled_from(["MKT", "a", ",", '"', "\n", "\r", "\r\n", "\0", ";", "é", "1"]), max_size=40
    ).map("".join),
    block=st.sampled_from([16, 4_000_000]),
)
def test_no_text_brings_anything_but_our_errors(body: str, block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_bytes(("sequence,label\n" + body).encode())
        try:
            for chunk in open_table(path, limits=Limits(block=block)).chunks():
                assert chunk.columns.num_rows == len(chunk.lines)
        except ReadError:
            pass
        try:
            prepared = prepare_dataset(path, bad_rows="drop", cache=Path(folder) / "cache")
        except (ReadError, RowError, ColumnError, ConfigError):
            return
        assert prepared.counts["used"] + prepared.counts["rejected"] == prepared.counts["rows_read"]


@settings(deadline=None, max_examples=80)
@given(
    data=st.binary(max_size=200),
    name=st.sampled_from(["a.csv", "a.fasta", "a.json", "a.parquet", "a.xlsx", "a"]),
)
def test_no_bytes_bring_anything_but_our_errors(data: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        for content in (
            data,
            b">P1\n" + data,
            b'{"sequence": ' + data,
            b"\x1f\x8b" + data,
            b"PK\x03\x04" + data,
        ):
            path.write_bytes(content)
            try:
                for chunk in open_table(path).chunks():
                    assert chunk.columns.num_rows == len(chunk.lines)
            except ReadError:
                continue
