"""A learned mix of a model's layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Weighted sum of all layers (Peters et al. 2018, https://arxiv.org/abs/1802.05365).

    The weights are a softmax of learned numbers, and their sum is scaled by another; at first every layer
    counts the same.

    Parameters
    ----------
    layers
        How many, the embedding included.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.scores = nn.Parameter(torch.zeros(layers))
        self.scale = nn.Parameter(torch.ones(()))

    @property
    def weights(self) -> Tensor:
        """Share of each layer, ``(layers,)``."""
        return self.scores.softmax(0)

    def forward(self, stacked: Tensor) -> Tensor:
        """Return ``(…, width)`` for ``(…, layers * width)``."""
        by_layer = stacked.unflatten(-1, (self.layers, -1))  # (…, layers, width)
        return self.scale * torch.einsum("l,...lw->...w", self.weights.to(stacked.dtype), by_layer)
