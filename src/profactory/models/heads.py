"""From a vector to the numbers of a task."""

from __future__ import annotations

from torch import Tensor, nn

from profactory.models.dropout import Dropout


class Head(nn.Module):
    """Layer normalisation, then one hidden layer or none.

    The normalisation makes one learning rate fit all backbones: the scale of hidden states differs
    a hundredfold between families.

    Parameters
    ----------
    in_width
        Numbers per sequence or residue.
    n_outputs
        Numbers that come out.
    hidden
        Width of the hidden layer; 0 for a linear head.
    dropout
        In front of each linear layer.
    """

    def __init__(self, in_width: int, n_outputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.in_width, self.n_outputs, self.hidden, self.dropout = in_width, n_outputs, hidden, dropout
        layers: list[nn.Module] = [nn.LayerNorm(in_width), Dropout(dropout)]
        if hidden:
            layers += [nn.Linear(in_width, hidden), nn.GELU(), Dropout(dropout)]
        layers.append(nn.Linear(hidden or in_width, n_outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return ``(…, n_outputs)`` for ``(…, in_width)``."""
        outputs: Tensor = self.layers(vectors)
        return outputs
