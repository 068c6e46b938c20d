"""Masking and losses, against figures worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from profactory.pretraining.batches import BatchSettings, BatchSource
from profactory.pretraining.corpus import CLS, EOS, FIRST_STANDARD, LAST_STANDARD, MASK, VOCABULARY
from profactory.pretraining.model import build_config, build_model
from profactory.pretraining.objectives import (
    IGNORE,
    MaskedBatch,
    ObjectiveWeights,
    PretrainingModel,
    mask_tokens,
    mean_pool,
    to_masked_batch,
    total_loss,
)
from tests.unit.pretraining.toy import toy_corpus


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = rng.integers(FIRST_STANDARD, LAST_STANDARD + 1, size=(500, 200))
    tokens[:, 0], tokens[:, -1] = CLS, EOS
    tokens[:, 5] = VOCABULARY.index("X")
    return tokens


def test_masking_selects_15_percent_and_splits_them_80_10_10(tokens: np.ndarray) -> None:
    ids, labels = mask_tokens(tokens, seed=1, step=2)
    selected = labels != IGNORE
    standard = (tokens >= FIRST_STANDARD) & (tokens <= LAST_STANDARD)
    count = selected.sum()
    assert count / standard.sum() == pytest.approx(0.15, abs=0.005)
    kept = (ids == tokens)[selected].mean()
    masked = (ids == MASK)[selected].mean()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / 20, abs=0.01)  # a random residue is the true one 1 time in 20
    assert 1 - masked - kept == pytest.approx(0.1 * 19 / 20, abs=0.01)


def test_only_standard_residues_are_hidden_and_the_rest_is_untouched(tokens: np.ndarray) -> None:
    ids, labels = mask_tokens(tokens, seed=1, step=2)
    assert (labels[:, [0, 5, -1]] == IGNORE).all()
    np.testing.assert_array_equal(ids[labels == IGNORE], tokens[labels == IGNORE])
    np.testing.assert_array_equal(labels[labels != IGNORE], tokens[labels != IGNORE])


def test_masking_is_a_pure_function_of_seed_and_step(tokens: np.ndarray) -> None:
    first = mask_tokens(tokens, 1, 2)
    np.testing.assert_array_equal(first[0], mask_tokens(tokens, 1, 2)[0])
    assert (first[1] != mask_tokens(tokens, 1, 3)[1]).any()
    assert (first[1] != mask_tokens(tokens, 2, 2)[1]).any()


def test_mean_pooling_goes_over_residues_only() -> None:
    states = torch.tensor([[[9.0], [1.0], [3.0], [9.0]], [[1.0], [2.0], [3.0], [6.0]]])
    is_residue = torch.tensor([[False, True, True, False], [True, True, True, True]])
    assert mean_pool(states, is_residue).flatten().tolist() == [2.0, 3.0]


class _Table(nn.Module):
    """A 'language model' whose hidden state is the one-hot of the token and whose head is fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.config = build_config(64, 1)
        self.config.hidden_size = 33
        self.lm_head = nn.Linear(33, 33)


def _one_hot(_: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(ids, 33).float()


def _masked_batch() -> MaskedBatch:
    source = BatchSource(toy_corpus(), 0, BatchSettings(tokens=512, max_length=128))
    return to_masked_batch(source.batch(0), 0, 0)


def test_losses_equal_those_of_scikit_learn() -> None:
    torch.manual_seed(0)
    model = PretrainingModel(_Table(), num_terms=5, residue_heads=True, encoder=_one_hot)
    for head in model.heads.values():
        nn.init.normal_(head.weight)  # type: ignore[arg-type]
    batch = _masked_batch()
    losses = model(batch)
    states = _one_hot(model, batch.input_ids)
    for name, head, classes in (
        ("masked", model.language_model.lm_head, 33),
        ("ss8", model.heads["ss8"], 8),
        ("accessibility", model.heads["accessibility"], 10),
    ):
        labels = batch.masked_labels if name == "masked" else getattr(batch, name)
        probability = head(states[labels != IGNORE]).detach().double().softmax(-1).numpy()  # type: ignore[operator]
        expected = log_loss(labels[labels != IGNORE], probability, labels=range(classes))
        value, count = losses[name]
        assert count == int((labels != IGNORE).sum())
        assert value.item() / count == pytest.approx(expected, rel=1e-5)


def test_records_without_annotation_say_nothing_about_terms() -> None:
    torch.manual_seed(0)
    model = PretrainingModel(_Table(), num_terms=5, encoder=_one_hot)
    batch = _masked_batch()
    value, count = model(batch)["terms"]
    assert count == 5 * int(batch.annotated.sum())
    assert value.item() == pytest.approx(count * np.log(2), rel=1e-5)  # heads start at zero: p = 1/2
    model.set_term_frequencies(toy_corpus())
    assert model(batch)["terms"][0] < value


def test_the_total_is_the_weighted_sum_of_means() -> None:
    losses = {
        "masked": (torch.tensor(6.0), 2),
        "terms": (torch.tensor(0.0), 0),
        "ss8": (torch.tensor(4.0), 4),
    }
    weights = ObjectiveWeights(masked=2.0, ss8=0.5)
    assert total_loss(losses, weights).item() == 2.0 * 3.0 + 0.5 * 1.0


def test_a_step_of_training_reaches_every_parameter_of_the_network() -> None:
    network = build_model(build_config(64, 2), seed=0)
    model = PretrainingModel(network, num_terms=5, residue_heads=True)
    total_loss(model(_masked_batch()), ObjectiveWeights()).backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None and "contact" not in n]
    assert unused == []
