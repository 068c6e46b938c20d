"""What the training sequences of a model were like, and how far another sequence is from that.

Three things are compared: the length, the shares of the 20 amino acids, and the model's own embedding, the
last two by their Mahalanobis distance (1936). Length and composition need no model and do not see the order
of the residues; the embedding does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from profactory.data.composition import composition
from profactory.data.residues import STANDARD

Floats = NDArray[np.float64]

#: Names of the columns in prediction files, and the value above which a sequence is unlike the training data.
NOVELTY, UNLIKE_IN, UNLIKE = "novelty", "unlike", 0.99
STEPS = 1001  # numbers that are kept of a distribution
#: Directions in which embeddings of training sequences vary that are told apart; the others count alike.
AXES = 64
#: Lengths that differ by less count as the same: a residue more than the longest chain is nothing new.
TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class EmbeddingDomain:
    """Where the embeddings of a training set lie; from :func:`profactory.evaluation.domain.fit_domain`.

    A normal distribution with the covariance of probabilistic PCA (Tipping & Bishop 1999,
    https://doi.org/10.1111/1467-9868.00196): a variance for each of the main axes, and one for all other
    directions. Its size grows with the width of the embedding, not with its square.

    Parameters
    ----------
    mean, scale
        Of the training embeddings, ``(width,)``; the axes are those of ``(embedding - mean) / scale``.
    axes
        Orthonormal rows, ``(64, width)``; rows of zeros where fewer are told apart.
    precisions
        Inverse variance along each axis, ``(64,)``.
    residual
        Inverse variance in every other direction, ``(1,)``.
    distances
        Quantiles, at even steps from 0 to 1, of the distances of held-out sequences of the same source,
        ``(1001,)``.
    """

    mean: NDArray[Any]
    scale: NDArray[Any]
    axes: NDArray[Any]
    precisions: NDArray[Any]
    residual: NDArray[Any]
    distances: NDArray[Any]

    @staticmethod
    def shapes(width: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of every array for embeddings of a width."""
        return {
            "mean": (width,),
            "scale": (width,),
            "axes": (AXES, width),
            "precisions": (AXES,),
            "residual": (1,),
            "distances": (STEPS,),
        }

    def distance(self, embeddings: NDArray[Any]) -> Floats:
        """Return the Mahalanobis distance of embeddings ``(n, width)`` from the training set, ``(n,)``."""
        away = (np.asarray(embeddings, np.float64) - self.mean) / self.scale  # (n, width)
        # Not by a matrix product, which may round differently with the number of rows.
        along = np.einsum("nw,aw->na", away, self.axes.astype(np.float64)) ** 2  # (n, axes)
        rest = np.maximum((away**2).sum(axis=1) - along.sum(axis=1), 0)
        return np.asarray(np.sqrt((along * self.precisions).sum(axis=1) + rest * self.residual), np.float64)


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
    embedding
        Where the embeddings lie; None in older models.
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
    embedding: EmbeddingDomain | None = None

    def parts(self, sequences: Sequence[str], distances: NDArray[Any] | None = None) -> dict[str, Floats]:
        """Return in what sequences are unlike the training data, each ``(n,)``, from 0 to 1.

        Parameters
        ----------
        sequences
            Clean residue letters.
        distances
            Of their embeddings (:meth:`EmbeddingDomain.distance`), ``(n,)``; without them the embedding is
            left out.

        Returns
        -------
        dict
            Of ``length``: how far it is from the middle of the training lengths (0 the median, 1 outside
            their range). Of ``composition`` and ``embedding``: the share of held-out sequences that are
            nearer. Each is raised to the power of their number; see :meth:`novelty`.
        """
        away = mahalanobis(composition(sequences), self.mean, self.precision)
        ranks = {"length": self._length_ranks(sequences), "composition": _rank(self.distances, away)}
        if self.embedding is not None and distances is not None:
            ranks["embedding"] = _rank(self.embedding.distances, distances)
        return {name: rank ** len(ranks) for name, rank in ranks.items()}

    def novelty(self, sequences: Sequence[str], distances: NDArray[Any] | None = None) -> Floats:
        """Return how unlike the training data sequences are, ``(n,)``, from 0 to 1: the largest part.

        Of two (three) independent ranks the larger (largest) to the power of two (three) is evenly spread:
        one in a hundred sequences of the same source has more than 0.99, or fewer, as the ranks are not
        independent.
        """
        return np.asarray(np.max(list(self.parts(sequences, distances).values()), axis=0), np.float64)

    def _length_ranks(self, sequences: Sequence[str]) -> Floats:
        own = np.array([len(sequence) for sequence in sequences], np.float64)
        shorter = np.searchsorted(self.lengths, own / (1 + TOLERANCE), side="left")
        longer = STEPS - np.searchsorted(self.lengths, own * (1 + TOLERANCE), side="right")
        return np.asarray(np.abs(shorter - longer) / STEPS, np.float64)


def _rank(quantiles: NDArray[Any], values: NDArray[Any]) -> Floats:
    return np.asarray(np.searchsorted(quantiles, values, side="left") / STEPS, np.float64)


def mahalanobis(numbers: Floats, mean: Floats, precision: Floats) -> Floats:
    """Return the distance of each row of ``(n, d)`` from a mean ``(d,)`` with a precision ``(d, d)``."""
    away = numbers - mean
    # Not by a matrix product, which may round differently with the number of rows.
    squares: Floats = np.einsum("ni,ij,nj->n", away, precision, away)
    return np.sqrt(np.maximum(squares, 0))
