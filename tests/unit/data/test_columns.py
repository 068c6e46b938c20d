"""Finding columns by name."""

from __future__ import annotations

import pytest

from profactory.data.columns import Columns, find_columns
from profactory.errors import ColumnError


@pytest.mark.parametrize(
    ("names", "sequence", "label"),
    [
        (["sequence", "label"], "sequence", "label"),
        (["ID", "Protein Sequence", "Target"], "Protein Sequence", "Target"),
        (["aa_seq", "y"], "aa_seq", "y"),
        (["accession", "sequence", "label", "class_name", "split"], "sequence", "label"),
        (["class_name", "labels", "SEQ"], "SEQ", "labels"),
        (["protein", "sequence", "class", "score"], "sequence", "class"),
        (["protein-sequence", "DMS_score"], "protein-sequence", "DMS_score"),
    ],
)
def test_found_by_name_in_order_of_priority(names: list[str], sequence: str, label: str) -> None:
    found = find_columns(names)
    assert found.sequence == sequence
    assert found.labels == (label,)


def test_split_and_identifier() -> None:
    found = find_columns(["Entry", "sequence", "label", "Split", "fold"])
    assert found == Columns("sequence", ("label",), "Split", "Entry")
    assert find_columns(["sequence", "label", "set", "fold"]).split is None


def test_typed_names_win_and_case_is_forgiven() -> None:
    names = ["sequence", "heavy", "label", "tm", "kd"]
    found = find_columns(names, sequence="Heavy", label=["tm", "kd"], split="label", identifier="sequence")
    assert found == Columns("heavy", ("tm", "kd"), "label", "sequence")


def test_labels_are_optional_when_not_needed() -> None:
    assert find_columns(["seq"], need_label=False) == Columns("seq")


@pytest.mark.parametrize(
    ("names", "options", "parts"),
    [
        (["seq", "protein", "label"], {}, ["'seq', 'protein'", "--sequence-column seq or"]),
        (["id", "label"], {}, ["no sequence column", "'id', 'label'", "--sequence-column NAME"]),
        (["seq", "tm"], {}, ["no label column", "'seq', 'tm'", "--label-column NAME"]),
        (["seq", "score", "fitness"], {}, ["'score', 'fitness'", "--label-column score or"]),
        (["Sequence", "sequence", "label"], {}, ["'Sequence', 'sequence'"]),
        (["seq", "my label"], {"label": "my labl"}, ["no column 'my labl'", "--label-column 'my label'"]),
        (["MKTAYIAKQRQISFVKSHFSRQ", "1"], {}, ["where the column names should be", "add a header"]),
        ([f"c{i}" for i in range(40)], {}, ["(40 in all)"]),
    ],
)
def test_missing_and_ambiguous(names: list[str], options: dict[str, str], parts: list[str]) -> None:
    with pytest.raises(ColumnError) as caught:
        find_columns(names, **options)
    for part in parts:
        assert part in str(caught.value)


def test_round_trip() -> None:
    columns = Columns("s", ("a", "b"), None, "id")
    assert Columns.from_dict(columns.to_dict()) == columns
