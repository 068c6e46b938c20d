"""SES-Adapter: residues of a frozen language model look at the structure strings of their protein."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from profactory.data.structure_strings import KINDS, PADDING
from profactory.models.dropout import Dropout

_HEADS = 8


class StructureAdapter(nn.Module):
    """Structure-aware adapter (Tan et al. 2024, https://doi.org/10.1021/acs.jcim.4c00689).

    Each kind of string has a vocabulary and an embedding of its own. Residues attend to the embedded
    strings with rotary positions; what they find is added to them and normalised. Unlike in the original
    code the last projection begins at zero: training starts from the language model as it is.

    Parameters
    ----------
    width
        Of the residues.
    kinds
        Names of :data:`profactory.data.structure_strings.KINDS`.
    dropout
        Of what is added.
    """

    def __init__(self, width: int, kinds: Sequence[str], dropout: float = 0.1) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {kind: nn.Embedding(KINDS[kind].size, width, padding_idx=PADDING) for kind in kinds}
        )
        self.attention = nn.ModuleDict({kind: CrossAttention(width) for kind in kinds})
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, residues: Tensor, mask: Tensor, codes: Mapping[str, Tensor]) -> Tensor:
        """Return residues that know their structure.

        Parameters
        ----------
        residues
            ``(batch, length, width)``.
        mask
            ``(batch, length)`` bool, True where there is a residue.
        codes
            For each kind ``(batch, length)`` int64, 0 at padding.

        Returns
        -------
        Tensor
            ``(batch, length, width)``, zero behind the end of a sequence.
        """
        found = torch.zeros_like(residues)
        for kind, embedding in self.embeddings.items():
            found = found + self.attention[kind](residues, embedding(codes[kind]), mask)
        adapted: Tensor = self.norm(residues + self.dropout(found))
        return adapted.masked_fill(~mask[:, :, None], 0.0)


class CrossAttention(nn.Module):
    """Attention from one string of vectors to another of the same length, with rotary positions.

    Parameters
    ----------
    width
        Of both.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # Rotary positions need an even number per head.
        self.heads = next(n for n in range(_HEADS, 0, -1) if width % n == 0 and (width // n) % 2 == 0)
        self.query_norm, self.key_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, residues: Tensor, structure: Tensor, mask: Tensor) -> Tensor:
        """Return what each residue finds, ``(batch, length, width)``."""
        seen = self.key_norm(structure)
        queries = rotate(self._split(self.query(self.query_norm(residues))))  # (batch, heads, length, depth)
        keys = rotate(self._split(self.key(seen)))
        values = self._split(self.value(seen))
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, None, None, :])
        joined = found.transpose(1, 2).reshape(residues.shape)
        outputs: Tensor = self.out(joined)
        return outputs

    def _split(self, vectors: Tensor) -> Tensor:
        batch, length, width = vectors.shape
        return vectors.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


def rotate(vectors: Tensor) -> Tensor:
    """Turn vectors by their positions (Su et al. 2021, https://arxiv.org/abs/2104.09864).

    Parameters
    ----------
    vectors
        ``(batch, heads, length, depth)``, depth even.
    """
    length, depth = vectors.shape[-2:]
    steps = torch.arange(0, depth, 2, device=vectors.device, dtype=torch.float32)
    speeds = 10000.0 ** (-steps / depth)  # (depth / 2,)
    angles = torch.arange(length, device=vectors.device, dtype=torch.float32)[:, None] * speeds
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)  # (length, depth / 2)
    first, second = vectors[..., ::2], vectors[..., 1::2]
    return torch.stack((first * cos - second * sin, first * sin + second * cos), dim=-1).flatten(-2)
