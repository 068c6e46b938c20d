"""Structure strings: their columns are found by name, their letters and lengths checked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.structure_columns import find_structure_columns, match_structure_columns
from profactory.data.structure_strings import KINDS, encode_structure, structure_problem, structure_problems
from profactory.errors import ColumnError, ConfigError


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["sequence", "foldseek_3di", "ss8"], {"3di": "foldseek_3di", "ss8": "ss8"}),
        (["aa_seq", "foldseek_seq", "ss8_seq"], {"3di": "foldseek_seq", "ss8": "ss8_seq"}),
        (["sequence", "SS8", "3Di"], {"3di": "3Di", "ss8": "SS8"}),
        (["sequence", "3di", "foldseek_3di"], {"3di": "foldseek_3di"}),
        (["sequence", "ss3"], {}),
    ],
)
def test_columns_are_found_by_their_usual_names(names: list[str], found: dict[str, str]) -> None:
    assert find_structure_columns(names) == found


def test_columns_are_taken_as_typed() -> None:
    names = ["sequence", "a", "foldseek_3di", "ss8"]
    assert find_structure_columns(names, ["ss8=a"]) == {"ss8": "a"}
    assert find_structure_columns(names, ["ss8", "3di=foldseek_3di"]) == {"3di": "foldseek_3di", "ss8": "ss8"}
    with pytest.raises(ConfigError, match="'a' does not tell"):
        find_structure_columns(names, ["a"])
    with pytest.raises(ColumnError, match="no column 'b'"):
        find_structure_columns(names, ["ss8=b"])


def test_a_model_finds_its_columns_again_or_says_which_is_missing() -> None:
    trained = {"3di": "mine", "ss8": "ss8"}
    assert match_structure_columns(["mine", "3di", "ss8"], trained) == trained
    assert match_structure_columns(["foldseek_3di", "ss8"], trained) == {"3di": "foldseek_3di", "ss8": "ss8"}
    with pytest.raises(ColumnError, match=r"no column 'mine'.*3Di letters"):
        match_structure_columns(["sequence", "ss8"], trained)
    assert match_structure_columns(["sequence"], {}) == {}


@pytest.mark.parametrize(
    ("kind", "text", "residues", "words"),
    [
        ("3di", "DVAQ", 4, ""),
        ("3di", "dvX#", 4, ""),  # SaProt writes small letters and # where nothing is known
        ("ss8", "HH-C", 4, ""),
        ("3di", "DVA", 4, "3 3Di letters of Foldseek for 4 residues"),
        ("3di", "", 4, "there are no 3Di"),
        ("3di", None, 4, "there are no 3Di"),
        ("3di", "DV1Q", 4, "'1' cannot be"),
        ("ss8", "HHZC", 4, "'Z' cannot be"),
    ],
)
def test_what_does_not_fit_is_said(kind: str, text: str | None, residues: int, words: str) -> None:
    reason = structure_problem(kind, text, residues)
    assert words in reason
    assert bool(reason) == bool(words)


def test_all_samples_are_looked_at() -> None:
    strings = {"3di": ["DV", "D", "DV"], "ss8": ["HH", "H", "H!"]}
    assert sorted(structure_problems(strings, ["MK", "MK", "MK"])) == [1, 2]
    with pytest.raises(ConfigError, match="2 3di strings for 1"):
        structure_problems({"3di": ["D", "D"]}, ["M"])


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_each_letter_has_a_number_of_its_own(kind: str, data: st.DataObject) -> None:
    letters = KINDS[kind].letters
    text = data.draw(st.text(alphabet=letters, max_size=30))
    codes = encode_structure(kind, text)
    assert [letters[code - 2] for code in codes] == list(text)
    np.testing.assert_array_equal(codes, encode_structure(kind, text.lower()))


def test_what_is_not_known_and_what_means_the_same() -> None:
    assert encode_structure("3di", "X#A").tolist() == [1, 1, 2]
    assert encode_structure("ss8", "-C~").tolist() == [encode_structure("ss8", "C")[0]] * 3
