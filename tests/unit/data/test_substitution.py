"""BLOSUM62 against Biopython's copy, and probabilities by hand."""

from __future__ import annotations

import numpy as np
import pytest

from profactory.data.substitution import ORDER, blosum62, substitution_probabilities


def test_scores_are_those_of_another_source() -> None:
    align = pytest.importorskip("Bio.Align")
    matrix = align.substitution_matrices.load("BLOSUM62")
    expected = [[matrix[a, b] for b in ORDER] for a in ORDER]
    assert blosum62().tolist() == expected


def test_probabilities_by_hand() -> None:
    found = substitution_probabilities()
    place = {letter: i for i, letter in enumerate(ORDER)}
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert np.diagonal(found).tolist() == [0] * 20
    # Isoleucine: scores 3 with V (frequency 0.073), 2 with L (0.099), -4 with G (0.074).
    row = found[place["I"]]
    assert row[place["V"]] / row[place["L"]] == pytest.approx(0.073 * 2**1.5 / (0.099 * 2))
    assert row[place["G"]] / row[place["L"]] == pytest.approx(0.074 * 2**-2 / (0.099 * 2))
    likeliest = {letter: ORDER[int(found[place[letter]].argmax())] for letter in "IKD"}
    assert likeliest == {"I": "V", "K": "R", "D": "E"}
