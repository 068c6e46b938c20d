"""Plain features of sequences for the baselines: windows of residues."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from profactory.data.composition import OTHER, letters_of
from profactory.evaluation.rows import Array, Floats, Ints

OUTSIDE = OTHER + 1  # before the first or after the last residue
LETTERS = OUTSIDE + 1
WINDOW = 15


def windows(sequences: Sequence[str], lengths: Ints) -> Array:
    """Return the residues around every residue.

    Parameters
    ----------
    sequences
        `n` sequences.
    lengths
        Rows that each sequence has among the labels, ``(n,)``; normally its length.

    Returns
    -------
    numpy.ndarray
        ``(residues, 15)`` uint8: seven before, the residue itself, seven after.
    """
    half = WINDOW // 2
    margin = np.full(half, OUTSIDE, np.uint8)
    blocks = []
    for sequence, length in zip(sequences, lengths, strict=True):
        padded = np.concatenate([margin, letters_of(sequence), margin])
        blocks.append(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:length])
    return np.concatenate(blocks) if blocks else np.empty((0, WINDOW), np.uint8)


def one_hot(around: Array) -> sparse.csr_array:
    """Return windows ``(rows, 15)`` as a sparse one-hot table ``(rows, 15 * 22)``."""
    columns = around.astype(np.int32) + LETTERS * np.arange(WINDOW, dtype=np.int32)
    starts = np.arange(0, columns.size + 1, WINDOW, dtype=np.int32)
    data = np.ones(columns.size)
    return sparse.csr_array((data, columns.ravel(), starts), shape=(len(around), WINDOW * LETTERS))


def linear_scores(around: Array, weights: Floats, intercept: Floats) -> Floats:
    """Return ``one_hot(around) @ weights.T + intercept`` by look-up, ``(rows, outputs)``."""
    table = weights.T.reshape(WINDOW, LETTERS, -1)  # (15, 22, outputs)
    scores = np.tile(np.asarray(intercept, np.float64), (len(around), 1))
    for offset in range(WINDOW):
        scores += table[offset][around[:, offset]]
    return scores
