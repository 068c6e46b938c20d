"""What goes into a model and what comes out of it, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenBatch:
    """A padded batch.

    Parameters
    ----------
    input_ids
        ``(batch, tokens)`` int64, special tokens included.
    attention_mask
        ``(batch, tokens)`` int64: 1 for a token, 0 for padding.
    lengths
        ``(batch,)`` int64: residues.
    extras
        What the model reads beside; see :mod:`profactory.models.extra_inputs`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    lengths: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> TokenBatch:
        """Return the batch on a device."""
        return TokenBatch(
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.lengths.to(device),
            {name: tensor.to(device) for name, tensor in self.extras.items()},
        )

    def arguments(self) -> dict[str, Tensor]:
        """Return the keyword arguments of :meth:`profactory.models.protein_model.ProteinModel.forward`."""
        inputs = {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        return {**inputs, "lengths": self.lengths, **self.extras}


@dataclass(frozen=True)
class BackboneOutput:
    """Hidden states of a batch.

    Parameters
    ----------
    residues
        ``(batch, length, width)``: row i belongs to residue i; zero behind the end of a sequence. A mix has
        the widths of all layers.
    mask
        ``(batch, length)`` bool: True where there is a residue.
    cls
        ``(batch, width)``: state of the token for the whole sequence; None in families without one.
    """

    residues: Tensor
    mask: Tensor
    cls: Tensor | None
