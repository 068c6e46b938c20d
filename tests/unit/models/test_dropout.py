"""Dropout with four decisions to a random number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from profactory.models.dropout import Dropout, use_quick_dropout


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1001, 301), (7,)])
def test_mean_and_share(probability: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Dropout(probability).train()
    outputs = layer(torch.ones(shape))
    assert outputs.shape == shape
    kept = torch.tensor(1 / (1 - probability))
    assert torch.equal(outputs.unique(), torch.stack([torch.tensor(0.0), kept])) or len(shape) == 1
    if len(shape) == 2:
        deviation = (probability * (1 - probability) / outputs.numel()) ** 0.5
        assert float((outputs == 0).double().mean()) == pytest.approx(probability, abs=5 * deviation)
        # Decisions of one random number do not hang together.
        dropped = (outputs.flatten() == 0)[: 4 * 75_000].view(-1, 4).double()
        assert torch.corrcoef(dropped.T).fill_diagonal_(0).abs().max() < 0.02


def test_reproducible_and_differentiable() -> None:
    layer, inputs = Dropout(0.3).train(), torch.randn(50, 8, requires_grad=True)
    found = []
    for _ in range(2):
        torch.manual_seed(7)
        found.append(layer(inputs))
    assert torch.equal(*found)
    found[0].sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad == 0, found[0] == 0)
    assert torch.equal(layer.eval()(inputs), inputs)


def test_replaces_those_of_torch() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.2), nn.Identity()))
    use_quick_dropout(network)
    inner = network[1]
    assert isinstance(inner, nn.Sequential)
    assert isinstance(inner[0], Dropout)
    assert inner[0].p == 0.2
