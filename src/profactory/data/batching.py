"""Which sequences go together in a batch, for training and for prediction alike. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.integers import small_type
from profactory.errors import ConfigError

Indices = NDArray[np.integer[Any]]

#: Lengths are jittered by up to this share before sorting, so that neighbours change from epoch to epoch.
LENGTH_JITTER = 0.02


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """Length-bucketed micro-batches.

    Samples of similar length share a micro-batch, so little is padded; which samples meet and the order
    of the micro-batches are drawn anew every epoch. Every sample is used exactly once per epoch: one that
    is longer than the budget is a micro-batch of its own.

    Parameters
    ----------
    lengths
        Tokens per sample as the model will see them (special tokens included, after truncation),
        shape ``(n,)``.
    tokens
        Upper limit of tokens per micro-batch, padding included: samples times the longest of them.
    sequences
        Upper limit of samples per micro-batch. At least one of the two limits is needed.
    seed
        Of the run.
    """

    lengths: NDArray[Any]
    tokens: int | None = None
    sequences: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        lengths = np.asarray(self.lengths)
        lengths = lengths if lengths.dtype.kind == "i" else lengths.astype(np.int64)
        if self.tokens is None and self.sequences is None:
            raise ConfigError(
                "A batch has no limit.", expected="a number of tokens or of sequences", fix="--batch-size 16"
            )
        for name, value in (("tokens", self.tokens), ("sequences", self.sequences)):
            if value is not None and value < 1:
                raise ConfigError(f"A batch of {value} {name} is impossible.", expected="at least 1")
        if lengths.ndim != 1 or (lengths < 1).any():
            raise ValueError("lengths must be a vector of positive integers")
        object.__setattr__(self, "lengths", lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def epoch(self, epoch: int) -> list[Indices]:
        """Return the micro-batches of an epoch, each an array of sample indices."""
        # Two streams, so that the order of batches does not depend on how many numbers the sort drew.
        jitter, order = (np.random.default_rng((self.seed, epoch, stream)) for stream in (0, 1))
        keys = jitter.uniform(-LENGTH_JITTER, LENGTH_JITTER, len(self))
        keys += 1.0
        keys *= self.lengths
        batches = self._cut(np.argsort(keys, kind="stable").astype(small_type(len(self))))
        return [batches[i] for i in order.permutation(len(batches))]

    def in_order(self) -> list[Indices]:
        """Return micro-batches for inference: longest first, no chance involved.

        Longest first, so that a lack of memory shows at once.
        """
        return self._cut(np.argsort(-self.lengths, kind="stable"))

    def _cut(self, order: Indices) -> list[Indices]:
        """Cut a sorted sequence of samples greedily into micro-batches within the limits."""
        if self.tokens is None:
            size = int(self.sequences or 1)
            return [order[start : start + size] for start in range(0, len(order), size)]
        lengths, cap = self.lengths[order], self.sequences or len(order)
        batches, start = [], 0
        while start < len(order):
            # No more than this many fit, since each costs at least as much as the first.
            most = min(cap, max(1, self.tokens // int(lengths[start])))
            longest = np.maximum.accumulate(lengths[start : start + most])
            cost = longest * np.arange(1, len(longest) + 1)  # strictly increasing
            size = max(1, int(np.searchsorted(cost, self.tokens, side="right")))
            batches.append(order[start : start + size])
            start += size
        return batches


def padding_waste(lengths: NDArray[Any], batches: Sequence[Indices]) -> float:
    """Return the share of padding among all tokens that the model computes, 0 to 1."""
    lengths = np.asarray(lengths)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1.0 - float(lengths[np.concatenate(batches)].sum()) / padded if batches else 0.0


def groups(batches: Sequence[Indices], size: int) -> list[Sequence[Indices]]:
    """Return consecutive runs of `size` micro-batches, one per optimizer step; the last may be shorter."""
    return [batches[start : start + size] for start in range(0, len(batches), size)]
