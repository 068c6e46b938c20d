"""What a training set is like, fitted on its sequences and scaled by held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA

from profactory.data.composition import composition
from profactory.data.domain import AXES, STEPS, Domain, EmbeddingDomain, mahalanobis

#: Too few to say what is unusual.
FEWEST_ROWS = 20
MOST_ROWS = 50_000
#: Of either part of the data; a fine-tuned model has to compute their embeddings once more.
MOST_EMBEDDINGS = 2_000
#: Half a residue in a hundred: shares that vary less, as among variants of one protein, count as if they did.
LEAST_DEVIATION = 0.005
#: As a share of the usual size of an embedding's numbers: what computing in 16 or 8 bits may change.
LEAST_EMBEDDING_DEVIATION = 0.01


def fit_domain(
    train: Sequence[str],
    held_out: Sequence[str],
    embeddings: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> Domain | None:
    """Fit the reference that is kept with a model.

    The covariance of the composition is shrunk (Ledoit & Wolf 2004,
    https://doi.org/10.1016/S0047-259X(03)00096-4): it can be inverted although the shares of the amino acids
    add up to one.

    Parameters
    ----------
    train
        Clean training sequences.
    held_out
        Others of the same source, normally the validation sequences.
    embeddings
        Of some of the training sequences and some of the others, ``(n, width)`` and ``(m, width)``.

    Returns
    -------
    Domain or None
        None if there are fewer than 20 of either.
    """
    if min(len(train), len(held_out)) < FEWEST_ROWS:
        return None
    chosen, steps = _some(train), np.linspace(0, 1, STEPS)
    shares = composition(chosen)
    mean, scale = shares.mean(axis=0), np.maximum(shares.std(axis=0), LEAST_DEVIATION)
    fitted = LedoitWolf(assume_centered=True).fit((shares - mean) / scale)
    precision = fitted.precision_ / np.outer(scale, scale)
    distances = mahalanobis(composition(_some(held_out)), mean, precision)
    lengths = [len(sequence) for sequence in chosen]
    return Domain(
        mean,
        precision,
        np.quantile(distances, steps),
        np.quantile(lengths, steps),
        None if embeddings is None else _fit_embeddings(*embeddings),
    )


def chosen_rows(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `count` row numbers, in order, the same ones each time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def _fit_embeddings(train: NDArray[Any], held_out: NDArray[Any]) -> EmbeddingDomain:
    vectors = np.asarray(train, np.float64)
    mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
    usual = float(np.median(np.sqrt((vectors**2).mean(axis=0))))
    least = max(LEAST_EMBEDDING_DEVIATION * usual, float(np.finfo(np.float32).tiny))
    scale = np.hypot(deviation, least)
    fitted = PCA(min(AXES, len(vectors) // 2, vectors.shape[1] - 1), random_state=0)
    with np.errstate(invalid="ignore"):  # of vectors that are all the same it notes a share of nothing
        fitted.fit((vectors - mean) / scale)
    blur = float(np.mean((least / scale) ** 2))  # the variance that the least deviation has in these units
    axes, precisions = np.zeros((AXES, vectors.shape[1]), np.float32), np.zeros(AXES, np.float32)
    axes[: fitted.n_components_] = fitted.components_
    precisions[: fitted.n_components_] = 1 / (fitted.explained_variance_ + blur)
    found = EmbeddingDomain(
        mean.astype(np.float32),
        scale.astype(np.float32),
        axes,
        precisions,
        residual=np.array([1 / (fitted.noise_variance_ + blur)], np.float32),
        distances=np.zeros(STEPS, np.float32),
    )
    quantiles = np.quantile(found.distance(held_out), np.linspace(0, 1, STEPS))
    return replace(found, distances=quantiles.astype(np.float32))


def _some(sequences: Sequence[str]) -> Sequence[str]:
    """Return at most `MOST_ROWS` sequences, the same ones each time."""
    if len(sequences) <= MOST_ROWS:
        return sequences
    return [sequences[i] for i in chosen_rows(len(sequences), MOST_ROWS)]
