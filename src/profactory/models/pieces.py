"""From tokens that stand for several residues to residues."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(hidden: Tensor, pieces: Tensor, length: int) -> Tensor:
    """Give the state of each token to every residue in it.

    Parameters
    ----------
    hidden
        ``(batch, tokens, width)``.
    pieces
        ``(batch, tokens)``: residues in each token, 0 for special ones and padding.
    length
        Residues of the longest sequence.

    Returns
    -------
    Tensor
        ``(batch, length, width)``.
    """
    ends = pieces.cumsum(1)
    positions = torch.arange(length, device=hidden.device).expand(len(hidden), -1).contiguous()
    tokens = token_of(ends, positions)  # (batch, length)
    tokens = tokens.clamp(max=hidden.shape[1] - 1)[:, :, None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, tokens)


def token_of(ends: Tensor, positions: Tensor) -> Tensor:
    """Return the token that each residue is in.

    Parameters
    ----------
    ends
        ``(batch, tokens)``: residues up to and including each token, ascending.
    positions
        ``(batch, length)``: 0, 1, 2, …
    """
    if torch.compiler.is_exporting():  # ONNX has no search; counting gives the same
        return (ends[:, None, :] <= positions[:, :, None]).sum(-1)
    return torch.searchsorted(ends, positions, right=True)
