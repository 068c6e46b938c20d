"""The data report: counts by hand, every bad row named, a clean copy that can be read again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from profactory.data.checking import check, describe_lengths
from profactory.data.checking_text import bars, printable
from profactory.data.prepare import prepare_dataset
from profactory.errors import ColumnError, DataError

DIRTY = """id,sequence,label,note
1,MKTAYIAKQR,a,=1+1
2,mktayiakqv,b,
3,MKT1,a,
4,MKTAYIAKQR,b,
5,MKTAUIAK*,b,"two, words"
6,,a,
7,MKTAYI AKR,b,
8,MKV,,
"""


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    path = tmp_path / "dirty.csv"
    path.write_text(DIRTY)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_rows_read_are_used_or_rejected_and_each_is_named(dirty: Path) -> None:
    report = check(dirty)
    assert report.counts["rows_read"] == 8
    assert report.counts["used"] == 5
    assert report.counts["rejected"] == 3
    assert [(p.line, p.column, p.value) for p in report.problems] == [
        (4, "sequence", "MKT1"),
        (7, "sequence", ""),
        (9, "label", ""),
    ]
    assert not report.usable
    text = report.text()
    assert "8 rows read = 5 used + 3 rejected" in text
    assert "line 4, column 'sequence': letter '1' at position 4" in text


def test_counts_of_residues_duplicates_and_contradictions(dirty: Path) -> None:
    counts = check(dirty).counts
    assert counts["residues"] == {
        "lower_case": 1,
        "white_space": 1,
        "stop_codon": 1,
        "nonstandard": 1,
        "U": 1,
        "empty": 1,
        "other_letter": 1,
    }
    assert counts["empty_cells"] == {"sequence": 1, "label": 1, "note": 6}
    assert counts["duplicates"] == 1
    assert counts["contradictory"] == 1
    text = check(dirty).text()
    assert "1 sequence occurs with more than one label" in text
    assert "U 1" in text


def test_class_balance_and_lengths(dirty: Path) -> None:
    report = check(dirty, max_length=9)
    assert report.labels is not None
    assert report.labels.classes == {"a": 1, "b": 4}
    assert report.lengths["shortest"] == 8
    assert report.lengths["longest"] == 10
    assert report.lengths["median"] == 10
    assert report.lengths["mean"] == pytest.approx((10 + 10 + 10 + 8 + 9) / 5)
    assert report.too_long == 3
    assert "3 sequences have more than 9 residues" in report.text()


def test_next_command_repeats_what_was_typed(tmp_path: Path) -> None:
    path = tmp_path / "my data.csv"
    path.write_text(
        "protein,active\n" + "\n".join(f"MKT{'ACDEFGHIKL'[i]}V,{i % 2}" for i in range(10)) + "\n"
    )
    report = check(path, sequence_column="protein", label_column="active")
    assert report.usable
    expected = f"profactory train '{path}' --sequence-column protein --label-column active"
    assert report.next_command == expected
    assert expected in report.text()
    some = check(path, sequence_column="protein", label_column="active", limit=8)
    assert some.next_command == f"{expected} --limit 8"


def test_bad_rows_need_drop_or_a_clean_copy(dirty: Path, tmp_path: Path) -> None:
    assert check(dirty).next_command.endswith("--bad-rows drop")
    fixed = check(dirty, fix=True, out=tmp_path / "out")
    assert fixed.next_command == f"profactory train {tmp_path / 'out' / 'clean.csv'}"
    assert fixed.usable


def test_fix_writes_clean_rows_rejected_rows_and_every_change(dirty: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = check(dirty, fix=True, out=out)
    clean = rows_of(out / "clean.csv")
    sequences = ["MKTAYIAKQR", "MKTAYIAKQV", "MKTAYIAKQR", "MKTAUIAK", "MKTAYIAKR"]
    assert [row["sequence"] for row in clean] == sequences
    assert [row["id"] for row in clean] == ["1", "2", "4", "5", "7"]
    assert clean[3]["note"] == "two, words"
    assert [row["label"] for row in clean] == ["a", "b", "b", "b", "b"]
    assert clean[0]["note"] == "=1+1"
    rejected = rows_of(out / "rejected_rows.csv")
    assert [(row["line"], row["value"]) for row in rejected] == [("4", "MKT1"), ("7", ""), ("9", "")]
    changes = rows_of(out / "changes.csv")
    assert [(row["line"], row["before"], row["after"]) for row in changes[3:]] == [
        ("3", "mktayiakqv", "MKTAYIAKQV"),
        ("6", "MKTAUIAK*", "MKTAUIAK"),
        ("8", "MKTAYI AKR", "MKTAYIAKR"),
    ]
    assert [row["change"].split(":")[0] for row in changes[:3]] == ["row removed"] * 3
    assert report.fixed is not None
    assert report.fixed.changed == 3
    again = prepare_dataset(out / "clean.csv")
    assert again.counts["rejected"] == 0
    assert list(again.dataset.sequences) == sequences


def test_fix_keeps_split_files_and_overwrites_nothing_unasked(tmp_path: Path) -> None:
    source, out = tmp_path / "data", tmp_path / "out"
    source.mkdir()
    (source / "train.csv").write_text("sequence,label\nMKA,a\nMKC,b\nMK1,b\n")
    (source / "test.csv").write_text("sequence,label\nmkv,a\n")
    check(source, fix=True, out=out)
    assert [row["sequence"] for row in rows_of(out / "train.csv")] == ["MKA", "MKC"]
    assert [row["sequence"] for row in rows_of(out / "test.csv")] == ["MKV"]
    assert [row["file"] for row in rows_of(out / "changes.csv")] == [
        str(source / "train.csv"),
        str(source / "test.csv"),
    ]
    with pytest.raises(DataError, match="already holds"):
        check(source, fix=True, out=out)
    assert check(source, fix=True, out=out, overwrite=True).usable
    assert prepare_dataset(out).counts["splits"] == {"train": 2, "validation": 0, "test": 1}


def test_report_is_json(dirty: Path) -> None:
    report = json.loads(json.dumps(check(dirty).to_dict(), allow_nan=False))
    assert report["usable"] is False
    assert report["problems"][0]["line"] == 4
    assert report["labels"]["classes"] == {"a": 1, "b": 4}


def test_shared_sequences_between_splits_are_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("sequence,label,split\nMKA,a,train\nMKC,b,train\nMKA,a,test\nMKV,b,test\n")
    text = check(path).text()
    assert "1 of 2 test rows have a sequence that is also in train" in text


def test_numbers_are_described(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    residues = "ACDEFGHIKLMNPQRSTVWY"
    lines = [f"MK{residues[i]}{residues[j]},{i}.5" for i in range(20) for j in range(2)]
    path.write_text("sequence,label\n" + "\n".join(lines) + "\n")
    report = check(path)
    assert report.labels is not None
    numbers = report.labels.numbers["label"]
    assert numbers["count"] == 40
    assert (numbers["lowest"], numbers["median"], numbers["highest"]) == (0.5, 10.0, 19.5)
    assert sum(numbers["histogram"]["counts"]) == 40


def test_residue_labels_are_counted_by_residue(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("sequence,label\nMKA,HHE\nMKCV,E?HH\n")
    report = check(path)
    assert report.labels is not None
    assert report.labels.classes == {"E": 2, "H": 4}
    assert report.labels.missing == 1
    assert report.labels.unit == "residues"


def test_table_without_labels_can_be_predicted_on(tmp_path: Path) -> None:
    path = tmp_path / "new.fasta"
    path.write_text(">p1\nMKV\n>p2\nMKA\n")
    report = check(path)
    assert report.usable
    assert report.next_command.startswith("profactory predict")
    with pytest.raises(ColumnError):
        check(path, label_column="activity")


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("sequence,label\n123,a\n456,b\n")
    with pytest.raises(DataError, match="no usable row"):
        check(path)


@pytest.mark.parametrize(
    ("lengths", "edges", "counts"),
    [
        ([5], [5, 6], [1]),
        ([100, 199, 200, 1000], [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100], None),
        ([50, 149], [50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150], [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_length_histogram(lengths: list[int], edges: list[int], counts: Any) -> None:
    shape = describe_lengths(lengths)["histogram"]
    assert shape["edges"] == edges or counts is None
    assert sum(shape["counts"]) == len(lengths)
    assert counts is None or shape["counts"] == counts


def test_a_few_giants_share_the_last_bin() -> None:
    shape = describe_lengths([*range(100, 400), 35_000])["histogram"]
    assert shape["edges"][-2:] == [400, 35_001]
    assert shape["counts"][-1] == 1
    assert sum(shape["counts"]) == 301


def test_every_rejected_row_is_written_however_many(tmp_path: Path) -> None:
    path, out = tmp_path / "data.csv", tmp_path / "out"
    good = "".join(f"MK{'AV'[i % 2]},{'ab'[i % 2]}\n" for i in range(10))
    rows = "".join("MK1,a\n" if i % 3 else "MKV,\n" for i in range(10_500))
    path.write_text("sequence,label\n" + good + rows)
    report = check(path, out=out)
    assert report.counts["rejected"] == 10_500
    assert len(report.problems) == 10_000
    written = rows_of(out / "rejected_rows.csv")
    assert [int(row["line"]) for row in written] == list(range(12, 10_512))
    assert written[0]["reason"] == "the label is missing"
    assert sorted(file.name for file in out.iterdir()) == ["rejected_rows.csv"]


def test_nothing_is_written_without_a_place(dirty: Path, tmp_path: Path) -> None:
    check(dirty)
    assert list(tmp_path.iterdir()) == [dirty]


def test_classes_that_look_like_formulas_survive_the_clean_copy(tmp_path: Path) -> None:
    path, out = tmp_path / "data.csv", tmp_path / "out"
    path.write_text("sequence,label\nMKA,+\nMKC,-\nMKD,+\nMKE,=\n")
    check(path, fix=True, out=out)
    assert [row["label"] for row in rows_of(out / "clean.csv")] == ["+", "-", "+", "="]


def test_fasta_with_a_header_pattern_is_fixed_and_its_pattern_needed_no_more(tmp_path: Path) -> None:
    path, out = tmp_path / "data.fasta", tmp_path / "out"
    path.write_text(">P1|lyase\nmka\n>P2|ligase\nMKC\n>P3|lyase\nMK1\n")
    pattern = r"(?P<id>[^|]+)\|(?P<label>.+)"
    report = check(path, header_pattern=pattern)
    assert f"--header-pattern '{pattern}' --bad-rows drop" in report.next_command
    fixed = check(path, header_pattern=pattern, fix=True, out=out)
    assert fixed.next_command == f"profactory train {out / 'clean.csv'}"
    assert rows_of(out / "clean.csv") == [
        {"id": "P1", "label": "lyase", "sequence": "MKA"},
        {"id": "P2", "label": "ligase", "sequence": "MKC"},
    ]
    assert [row["change"] for row in rows_of(out / "changes.csv")][1:] == ["sequence cleaned"]


def test_bars_and_names_that_a_terminal_might_obey() -> None:
    lines = bars({"a": 30, "b": 15, "\x1b[31mred": 0})
    assert lines[0].count("█") == 30
    assert lines[1].count("█") == 15
    assert "33.3 %" in lines[1]
    assert "\x1b" not in "".join(lines)
    assert printable("a\u202eb\n") == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    ("label", "reason"),
    [("", "The label column is empty."), ("a", "The label column holds 1 class ('a'); there is nothing to")],
)
def test_a_label_column_without_labels_is_not_called_missing(tmp_path: Path, label: str, reason: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"sequence,label\nMKT,{label}\nMKV,{label}\n")
    first = check(path).warnings[0]
    assert first.startswith(reason)
    assert first.endswith("Name another by --label-column, or predict on these data.")
