"""Losses, against figures worked out by hand or by scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn

from profactory.pretraining.batches import Batches, BatchSettings
from profactory.pretraining.masking import IGNORE
from profactory.pretraining.network import build_config, build_model
from profactory.pretraining.objectives import ObjectiveWeights, PretrainingModel, mean_pool, total_loss
from tests.unit.pretraining.toy import toy_corpus


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

    def base_model(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=_one_hot(input_ids))


def _one_hot(ids: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(ids, 33).float()


def _masked_batch() -> dict[str, Tensor]:
    corpus = toy_corpus()
    source = Batches(corpus, np.arange(len(corpus)), 0, BatchSettings(tokens=512, max_length=128))
    torch.manual_seed(0)
    batch = source.load(source.plan(0)[0])
    return {name: tensor for name, tensor in batch.items() if name != "weight"}


def test_losses_equal_those_of_scikit_learn() -> None:
    torch.manual_seed(0)
    model = PretrainingModel(_Table(), num_terms=5, residue_heads=True)
    for head in model.heads.values():
        nn.init.normal_(head.weight)  # type: ignore[arg-type]
    batch = _masked_batch()
    losses = model.losses(**batch)
    states = _one_hot(batch["input_ids"])
    for name, head, classes in (
        ("masked", model.language_model.lm_head, 33),
        ("ss8", model.heads["ss8"], 8),
        ("accessibility", model.heads["accessibility"], 10),
    ):
        labels = batch["masked_labels" if name == "masked" else name]
        probability = head(states[labels != IGNORE]).detach().double().softmax(-1).numpy()  # type: ignore[operator]
        expected = log_loss(labels[labels != IGNORE], probability, labels=range(classes))
        value, count = losses[name]
        assert count == int((labels != IGNORE).sum())
        assert value.item() / count == pytest.approx(expected, rel=1e-5)


def test_records_without_annotation_say_nothing_about_terms() -> None:
    torch.manual_seed(0)
    model = PretrainingModel(_Table(), num_terms=5)
    batch = _masked_batch()
    value, count = model.losses(**batch)["terms"]
    assert count == 5 * int(batch["annotated"].sum())
    assert value.item() == pytest.approx(count * np.log(2), rel=1e-5)  # heads start at zero: p = 1/2
    model.set_term_frequencies(toy_corpus())
    assert model.losses(**batch)["terms"][0] < value


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
    model(torch.tensor(2.0), **_masked_batch()).backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None and "contact" not in n]
    assert unused == []


def test_the_loss_of_a_batch_counts_as_much_as_the_batch() -> None:
    model, batch = PretrainingModel(build_model(build_config(64, 1), seed=0)), _masked_batch()
    one, three = (model(torch.tensor(weight), **batch) for weight in (1.0, 3.0))
    assert three.item() == pytest.approx(3 * one.item())
    expected = total_loss(model.losses(**batch), ObjectiveWeights())
    assert one.item() == pytest.approx(expected.item())


def test_an_objective_without_weight_has_no_head() -> None:
    weights = ObjectiveWeights(terms=0.0, ss8=1.0, accessibility=0.0)
    model = PretrainingModel(build_model(build_config(64, 1), 0), 5, residue_heads=True, weights=weights)
    assert list(model.heads) == ["ss8"]
    model.set_term_frequencies(toy_corpus())  # nothing to set
