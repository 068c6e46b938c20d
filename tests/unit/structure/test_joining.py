"""Structures joined to tables: by exact id, never a wrong string."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.prepare import prepare_dataset
from profactory.data.reading import open_table
from profactory.errors import ColumnError, ConfigError, RowError
from profactory.structure.joining import StructureJoin
from profactory.structure.lookup import Lookup, places_of

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
STRUCTURES = "id,sequence,foldseek_3di,ss8\ns1,MKTAYI,DDVVPP,CHHHHC\ns10,MKTGYI,AAAAAA,EEEEEE\n"


@pytest.fixture
def lookup(tmp_path: Path) -> Lookup:
    (tmp_path / "structures.csv").write_text(STRUCTURES)
    return Lookup.open(tmp_path / "structures.csv")


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "proteins.csv"
    path.write_text(text)
    return path


def test_ids_are_compared_whole(lookup: Lookup) -> None:
    """Substring containment, A18, gives s10 the structure of s1."""
    assert lookup.strings_for("s10", "MKTGYI") == {"3di": "AAAAAA", "ss8": "EEEEEE"}
    assert lookup.strings_for("s", "MKTAYI") == "there is no structure called 's'"
    assert "another sequence" in str(lookup.strings_for("s10", "MKTAYI"))


def test_residues_that_the_structure_lacks_are_masked(lookup: Lookup) -> None:
    assert lookup.strings_for("s1", "GMKTAYIG") == {"3di": "XDDVVPPX", "ss8": "XCHHHHCX"}
    assert lookup.strings_for("s1", "MKTWWWAYI") == {"3di": "DDVXXXVPP", "ss8": "CHHXXXHHC"}


@given(st.text("ACD", min_size=1, max_size=9), st.data())
def test_every_way_to_leave_residues_out_is_placed_with_the_fewest_gaps(
    sequence: str, data: st.DataObject
) -> None:
    """Against all ways to choose places, tried one after the other."""
    kept = data.draw(st.sets(st.integers(0, len(sequence) - 1), min_size=1).map(sorted))
    structure = "".join(sequence[place] for place in kept)
    places = places_of(structure, sequence)
    assert places is not None
    assert "".join(sequence[place] for place in places) == structure
    ways = [
        way
        for way in itertools.combinations(range(len(sequence)), len(structure))
        if "".join(sequence[place] for place in way) == structure
    ]
    assert gaps(places) == min(map(gaps, ways))


def gaps(places: Sequence[int]) -> int:
    assert list(places) == sorted(set(places))
    return sum(after - before > 1 for before, after in itertools.pairwise(places))


@given(st.integers(6, 70), st.sampled_from("ACDEFGHIKLMNPQRSTVWY"))
def test_an_exchanged_residue_is_another_sequence(place: int, letter: str) -> None:
    changed = UBIQUITIN[:place] + letter + UBIQUITIN[place + 1 :]
    assert (places_of(changed, UBIQUITIN) is None) == (changed != UBIQUITIN)


def test_an_unknown_residue_of_a_structure_may_be_anything() -> None:
    assert places_of("MKX", "GMKTA") == [1, 2, 3]


def test_rows_without_structure_are_named_or_dropped_or_masked(lookup: Lookup, tmp_path: Path) -> None:
    path = table(tmp_path, "id,sequence,label\ns1,MKTAYI,a\nnone,MKTAYI,b\ns10,MKTAYI,a\ns10,MKTGYI,b\n")
    with pytest.raises(RowError) as caught:
        prepare_dataset(path, join=StructureJoin(lookup), cache=tmp_path / "cache")
    found = [(problem.line, problem.column, problem.value) for problem in caught.value.problems]
    assert found == [(3, "id", "none"), (4, "id", "s10")]
    dropped = prepare_dataset(path, join=StructureJoin(lookup), bad_rows="drop", cache=tmp_path / "cache")
    assert dropped.dataset.column("foldseek_3di").to_pylist() == ["DDVVPP", "AAAAAA"]
    assert (dropped.counts["rows_read"], dropped.counts["used"], dropped.counts["rejected"]) == (4, 2, 2)
    masked = prepare_dataset(path, join=StructureJoin(lookup, "mask"), cache=tmp_path / "cache")
    assert masked.dataset.column("ss8").to_pylist() == ["CHHHHC", "XXXXXX", "XXXXXX", "EEEEEE"]


def test_a_table_without_ids_or_with_the_columns_already(lookup: Lookup, tmp_path: Path) -> None:
    join = StructureJoin(lookup)
    with pytest.raises(ColumnError, match="no column by which structures"):
        join(open_table(table(tmp_path, "sequence,label\nMKTAYI,a\n")))
    with pytest.raises(ColumnError, match="'ss8' already"):
        join(open_table(table(tmp_path, "id,sequence,ss8\ns1,MKTAYI,CHHHHC\n")))


def test_a_table_that_is_none_of_structures(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match="no table of structures"):
        Lookup.open(table(tmp_path, "id,sequence,label\ns1,MKTAYI,a\n"))


def test_options_of_structures_need_structures() -> None:
    from profactory.config import TrainConfig

    with pytest.raises(ConfigError, match="only with structures"):
        TrainConfig.build({"missing_structure": "mask"})
