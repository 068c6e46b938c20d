"""From any source to a validated data set: splits, labels, bad rows, cache."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from profactory.data import prepare
from profactory.data.bundled import list_bundled
from profactory.data.dataset import DATA_FILE, META_FILE, Dataset
from profactory.data.labels import encode_labels
from profactory.data.prepare import prepare_dataset
from profactory.data.sources import SourceFile, find_sources, split_of_name
from profactory.data.texts import take
from profactory.errors import ColumnError, ConfigError, ReadError, RowError
from profactory.files import sha256_file
from profactory.tasks import Task, TaskKind

TABLE = "id,sequence,label\nP1,MKT,a\nP2,mkv ,b\nP3,MKT,b\nP4,MXW*,a\n"


def save(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- sources


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("Training.tsv.gz", "train"),
        ("valid.csv", "validation"),
        ("val.parquet", "validation"),
        ("dev.jsonl", "validation"),
        ("validation-00000-of-00002.parquet", "validation"),
        ("test_1.fasta", "test"),
        ("testimony.csv", ""),
        ("part-0.csv", ""),
        ("my_train.csv", ""),
    ],
)
def test_split_of_a_file_name(name: str, split: str) -> None:
    assert split_of_name(name) == split


def test_files_of_a_folder_in_fixed_order(tmp_path: Path) -> None:
    for name in ("test.csv", "val.csv", "train.csv", "README.md", ".hidden.csv", "terms.csv"):
        save(tmp_path / name, TABLE)
    assert [(f.path.name, f.split) for f in find_sources(tmp_path)] == [
        ("train.csv", "train"),
        ("val.csv", "validation"),
        ("test.csv", "test"),
    ]


def test_folders_of_shards_per_split(tmp_path: Path) -> None:
    for name in ("train/b.csv", "train/a.csv", "test/x.csv"):
        save(tmp_path / name, TABLE)
    found = [(f.path.name, f.split) for f in find_sources(tmp_path)]
    assert found == [("a.csv", "train"), ("b.csv", "train"), ("x.csv", "test")]


def test_pattern_file_and_bundled_name(tmp_path: Path) -> None:
    for name in ("part-2.csv", "part-1.csv", "other.csv"):
        save(tmp_path / name, TABLE)
    names = [file.path.name for file in find_sources(str(tmp_path / "part-*.csv"))]
    assert names == ["part-1.csv", "part-2.csv"]
    assert find_sources(tmp_path / "other.csv") == [SourceFile(tmp_path / "other.csv")]
    bundled = list_bundled()[0]
    assert find_sources(bundled.name) == find_sources(f"bundled:{bundled.name}") == [SourceFile(bundled.path)]


# --- what a data set holds


def test_one_file(tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", TABLE)
    prepared = prepare_dataset(path)
    dataset = prepared.dataset
    assert list(dataset.sequences) == ["MKT", "MKV", "MKT", "MXW"]
    assert dataset.lengths.tolist() == [3, 3, 3, 3]
    assert dataset.labels == dataset.label_cells() == ["a", "b", "b", "a"]
    assert dataset.splits.tolist() == ["", "", "", ""]
    assert dataset.lines.tolist() == [2, 3, 4, 5]
    assert dataset.files == [str(path)] * 4
    assert dataset.identifiers == ["P1", "P2", "P3", "P4"]
    assert dataset.table.column_names == ["id", "sequence", "label"]
    assert dataset.sources == [
        {"path": str(path), "split": "", "size": len(TABLE), "sha256": sha256_file(path)}
    ]
    assert prepared.task == Task(TaskKind.SINGLE_LABEL, ("a", "b"), ("label",))
    assert "2 different words" in prepared.task_reason
    assert prepared.rejected == []
    assert prepared.counts == {
        "empty_cells": {},
        "rows_read": 4,
        "used": 4,
        "rejected": 0,
        "rejected_by": {},
        "residues": {"white_space": 1, "lower_case": 1, "stop_codon": 1, "nonstandard": 1, "X": 1},
        "duplicates": 1,
        "contradictory": 1,
        "splits": {"train": 0, "validation": 0, "test": 0},
        "length": {"shortest": 3, "mean": 3.0, "longest": 3},
        "total_residues": 12,
        "in_train": {"validation": 0, "test": 0},
    }


def test_a_view_shows_chosen_rows_in_their_order(tmp_path: Path) -> None:
    dataset = prepare_dataset(save(tmp_path / "data.csv", TABLE)).dataset
    view = dataset.select([3, 0, 1]).select(np.array([2, 0]))
    assert len(view) == 2
    assert view.identifiers == ["P2", "P4"]
    assert view.table.to_pydict() == {"id": ["P2", "P4"], "sequence": ["MKV", "MXW"], "label": ["b", "a"]}
    assert view.label_cells([1]) == ["a"]
    assert view.label_cells([1, 1], column="id") == ["P4", "P4"]
    assert view.content_hash == dataset.content_hash


def test_split_column_is_normalised(tmp_path: Path) -> None:
    words = ["train", "Train ", "TRAINING", "valid", "val", "dev", "validation", "test"]
    rows = "".join(f"MKT,{i % 2},{word}\n" for i, word in enumerate(words))
    dataset = prepare_dataset(save(tmp_path / "data.csv", "sequence,label,split\n" + rows)).dataset
    assert dataset.splits.tolist() == ["train"] * 3 + ["validation"] * 4 + ["test"]
    assert dataset.table.column("split").to_pylist() == words  # the user's text stays as it was


def test_a_fold_column_is_not_taken_for_splits(tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", "sequence,label,fold\nMKT,a,1\nAC,b,2\n")
    assert prepare_dataset(path).dataset.columns.split is None
    path = save(tmp_path / "stage.csv", "sequence,label,stage\nMKT,a,train\nAC,b,test\nWW,b,train\n")
    assert prepare_dataset(path).dataset.columns.split == "stage"
    with pytest.raises(RowError, match="split: 2"):
        prepare_dataset(tmp_path / "data.csv", split_column="fold")


def test_a_missing_validation_file_stays_missing(tmp_path: Path) -> None:
    """The predecessor took the training set in its place (A11)."""
    save(tmp_path / "train.csv", TABLE)
    save(tmp_path / "test.csv", TABLE)
    prepared = prepare_dataset(tmp_path)
    assert prepared.dataset.splits.tolist() == ["train"] * 4 + ["test"] * 4
    assert prepared.counts["splits"] == {"train": 4, "validation": 0, "test": 4}
    assert prepared.counts["in_train"] == {"validation": 0, "test": 4}


def test_shards_of_several_formats_are_one_data_set(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    pq.write_table(
        pa.table({"label": ["b"], "extra": [1.5], "sequence": ["WWW"]}), tmp_path / "part-2.parquet"
    )
    dataset = prepare_dataset(tmp_path).dataset
    assert dataset.table.column_names == ["id", "sequence", "label", "extra"]
    assert dataset.table.to_pylist()[-1] == {"id": "", "sequence": "WWW", "label": "b", "extra": "1.5"}
    assert [Path(name).name for name in dataset.files] == ["part-1.csv.gz"] * 4 + ["part-2.parquet"]
    assert dataset.lines.tolist() == [2, 3, 4, 5, 1]


def test_several_targets_may_miss_values(tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", "sequence,tm,kd\nMKT,1.5,\nAC,,2\nWW,3,4\n")
    prepared = prepare_dataset(path, label_column=["tm", "kd"])
    assert prepared.task == Task(TaskKind.REGRESSION, (), ("tm", "kd"))
    assert prepared.dataset.label_cells([1, 2]) == [["", "2"], ["3", "4"]]
    assert np.array_equal(
        prepared.task.encode(prepared.dataset.label_cells(), [3, 2, 2]).values,
        np.array([[1.5, np.nan], [np.nan, 2], [3, 4]], np.float32),
        equal_nan=True,
    )
    with pytest.raises(RowError, match="every target is missing"):
        prepare_dataset(
            save(tmp_path / "b.csv", "sequence,tm,kd\nMKT,,\nAC,1,2\n"), label_column=["tm", "kd"]
        )
    with pytest.raises(ConfigError, match="2 label columns"):
        prepare_dataset(path, label_column=["tm", "kd"], task=TaskKind.SINGLE_LABEL)


# --- bad rows


BAD = (
    "sequence,label,split\nMKT,a,train\nM1T,a,train\nAC,b,train\nAC\nWW,c,test\nGG,,train\nMKT,b,validation\n"
)
REASONS = [
    (3, "letter '1' at position 2 is no residue"),
    (5, "1 cell where the header has 3"),
    (6, "class 'c' is not among those seen in training: a, b"),
    (7, "the label is missing"),
]


def test_all_bad_rows_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RowError) as caught:
        prepare_dataset(save(tmp_path / "data.csv", BAD))
    assert [(p.line, p.reason) for p in caught.value.problems] == REASONS
    assert "4 of 7 rows" in caught.value.found


def test_bad_rows_are_dropped_and_reported(tmp_path: Path) -> None:
    path = save(tmp_path / "data.csv", BAD)
    for _ in range(2):  # made, and from the cache
        prepared = prepare_dataset(path, bad_rows="drop")
        assert prepared.dataset.lines.tolist() == [2, 4, 8]
        assert prepared.dataset.splits.tolist() == ["train", "train", "validation"]
        assert [(p.line, p.reason) for p in prepared.rejected] == REASONS
        assert prepared.counts["rows_read"] == 7
        assert prepared.counts["used"] == 3
        assert prepared.counts["rejected"] == 4
        assert prepared.counts["rejected_by"] == {"unreadable": 1, "sequence": 1, "label": 2}
        assert prepared.counts["contradictory"] == 1
        assert prepared.counts["in_train"] == {"validation": 1, "test": 0}


def test_the_list_of_problems_is_capped_but_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profactory.data.problems.KEPT", 5)
    path = save(tmp_path / "data.csv", "sequence,label\n" + "M1,a\n" * 50 + "MK,a\nMK,b\n")
    with pytest.raises(RowError, match="50 of 52") as caught:
        prepare_dataset(path)
    assert len(caught.value.problems) == 5


def test_no_usable_row_is_an_error_even_when_dropping(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="no usable row is left"):
        prepare_dataset(save(tmp_path / "data.csv", "sequence,label\n1,a\n2,b\n"), bad_rows="drop")


# --- labels


@pytest.mark.parametrize("name", [entry.name for entry in list_bundled()])
def test_bundled_sets(name: str) -> None:
    entry = next(entry for entry in list_bundled() if entry.name == name)
    prepared = prepare_dataset(f"bundled:{name}")
    assert prepared.task is not None
    assert prepared.task.kind is entry.task
    assert prepared.counts["used"] == prepared.counts["rows_read"] == entry.rows
    assert prepared.counts["total_residues"] == entry.residues
    assert {k: v for k, v in prepared.counts["splits"].items() if v} == {
        k: v for k, v in entry.splits.items() if v
    }


def test_labels_may_be_absent_where_they_are_not_needed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "sequence\nMKT\n")
    prepared = prepare_dataset(path, need_labels=False)
    assert prepared.task is None
    assert prepared.dataset.columns.labels == ()
    with pytest.raises(ColumnError):
        prepare_dataset(path)
    names = "".join(f"MKT,protein {chr(97 + i)}\n" for i in range(20))
    path = save(tmp_path / "b.csv", "sequence,label\n" + names)  # all different: names, no labels
    assert prepare_dataset(path, need_labels=False).task is None
    with pytest.raises(ColumnError):
        prepare_dataset(path)


def test_a_fitted_task_fixes_classes_and_label_column(tmp_path: Path) -> None:
    task = Task(TaskKind.SINGLE_LABEL, ("x", "y", "z"), ("place",))
    path = save(tmp_path / "a.csv", "sequence,label,place\nMKT,1,y\nAC,2,y\n")
    prepared = prepare_dataset(path, task=task)
    assert prepared.task == task
    assert prepared.dataset.labels == ["y", "y"]
    with pytest.raises(RowError, match="class 'w' is not among"):
        prepare_dataset(save(tmp_path / "b.csv", "sequence,place\nMKT,w\n"), task=task)


def test_residue_lists_and_unlabelled_residues(tmp_path: Path) -> None:
    rows = 'MKT,"[0, 1, null]"\n' * 5 + "MKTA,0 1 ? 2\n" * 5
    prepared = prepare_dataset(save(tmp_path / "a.csv", "sequence,label\n" + rows))
    assert prepared.task is not None
    assert prepared.task.kind is TaskKind.RESIDUE_CLASSIFICATION
    assert prepared.task.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "value", ["1e400", "3.5e38", "1e-400", "0.", ".5", "+1", "-1E5", "１", "1_0", "0x1", "1e", "."]
)
def test_numbers_are_judged_like_the_task_judges_them(tmp_path: Path, value: str) -> None:
    """The fast check of number columns must not be kinder than the slow one."""
    task = Task(TaskKind.REGRESSION)
    rows = "".join(f"MKT,{i}.5\n" for i in range(30))
    path = save(tmp_path / "a.csv", "sequence,label\n" + rows + f"AC,{value}\n")
    reasons = reasons_of(lambda: task.encode([value], [2]))
    assert reasons_of(lambda: prepare_dataset(path, task=TaskKind.REGRESSION)) == reasons
    assert bool(reasons) == (value in ("1e400", "3.5e38", "１", "1_0", "0x1", "1e", "."))


def reasons_of(call: Callable[[], object]) -> list[str]:
    """Return the reasons for which rows are refused; none if they are not."""
    try:
        call()
    except RowError as error:
        return [problem.reason for problem in error.problems]
    return []


# --- options and cache


def test_limit_and_sample(tmp_path: Path) -> None:
    rows = "".join(f"MKT,{i % 2}\n" for i in range(1000))
    path = save(tmp_path / "a.csv", "sequence,label\n" + rows)
    limited = prepare_dataset(path, limit=10)
    assert limited.dataset.lines.tolist() == list(range(2, 12))
    assert limited.counts["rows_read"] == 10
    first, second, other = (prepare_dataset(path, sample=0.2, seed=seed) for seed in (1, 1, 2))
    assert 120 < len(first.dataset) < 280
    assert first.dataset.lines.tolist() == second.dataset.lines.tolist() != other.dataset.lines.tolist()
    for name in ("train", "test"):
        save(tmp_path / "split" / f"{name}.csv", "sequence,label\n" + rows)
    assert prepare_dataset(tmp_path / "split", limit=4).counts["splits"] == {
        "train": 4,
        "validation": 0,
        "test": 4,
    }
    for options in ({"limit": 0}, {"sample": 0.0}, {"sample": 1.5}, {"bad_rows": "ignore"}):
        with pytest.raises(ConfigError):
            prepare_dataset(path, **options)  # type: ignore[arg-type]


def test_limit_counts_unreadable_rows(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "sequence,label\nMKT,a\nAC\nMKT,b\nWW\nGG,a\n")
    counts = prepare_dataset(path, limit=4, bad_rows="drop").counts
    assert (counts["rows_read"], counts["used"], counts["rejected"]) == (4, 2, 2)


def test_the_cache_is_used_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = save(tmp_path / "data.csv", TABLE), tmp_path / "cache"
    first = prepare_dataset(path, cache=cache)
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "ingest", None)  # would fail if called
        again = prepare_dataset(path, cache=cache)
    assert again.dataset.content_hash == first.dataset.content_hash
    assert (again.task, again.counts) == (first.task, first.counts)
    save(path, TABLE + "P5,WWW,a\n")
    assert len(prepare_dataset(path, cache=cache).dataset) == 5
    assert len(prepare_dataset(path, cache=cache, limit=2).dataset) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "no data", "no meta", "meta"])
def test_a_damaged_cache_is_seen_and_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, cache = save(tmp_path / "data.csv", TABLE), tmp_path / "cache"
    folder = prepare_dataset(path, cache=cache).dataset.path
    data = (folder / DATA_FILE).read_bytes()
    if damage == "flip":
        (folder / DATA_FILE).write_bytes(data.replace(b"MKV", b"MKW"))
    elif damage == "cut":
        (folder / DATA_FILE).write_bytes(data[:-20])
    elif damage == "meta":
        (folder / META_FILE).write_text("{}")
    else:
        (folder / (DATA_FILE if damage == "no data" else META_FILE)).unlink()
    with pytest.raises(ReadError):
        Dataset.open(folder)
    with caplog.at_level(logging.WARNING, "profactory"):
        assert prepare_dataset(path, cache=cache).dataset.sequences[1] == "MKV"
    assert "made again" in caplog.text
    assert len(Dataset.open(folder)) == 4


def test_meta_is_plain_json(tmp_path: Path) -> None:
    prepared = prepare_dataset(save(tmp_path / "data.csv", TABLE))
    meta = json.loads((prepared.dataset.path / META_FILE).read_text())
    assert meta["sha256"] == sha256_file(prepared.dataset.path / DATA_FILE)
    assert sorted(p.name for p in prepared.dataset.path.iterdir()) == [DATA_FILE, META_FILE]


def test_take_touches_chunks_in_any_order() -> None:
    values = pa.chunked_array([["a", "b"], [], ["c"], ["d", "e", "f"]])
    rows = np.array([5, 0, 0, 3, 2])
    assert take(values, rows).to_pylist() == ["f", "a", "a", "d", "c"]
    assert take(values, np.array([], np.int64)).to_pylist() == []
    with pytest.raises(IndexError):
        take(values, np.array([6]))
    with pytest.raises(IndexError):
        take(values, np.array([-1]))


@pytest.mark.parametrize("name", ["demo-location", "demo-go", "demo-gb1"])
@pytest.mark.parametrize("rows", [None, [5, 3, 5], []])
def test_labels_of_many_rows_are_those_of_each_row(name: str, rows: list[int] | None) -> None:
    prepared = prepare_dataset(f"bundled:{name}")
    dataset, task = prepared.dataset, prepared.task
    assert task is not None
    chosen = range(len(dataset)) if rows is None else rows
    found = encode_labels(dataset, task, None if rows is None else np.array(rows, np.int64))
    assert len(found) == len(chosen)
    for value, row in zip(found.values, chosen, strict=True):
        expected = task.encode([dataset.label_cells([row])[0]], [int(dataset.lengths[row])]).values[0]
        assert np.array_equal(value, expected)
