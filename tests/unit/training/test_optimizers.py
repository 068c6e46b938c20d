"""Parameter groups, the four optimizers, their state as named tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from profactory.errors import ConfigError
from profactory.training.optimizers import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
    set_learning_rate,
)


def small_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))


def test_only_matrices_decay():
    model = small_model()
    groups = parameter_groups(model, learning_rate=0.1, weight_decay=0.01)
    by_decay = {g["weight_decay"]: {id(p) for p in g["params"]} for g in groups}
    assert by_decay[0.01] == {id(model[0].weight), id(model[2].weight)}
    assert by_decay[0.0] == {id(p) for p in (model[0].bias, model[1].weight, model[1].bias, model[2].bias)}


def test_frozen_parameters_are_left_out_and_none_is_an_error():
    model = small_model()
    model[0].requires_grad_(False)
    groups = parameter_groups(model, learning_rate=0.1, weight_decay=0.0)
    assert sum(len(g["params"]) for g in groups) == 4
    model.requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter"):
        parameter_groups(model, learning_rate=0.1, weight_decay=0.0)


def test_a_rate_of_its_own_for_the_head():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    groups = parameter_groups(model, learning_rate=0.1, weight_decay=0.0, head_learning_rate=0.5)
    rates = {id(p): g["lr"] for g in groups for p in g["params"]}
    assert rates[id(model["backbone"].weight)] == 0.1
    assert rates[id(model["head"].weight)] == 0.5
    optimizer = make_optimizer("adamw", groups)
    set_learning_rate(optimizer, 0.5)
    assert sorted(g["lr"] for g in optimizer.param_groups) == [0.05, 0.25]


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(8, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd", "adafactor"])
def test_state_round_trip_is_exact(kind):
    """Three steps in a row equal one step, a move of the state into fresh objects, and two more."""
    models = [small_model(), small_model()]
    make = lambda m: make_optimizer(kind, parameter_groups(m, learning_rate=0.01, weight_decay=0.1))  # noqa: E731
    straight = make(models[0])
    for seed in range(3):
        one_step(models[0], straight, seed)
    before = make(models[1])
    one_step(models[1], before, 0)
    tensors = {name: t.clone() for name, t in optimizer_tensors(models[1], before).items()}
    resumed = small_model()
    resumed.load_state_dict(models[1].state_dict())
    after = make(resumed)
    load_optimizer_tensors(resumed, after, tensors)
    for seed in (1, 2):
        one_step(resumed, after, seed)
    for a, b in zip(models[0].parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(resumed[0].weight, small_model()[0].weight)


def test_adamw_against_the_formula():
    """First step of AdamW: decay, then lr * sign(gradient) (Loshchilov & Hutter 2019, algorithm 2)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    optimizer = make_optimizer("adamw", parameter_groups(model, learning_rate=0.1, weight_decay=0.5))
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    assert model.weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1, rel=1e-6)


def test_unknown_optimizer():
    with pytest.raises(ConfigError, match="lion"):
        make_optimizer("lion", [])
