"""Stored embeddings of many sequences, read in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profactory.data.batching import Indices
from profactory.models.extra_inputs import Arrays, collate_extras

Block = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Features:
    """Embeddings of `n` samples, in memory or memory-mapped.

    Parameters
    ----------
    blocks
        Arrays ``(rows, width)``: one if all fits into memory, otherwise one per file.
    start
        Where the rows of each sample begin, counted through all blocks, shape ``(n,)``. Samples with the same
        sequence share their rows.
    lengths
        Residues per sample after truncation, shape ``(n,)``.
    per_residue
        Whether a sample has a row per residue, or one row.
    extras
        What the model reads of each sample beside; see :mod:`profactory.models.extra_inputs`. None if
        nothing.
    """

    blocks: Sequence[Block]
    start: Indices
    lengths: Indices
    per_residue: bool
    extras: Sequence[Arrays] | None = None

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def edges(self) -> Indices:
        """Number of the first row of each block, and of all rows."""
        return np.cumsum([0, *map(len, self.blocks)])

    def place(self, indices: Indices) -> tuple[Indices, Indices]:
        """Return in which block the rows of samples are, and where they begin there."""
        start = self.start[indices]
        block = np.searchsorted(self.edges, start, side="right") - 1
        return block, start - self.edges[block]

    @property
    def width(self) -> int:
        """Numbers per row."""
        return int(self.blocks[0].shape[1])

    def beside(self, indices: Indices) -> dict[str, Tensor]:
        """Return what is read of samples beside, stacked."""
        return collate_extras([self.extras[int(i)] for i in indices]) if self.extras else {}

    def vectors(self, indices: Indices) -> Tensor:
        """Return the rows of samples that have one each, float32 ``(batch, width)``."""
        if len(self.blocks) == 1:
            return torch.from_numpy(self.blocks[0][self.start[indices]].astype(np.float32, copy=False))
        rows = np.empty((len(indices), self.width), np.float32)
        blocks, starts = self.place(indices)
        for number in np.unique(blocks):
            here = blocks == number
            rows[here] = self.blocks[number][starts[here]]
        return torch.from_numpy(rows)

    def residues(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return the rows of samples that have one per residue, padded with zeros.

        Returns
        -------
        features, mask
            float32 ``(batch, length, width)`` and bool ``(batch, length)``, False at padding.
        """
        lengths = self.lengths[indices]
        longest = int(lengths.max())
        padded = np.zeros((len(indices), longest, self.width), np.float32)
        for row, (number, start, length) in enumerate(zip(*self.place(indices), lengths, strict=True)):
            padded[row, :length] = self.blocks[number][start : start + length]
        mask = torch.arange(longest) < torch.from_numpy(lengths)[:, None]
        return torch.from_numpy(padded), mask
