"""What a training set is like, fitted on its sequences and scaled by held-out ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.covariance import LedoitWolf

from profactory.data.composition import composition
from profactory.data.domain import STEPS, Domain, mahalanobis

#: Too few to say what is unusual.
FEWEST_ROWS = 20
MOST_ROWS = 50_000
#: Half a residue in a hundred: shares that vary less, as among variants of one protein, count as if they did.
LEAST_DEVIATION = 0.005


def fit_domain(train: Sequence[str], held_out: Sequence[str]) -> Domain | None:
    """Fit the reference that is kept with a model.

    The covariance is shrunk (Ledoit & Wolf 2004, https://doi.org/10.1016/S0047-259X(03)00096-4): it can be
    inverted although the shares of the amino acids add up to one.

    Parameters
    ----------
    train
        Clean training sequences.
    held_out
        Others of the same source, normally the validation sequences.

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
    return Domain(mean, precision, np.quantile(distances, steps), np.quantile(lengths, steps))


def _some(sequences: Sequence[str]) -> Sequence[str]:
    """Return at most `MOST_ROWS` sequences, the same ones each time."""
    if len(sequences) <= MOST_ROWS:
        return sequences
    chosen = np.random.default_rng(0).choice(len(sequences), MOST_ROWS, replace=False)
    return [sequences[i] for i in np.sort(chosen)]
