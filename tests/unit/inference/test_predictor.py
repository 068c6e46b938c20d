"""The predictor: order, batches, precision, memory; outputs worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from profactory.data.batching import BatchPlan
from profactory.errors import ConfigError, MemoryBudgetError, RowError
from profactory.inference.engines.torch_engine import choose_device
from profactory.inference.predictor import Predictor
from profactory.progress import Progress
from profactory.tasks import Task, TaskKind
from tests.support.fake_model import FakeModel

REGRESSION = Task(TaskKind.REGRESSION)
TWO_TARGETS = Task(TaskKind.REGRESSION, targets=("heat", "cold"))
SINGLE = Task(TaskKind.SINGLE_LABEL, ("no", "yes"))
MULTI = Task(TaskKind.MULTI_LABEL, ("a", "b"))
RESIDUE = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
RESIDUE_WORDS = Task(TaskKind.RESIDUE_CLASSIFICATION, ("coil", "helix"))
RESIDUE_NUMBERS = Task(TaskKind.RESIDUE_REGRESSION)


def _predictor(task: Task, tokens_per_batch: int | None = None, **options: int) -> Predictor:
    return Predictor(FakeModel(task, **options), device="cpu", tokens_per_batch=tokens_per_batch)


@given(st.lists(st.integers(1, 500), max_size=200), st.integers(1, 2000))
def test_every_sequence_is_in_exactly_one_batch_that_fits(lengths: list[int], budget: int) -> None:
    batches = BatchPlan(np.array(lengths, np.int64), budget).in_order()
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[index] for index in batch) * len(batch)
        assert padded <= budget or len(batch) == 1


def test_outputs_come_in_the_order_of_the_sequences() -> None:
    predictor = _predictor(REGRESSION, tokens_per_batch=12)
    outputs = predictor.predict_outputs(["AC", "A", "CCCCC", "A", "AAAC"])
    np.testing.assert_array_equal(outputs.values, np.array([[2], [1], [3], [1], [1.5]], np.float32))
    assert outputs.values.dtype == np.float32
    assert outputs.offsets is None
    # Five residues and two special tokens; then 6 + 6 = 12 is no longer two equal rows of 4 and 3.
    assert predictor.model.seen == [(1, 7), (2, 6), (1, 3)]


def test_identical_sequences_are_run_once() -> None:
    predictor = _predictor(REGRESSION)
    outputs = predictor.predict_outputs(["AC"] * 50 + ["C"])
    assert predictor.model.seen == [(2, 4)]
    np.testing.assert_array_equal(outputs.values[:, 0], [2.0] * 50 + [3.0])


def test_residue_outputs_have_one_row_per_residue() -> None:
    outputs = _predictor(RESIDUE_NUMBERS).predict_outputs(["ACD", "C", "AA"])
    assert outputs.offsets is not None
    np.testing.assert_array_equal(outputs.offsets, [0, 3, 4, 6])
    np.testing.assert_array_equal(outputs.values[:, 0], [1, 3, 4, 3, 1, 1])


@pytest.mark.parametrize("task", [REGRESSION, SINGLE, RESIDUE, RESIDUE_NUMBERS])
def test_nothing_in_nothing_out(task: Task) -> None:
    outputs = _predictor(task).predict_outputs([])
    assert len(outputs) == 0
    assert outputs.values.shape == (0, task.n_outputs)
    assert _predictor(task).predict([]) == []


def test_classes_get_probabilities_that_add_up_to_one() -> None:
    # Logits 1 and 2: softmax 1 / (1 + e) and e / (1 + e). Sigmoids of 1 and 2 for several labels.
    e = np.e
    (record,) = _predictor(SINGLE).predict("A")
    assert record == {
        "prediction": "yes",
        "probability_no": pytest.approx(1 / (1 + e)),
        "probability_yes": pytest.approx(e / (1 + e)),
    }
    (record,) = _predictor(MULTI).predict(["A"])
    assert record == {
        "prediction": "a,b",
        "probability_a": pytest.approx(1 / (1 + 1 / e)),
        "probability_b": pytest.approx(1 / (1 + 1 / e**2)),
    }
    assert _predictor(SINGLE).predict("A", probabilities=False) == [{"prediction": "yes"}]


def test_numbers_are_plain_and_short() -> None:
    (record,) = _predictor(TWO_TARGETS).predict("AAC")
    assert json.dumps(record) == '{"prediction_heat": 1.6666666, "prediction_cold": 3.3333333}'


def test_residue_predictions_are_exactly_as_long_as_the_sequence() -> None:
    assert _predictor(RESIDUE).predict("ACA")[0]["prediction"] == "HHH"
    assert _predictor(RESIDUE_WORDS).predict("ACA")[0]["prediction"] == "helix,helix,helix"
    assert _predictor(RESIDUE_NUMBERS).predict("ACA")[0] == {"prediction": "1.0,3.0,1.0"}
    words = _predictor(RESIDUE).predict("ACA")[0]["probability_H"].split(",")
    assert [float(word) for word in words] == pytest.approx([1 / (1 + np.exp(-x)) for x in (1, 3, 1)])


def test_what_is_beyond_the_models_limit_is_said_and_left_open() -> None:
    short = {"max_length": 2}
    assert _predictor(REGRESSION, **short).predict(["ACCC", "AC"]) == [
        {"prediction": 2.0, "truncated": True},
        {"prediction": 2.0},
    ]
    assert _predictor(RESIDUE, **short).predict("ACAC")[0]["prediction"] == "HH--"
    assert _predictor(RESIDUE_WORDS, **short).predict("ACAC")[0]["prediction"] == "helix,helix,,"
    assert _predictor(RESIDUE_NUMBERS, **short).predict("ACAC")[0]["prediction"] == "1.0,3.0,,"
    gaps = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "-"))
    assert _predictor(gaps, **short).predict("ACAC")[0]["prediction"] == "--??"


def test_sequences_are_cleaned_as_for_training() -> None:
    assert _predictor(REGRESSION).predict("a c\n*") == [{"prediction": 2.0}]


def test_every_sequence_that_cannot_be_used_is_named() -> None:
    with pytest.raises(RowError) as caught:
        _predictor(REGRESSION).predict(["AC", "12 hello!", "", "A-C"])
    assert [problem.reason.split(":")[0] for problem in caught.value.problems] == [
        "sequence 2",
        "sequence 3",
        "sequence 4",
    ]
    assert "3 of 4" in str(caught.value)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    predictor = _predictor(REGRESSION, tokens_per_batch=1000, memory=12)
    outputs = predictor.predict_outputs(["AC" * 2, "CC" * 2, "AA" * 2, "AD" * 2, "CA" * 2])
    np.testing.assert_array_equal(outputs.values[:, 0], [2, 3, 1, 2.5, 2])
    assert all(rows * width <= 12 for rows, width in predictor.model.seen)
    assert "did not fit into memory" in caplog.text


def test_one_sequence_that_does_not_fit_is_named() -> None:
    with pytest.raises(MemoryBudgetError, match="10 tokens"):
        _predictor(REGRESSION, memory=6).predict("ACACACAC")


def test_progress_counts_every_sequence_once() -> None:
    with Progress("predicting") as progress:
        _predictor(REGRESSION).predict_outputs(["A", "AC", "A", "CCC"], progress)
    assert progress.done == 4


def test_the_model_is_left_in_evaluation_mode_and_without_gradients() -> None:
    model = FakeModel(REGRESSION).train()
    predictor = Predictor(model, device="cpu")
    predictor.predict("AC")
    assert not model.training
    assert model.scale.grad is None


def test_devices_and_precisions_that_cannot_be_used_are_named() -> None:
    with pytest.raises(ConfigError, match="'nonsense'"):
        choose_device("nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="'cuda'"):
            choose_device("cuda")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="fp16"):
        Predictor(FakeModel(REGRESSION), device="cpu", precision="fp16")
    with pytest.raises(ConfigError, match="int3"):
        Predictor(FakeModel(REGRESSION), device="cpu", precision="int3")


def test_bf16_computes_in_bf16_and_answers_in_float32() -> None:
    predictor = Predictor(FakeModel(REGRESSION), device="cpu", precision="bf16")
    outputs = predictor.predict_outputs(["ACD"])
    assert outputs.values.dtype == np.float32
    assert outputs.values[0, 0] == pytest.approx(8 / 3, rel=1e-2)
