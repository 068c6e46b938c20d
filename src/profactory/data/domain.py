"""What the training sequences of a model were like, and how far another sequence is from that.

Two things are compared: the shares of the 20 amino acids, by their Mahalanobis distance (1936), and the
length. The order of the residues does not count: a shuffled protein is as near as the protein itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from profactory.data.composition import composition
from profactory.data.residues import STANDARD

Floats = NDArray[np.float64]

#: Name of the column in prediction files, and the value above which a sequence is unlike the training data.
NOVELTY, UNLIKE = "novelty", 0.99
STEPS = 1001  # numbers that are kept of a distribution
#: Lengths that differ by less count as the same: a residue more than the longest chain is nothing new.
TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class Domain:
    """Reference of a training set; from :func:`profactory.evaluation.domain.fit_domain`.

    Parameters
    ----------
    mean
        Of the training sequences' composition, ``(20,)``.
    precision
        Inverse of its covariance, ``(20, 20)``.
    distances
        Quantiles, at even steps from 0 to 1, of the distances of held-out sequences of the same source
        from the training sequences, ``(1001,)``.
    lengths
        Quantiles of the training sequences' lengths in residues, ``(1001,)``.
    """

    SHAPES: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "mean": (len(STANDARD),),
        "precision": (len(STANDARD), len(STANDARD)),
        "distances": (STEPS,),
        "lengths": (STEPS,),
    }

    mean: Floats
    precision: Floats
    distances: Floats
    lengths: Floats

    def novelty(self, sequences: Sequence[str]) -> Floats:
        """Return how unlike the training data sequences are, ``(n,)``, from 0 to 1.

        The larger of two ranks, squared: the share of held-out sequences whose composition is nearer, and how
        far the length is from the middle of the training lengths (0 the median, 1 outside their range). Of
        two independent ranks that is evenly spread: one in a hundred sequences of the same source has more
        than 0.99.
        """
        away = mahalanobis(composition(sequences), self.mean, self.precision)
        unusual = np.searchsorted(self.distances, away, side="left") / STEPS
        return np.asarray(np.maximum(unusual, self._length_ranks(sequences)) ** 2, np.float64)

    def _length_ranks(self, sequences: Sequence[str]) -> Floats:
        own = np.array([len(sequence) for sequence in sequences], np.float64)
        shorter = np.searchsorted(self.lengths, own / (1 + TOLERANCE), side="left")
        longer = STEPS - np.searchsorted(self.lengths, own * (1 + TOLERANCE), side="right")
        return np.asarray(np.abs(shorter - longer) / STEPS, np.float64)


def mahalanobis(numbers: Floats, mean: Floats, precision: Floats) -> Floats:
    """Return the distance of each row of ``(n, d)`` from a mean ``(d,)`` with a precision ``(d, d)``."""
    away = numbers - mean
    # Not by a matrix product, which may round differently with the number of rows.
    squares: Floats = np.einsum("ni,ij,nj->n", away, precision, away)
    return np.sqrt(np.maximum(squares, 0))
