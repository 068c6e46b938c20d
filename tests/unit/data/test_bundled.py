"""The demonstration sets are what their index says, read here with the standard library only."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from profactory.data.bundled import BundledSet, bundled_path, list_bundled
from profactory.errors import ReadError
from profactory.tasks import TaskKind

AMINO_ACIDS = set("ACDEFGHIKLMNPQRSTVWY")
SETS = list_bundled()


def read(entry: BundledSet) -> list[dict[str, str]]:
    with gzip.open(entry.path, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_task_has_a_set() -> None:
    """All but several classes per residue, of which none is bundled."""
    assert {entry.task for entry in SETS} == set(TaskKind) - {TaskKind.RESIDUE_MULTI_LABEL}


def test_they_are_small() -> None:
    sizes = [entry.path.stat().st_size for entry in SETS]
    assert max(sizes) < 500_000
    assert sum(sizes) < 2_000_000


@pytest.mark.parametrize("entry", SETS, ids=lambda entry: entry.name)
def test_file_agrees_with_index(entry: BundledSet) -> None:
    rows = read(entry)
    assert hashlib.sha256(entry.path.read_bytes()).hexdigest() == entry.sha256
    assert len(rows) == entry.rows == sum(entry.splits.values())
    assert sum(len(row["sequence"]) for row in rows) == entry.residues
    assert max(len(row["sequence"]) for row in rows) <= entry.max_length
    counts = Counter(row["split"].replace("valid", "validation") for row in rows)
    assert counts == entry.splits
    assert set("".join(row["sequence"] for row in rows)) <= AMINO_ACIDS
    assert len({row["sequence"] for row in rows}) == len(rows)  # no duplicates, within or across splits
    assert all(row["label"] for row in rows)
    assert entry.licence
    assert entry.source


def test_labels_are_words_and_all_classes_are_in_every_split() -> None:
    for name, classes in (("demo-location", 6), ("demo-membrane", 2), ("demo-go", 10)):
        entry = next(entry for entry in SETS if entry.name == name)
        by_split: dict[str, set[str]] = {}
        for row in read(entry):
            by_split.setdefault(row["split"], set()).update(row["label"].split(","))
        assert len(by_split["train"]) == classes
        assert by_split["train"] == by_split["valid"] == by_split["test"]
        assert all(word.replace("_", "").isalpha() for word in by_split["train"])


def test_residue_labels_match_the_residues() -> None:
    ss3 = next(entry for entry in SETS if entry.name == "demo-ss3")
    rsa = next(entry for entry in SETS if entry.name == "demo-rsa")
    assert all(
        len(row["label"]) == len(row["sequence"]) and set(row["label"]) <= set("HEC") for row in read(ss3)
    )
    for row in read(rsa):
        values = [float(word) for word in row["label"].split()]
        assert len(values) == len(row["sequence"])
        assert all(0 <= value <= 1.5 for value in values)
    assert not {row["pdb_chain"] for row in read(ss3)} & {row["pdb_chain"] for row in read(rsa)}


def test_path_by_name_with_and_without_prefix() -> None:
    path = bundled_path("demo-gb1")
    assert isinstance(path, Path)
    assert path.is_file()
    assert bundled_path("bundled:demo-gb1") == path
    assert bundled_path("my_data.csv") is None


def test_unknown_bundled_name_offers_the_nearest() -> None:
    with pytest.raises(ReadError, match="demo-location"):
        bundled_path("bundled:demo-locaton")
