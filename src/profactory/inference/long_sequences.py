"""Sequences longer than the model reads: overlapping windows, and their outputs put together.

A residue near the end of a window has seen only one side of its surroundings, so where windows overlap
the one in which the residue lies deeper counts more. A value for the whole sequence is the mean over its
windows, which are all of the same length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
#: Share of a window that the next one repeats at least.
OVERLAP = 0.25
#: What to type if ``--long error`` refuses too much.
TAKES_LONG = "--long windows or --long truncate"


class Long(StrEnum):
    """What is done with a sequence that is longer than the model reads."""

    TRUNCATE = "truncate"
    WINDOWS = "windows"
    ERROR = "error"


def window_starts(length: int, size: int) -> list[int]:
    """Return where the windows of a sequence begin: evenly spread, the last one ending with the sequence.

    Parameters
    ----------
    length
        Residues of the sequence.
    size
        Residues of a window.

    Examples
    --------
    >>> window_starts(100, 100), window_starts(100, 40)
    ([0], [0, 30, 60])
    """
    if length <= size:
        return [0]
    step = max(1, size - int(np.ceil(size * OVERLAP)))
    count = 1 + int(np.ceil((length - size) / step))
    return [round(start) for start in np.linspace(0, length - size, count)]


@dataclass(frozen=True)
class Pieces:
    """Sequences cut into windows.

    Parameters
    ----------
    texts
        All windows, those of one sequence after those of another.
    starts
        For each sequence, where its windows begin.
    lengths
        Residues of each sequence.
    """

    texts: list[str]
    starts: list[list[int]]
    lengths: list[int]

    @classmethod
    def cut(cls, sequences: Sequence[str], size: int) -> Pieces:
        """Cut every sequence that has more than `size` residues."""
        starts = [window_starts(len(sequence), size) for sequence in sequences]
        texts = [
            sequence[begin : begin + size]
            for sequence, begins in zip(sequences, starts, strict=True)
            for begin in begins
        ]
        return cls(texts, starts, [len(sequence) for sequence in sequences])

    def cut_alike(self, texts: Sequence[str]) -> list[str]:
        """Cut texts that have a letter for each residue of the sequences in the same places."""
        sizes = iter(map(len, self.texts))
        return [
            text[begin : begin + next(sizes)]
            for text, begins in zip(texts, self.starts, strict=True)
            for begin in begins
        ]

    def merge(self, outputs: Sequence[Floats], *, per_residue: bool) -> list[Floats]:
        """Put the outputs of the windows together.

        Parameters
        ----------
        outputs
            One array per window: ``(outputs,)``, or ``(residues, outputs)``.
        per_residue
            Which of the two.

        Returns
        -------
        list of ndarray
            One array per sequence.
        """
        ends = np.cumsum([0, *map(len, self.starts)])
        groups = [outputs[first:stop] for first, stop in pairwise(ends)]
        if not per_residue:
            return [group[0] if len(group) == 1 else np.mean(group, axis=0) for group in groups]
        return [
            group[0] if len(group) == 1 else _blend(group, begins, length)
            for group, begins, length in zip(groups, self.starts, self.lengths, strict=True)
        ]


def _blend(windows: Sequence[Floats], starts: Sequence[int], length: int) -> Floats:
    """Average overlapping windows, each residue weighted by its distance from the window's nearer end."""
    total = np.zeros((length, windows[0].shape[1]), np.float64)
    weights = np.zeros((length, 1), np.float64)
    for window, start in zip(windows, starts, strict=True):
        places = np.arange(len(window))
        weight = np.minimum(places + 1, len(window) - places)[:, None]  # (residues, 1)
        total[start : start + len(window)] += weight * window
        weights[start : start + len(window)] += weight
    return np.asarray(total / weights, np.float32)
