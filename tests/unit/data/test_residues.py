"""The residue policy, by hand and against a letter-by-letter loop."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.residues import ACCEPTED, MAX_RESIDUES, clean_sequences, lengths_of


def clean(*sequences: str | None) -> tuple[list[str], dict[int, str], dict[str, int]]:
    result = clean_sequences(pa.array(sequences, pa.string()))
    return result.sequences.to_pylist(), result.reasons, dict(result.counts)


def test_standard_residues_pass_untouched() -> None:
    given_array = pa.array(["ACDEFGHIKLMNPQRSTVWY", "MK"])
    result = clean_sequences(given_array)
    assert result.sequences is given_array
    assert not result.reasons
    assert not result.counts


@pytest.mark.parametrize("word", ["NA", "NAN", "NVLL", "TRE", "INF"[:2], "NAVAL"[:4]])
def test_words_that_others_take_for_missing_values_are_sequences(word: str) -> None:
    assert clean(word) == ([word], {}, {})


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        ("mkt", "MKT", {"lower_case": 1}),
        (" MK\tT\r\nA ", "MKTA", {"white_space": 1}),
        ("MKT*", "MKT", {"stop_codon": 1}),
        ("MKT* ", "MKT", {"stop_codon": 1, "white_space": 1}),
        ("MUK", "MUK", {"nonstandard": 1, "U": 1}),
        ("XXBZJO", "XXBZJO", {"nonstandard": 1, "X": 2, "B": 1, "Z": 1, "J": 1, "O": 1}),
        ("mxk*", "MXK", {"lower_case": 1, "stop_codon": 1, "nonstandard": 1, "X": 1}),
    ],
)
def test_what_is_mended_is_counted(text: str, expected: str, counts: dict[str, int]) -> None:
    assert clean("MKT", text) == (["MKT", expected], {}, counts)


@pytest.mark.parametrize(
    ("text", "reason", "kind"),
    [
        ("", "the sequence is empty", "empty"),
        ("   ", "the sequence is empty", "empty"),
        ("*", "the sequence is empty", "empty"),
        (None, "the sequence is empty", "empty"),
        ("MK*T", "a stop codon, '*', before the end, at position 3 is no residue", "inner_stop"),
        ("MKT**", "a stop codon, '*', before the end, at position 4 is no residue", "inner_stop"),
        ("MK-T", "a gap, '-', at position 3 is no residue", "gap"),
        (".MKT", "a gap, '.', at position 1 is no residue", "gap"),
        ("M K1T", "letter '1' at position 4 is no residue", "other_letter"),
        ("MKé", "letter 'é' at position 3 is no residue", "other_letter"),
        ("M?K?T?", "letter '?' at position 2 is no residue (and 2 more such letters)", "other_letter"),
        ("A" * (MAX_RESIDUES + 1), "the sequence has 100,001 residues, more than 100,000", "too_long"),
    ],
)
def test_what_cannot_be_mended_is_named(text: str | None, reason: str, kind: str) -> None:
    cleaned, reasons, counts = clean("MKT", text, "ACD")
    assert reasons == {1: reason}
    assert (cleaned[0], cleaned[2]) == ("MKT", "ACD")
    assert counts == {kind: 1}


def test_longest_allowed_sequence_passes() -> None:
    assert clean("A" * MAX_RESIDUES)[1] == {}


def test_good_mask_and_slices() -> None:
    """Offsets of a sliced array do not begin at zero."""
    whole = pa.array(["M1", "MKT", "", "ac", "WWW"])
    for kind in (pa.string(), pa.large_string()):
        result = clean_sequences(whole.cast(kind).slice(1, 3))
        assert result.good.tolist() == [True, False, True]
        assert result.sequences.to_pylist() == ["MKT", "", "AC"]
    assert clean_sequences(whole.slice(0, 0)).good.tolist() == []


def test_lengths() -> None:
    assert lengths_of(pa.chunked_array([["MKT", ""], ["A"]])).tolist() == [3, 0, 1]


def slow_policy(text: str) -> str | None:
    """Return the clean sequence, or None for a refused row; the policy said again, one letter at a time."""
    letters = [letter for letter in text if not letter.isspace()]
    if letters and letters[-1] == "*":
        letters.pop()
    upper = [letter.upper() if "a" <= letter <= "z" else letter for letter in letters]
    return "".join(upper) if upper and all(letter in ACCEPTED for letter in upper) else None


@given(st.lists(st.text(alphabet=ACCEPTED + "acdx*-. \t1é", max_size=12), max_size=8))
def test_equals_a_loop_over_letters(texts: list[str]) -> None:
    cleaned, reasons, _ = clean(*texts)
    for row, text in enumerate(texts):
        expected = slow_policy(text)
        assert (row in reasons) == (expected is None)
        if expected is not None:
            assert cleaned[row] == expected
