"""One array for the labels or outputs of many samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Values:
    """Labels or model outputs of `n` samples in one array.

    Parameters
    ----------
    values
        Sequence-level tasks: shape ``(n, …)``, a row per sample. Per-residue tasks: shape
        ``(residues, …)``, the rows of all samples one after the other.
    offsets
        Per-residue tasks: shape ``(n + 1,)``; sample ``i`` owns rows ``offsets[i]:offsets[i + 1]``.
        None for sequence-level tasks.
    """

    values: Array
    offsets: NDArray[np.int64] | None = None

    @classmethod
    def concat(cls, arrays: Sequence[Array], *, per_residue: bool) -> Values:
        """Join one array per sample (per-residue) or one row per sample (sequence-level)."""
        if not per_residue:
            return cls(np.stack(arrays) if len(arrays) else np.empty(0, np.float32))
        offsets = np.zeros(len(arrays) + 1, np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays) if len(arrays) else np.empty(0, np.float32), offsets)

    @classmethod
    def join(cls, parts: Sequence[Values]) -> Values:
        """Put samples one after the other; at least one part, all of one kind."""
        values = np.concatenate([part.values for part in parts])
        if any(part.offsets is None for part in parts):
            return cls(values)
        offsets = np.zeros(sum(map(len, parts)) + 1, np.int64)
        np.cumsum(np.concatenate([part.lengths for part in parts]), out=offsets[1:])
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def __getitem__(self, index: int) -> Array:
        """Return the label or output of one sample: a row, or its ``(length, …)`` block."""
        if self.offsets is None:
            return np.asarray(self.values[index])
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Values:
        """Return the samples at `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        if self.offsets is None:
            return Values(self.values[chosen])
        starts, lengths = self.offsets[chosen], np.diff(self.offsets)[chosen]
        offsets = np.zeros(len(chosen) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        rows = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Values(self.values[rows], offsets)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Rows per sample: residues for per-residue tasks, 1 otherwise."""
        return np.ones(len(self), np.int64) if self.offsets is None else np.diff(self.offsets)
