"""Windows over sequences that are longer than the model reads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.errors import ConfigError
from profactory.inference.long_sequences import Pieces, window_starts
from profactory.inference.predictor import Predictor
from profactory.tasks import Task, TaskKind
from tests.support.fake_model import FakeModel


@given(st.integers(1, 5000), st.integers(1, 600))
def test_windows_are_whole_cover_everything_and_overlap(length: int, size: int) -> None:
    starts = window_starts(length, size)
    if length <= size:
        assert starts == [0]
        return
    assert starts[0] == 0
    assert starts[-1] + size == length
    steps = np.diff(starts)
    assert (steps > 0).all()
    # A quarter of a window is repeated, give or take the rounding of one residue.
    assert steps.max() <= max(1, size - size / 4 + 1)


def test_residues_count_by_their_distance_from_the_end_of_a_window() -> None:
    # Windows 0-3 and 3-6 of 7 residues share residue 3, which is the last of one and the first of the
    # other: weights 1 and 1. With windows 0-3 and 2-5, residue 2 has weights 2 and 1, residue 3 has 1 and 2.
    pieces = Pieces(["AAAA", "AAAA"], [[0, 2]], [6])
    first, second = np.full((4, 1), 3.0, np.float32), np.full((4, 1), 9.0, np.float32)
    (merged,) = pieces.merge([first, second], per_residue=True)
    np.testing.assert_allclose(merged[:, 0], [3, 3, (2 * 3 + 9) / 3, (3 + 2 * 9) / 3, 9, 9])


def test_values_of_sequences_are_averaged_over_windows() -> None:
    predictor = Predictor(FakeModel(Task(TaskKind.REGRESSION), max_length=4), device="cpu", long="windows")
    # Windows AAAA (mean 1) and CCCC (mean 3), AACC (2) between them.
    assert window_starts(8, 4) == [0, 2, 4]
    records = predictor.predict(["AAAACCCC", "AC"])
    assert records == [{"prediction": 2.0, "windows": 3}, {"prediction": 2.0, "windows": 1}]


@pytest.mark.parametrize("length", [5, 11, 100])
def test_every_residue_of_a_long_sequence_gets_its_own_value(length: int) -> None:
    task = Task(TaskKind.RESIDUE_REGRESSION)
    sequence = ("ACDEFGHIK" * 20)[:length]
    expected = Predictor(FakeModel(task), device="cpu").predict(sequence)[0]["prediction"]
    windowed = Predictor(FakeModel(task, max_length=4), device="cpu", long="windows").predict(sequence)[0]
    assert windowed["prediction"] == expected


def test_probabilities_of_windows_are_probabilities() -> None:
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
    predictor = Predictor(FakeModel(task, max_length=5), device="cpu", long="windows")
    outputs = predictor.predict_outputs(["ACDEFGHIKLM", "AC"])
    np.testing.assert_allclose(outputs.values.sum(axis=1), 1.0, rtol=1e-6)
    assert outputs.lengths.tolist() == [11, 2]


def test_what_cannot_be_done_with_long_sequences_is_refused() -> None:
    with pytest.raises(ConfigError, match="truncate, windows, error"):
        Predictor(FakeModel(Task(TaskKind.REGRESSION), max_length=4), device="cpu", long="cut")
