"""The answer for one sequence: of the protein, or of each of its residues."""

from __future__ import annotations

import pytest

from profactory.web.tabs.predict import _answer
from profactory.web.words import Words


@pytest.mark.parametrize(
    ("record", "by_residue"),
    [
        ({"prediction": "HHCE", "probability_H": "0.9,0.8,0.1,0.1"}, True),
        ({"prediction": ",,,", "probability_metal": "0.1,0.1,0.2,0.0"}, True),  # no class at any residue
        ({"prediction": ",metal|dna,,dna", "probability_dna": "0.1,0.8,0.2,0.9"}, True),
        ({"prediction": "0.5,0.25,1.5,2.0"}, True),
        ({"prediction": "plasma_membrane", "probability_plasma_membrane": 0.9}, False),  # longer than MKTA
        ({"prediction": "a;b;c", "probability_a": 0.9}, False),
        ({"prediction": 54.3}, False),
        ({"prediction_tm": 54.3, "prediction_ph": 7.0}, False),
    ],
)
def test_a_prediction_by_residue_is_told_from_one_of_the_protein(
    record: dict[str, object], by_residue: bool
) -> None:
    assert ("pf-residues" in _answer(record, "MKTA", Words("en"))) == by_residue
