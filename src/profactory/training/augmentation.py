"""Training sequences that are changed a little each time they are read: a small set is not learnt by heart.

What is done to a sample depends on its number and on the seed of its micro-batch
(:func:`profactory.training.randomness.chance`), not on what was drawn before: a resumed run sees the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from profactory.data.substitution import ORDER, substitution_probabilities

MASK, SUBSTITUTE, CROP = "mask", "substitute", "crop"
KINDS = (MASK, SUBSTITUTE, CROP)
_LETTERS = np.frombuffer(ORDER.encode(), np.uint8)
#: Row of the matrix for each byte; -1 where it is none of the 20 amino acids.
_ROW = np.full(256, -1, np.int64)
_ROW[_LETTERS] = np.arange(len(ORDER))
_CUMULATIVE = np.cumsum(substitution_probabilities(), axis=1)


class View(NamedTuple):
    """What is read of a sample this time.

    Parameters
    ----------
    sequence
        The residues, some of them replaced.
    start, stop
        Which residues of the sample they are.
    hidden
        Which of them are masked, ``(residues,)`` bool.
    """

    sequence: str
    start: int
    stop: int
    hidden: NDArray[np.bool_]


@dataclass(frozen=True)
class Augmentation:
    """What is done to training sequences.

    Parameters
    ----------
    kinds
        Any of ``mask``, ``substitute`` and ``crop``.
    rate
        Share of the residues that are masked, and share that are replaced.
    shortest
        A crop keeps at least this share of the residues; how many and where is drawn evenly.
    """

    kinds: Collection[str]
    rate: float = 0.1
    shortest: float = 0.8

    @property
    def crops(self) -> bool:
        """Whether fewer residues may be read than there are."""
        return CROP in self.kinds

    def span(self, length: int, seed: int, sample: int) -> tuple[int, int]:
        """Return which residues of a sample are read."""
        if not self.crops:
            return 0, length
        rng = np.random.default_rng((seed, sample, KINDS.index(CROP)))
        kept = int(rng.integers(max(1, int(np.ceil(self.shortest * length))), length + 1))
        start = int(rng.integers(0, length - kept + 1))
        return start, start + kept

    def view(self, sequence: str, seed: int, sample: int) -> View:
        """Return what is read of a sample.

        Parameters
        ----------
        sequence
            As far as the model reads it.
        seed
            Of the micro-batch.
        sample
            Number of the sample in the training set.
        """
        start, stop = self.span(len(sequence), seed, sample)
        text = sequence[start:stop]
        if SUBSTITUTE in self.kinds:
            text = self._substituted(text, np.random.default_rng((seed, sample, KINDS.index(SUBSTITUTE))))
        hidden = np.zeros(len(text), bool)
        if MASK in self.kinds:
            rng = np.random.default_rng((seed, sample, KINDS.index(MASK)))
            hidden = rng.random(len(text)) < self.rate
        return View(text, start, stop, hidden)

    def _substituted(self, sequence: str, rng: np.random.Generator) -> str:
        """Replace residues by others that BLOSUM62 holds for alike; what is no amino acid stays."""
        letters = np.frombuffer(sequence.encode("ascii"), np.uint8).copy()
        rows = _ROW[letters]
        chosen = np.flatnonzero((rng.random(len(letters)) < self.rate) & (rows >= 0))
        drawn = rng.random(len(chosen))
        others = (_CUMULATIVE[rows[chosen]] < drawn[:, None]).sum(axis=1).clip(max=len(ORDER) - 1)
        letters[chosen] = _LETTERS[others]
        return letters.tobytes().decode("ascii")
