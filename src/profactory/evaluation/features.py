"""Plain features of sequences for the baselines: composition, and windows of residues."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from profactory.evaluation.rows import Array, Floats, Ints

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
OTHER = len(RESIDUES)  # X, B, Z, U, O
OUTSIDE = OTHER + 1  # before the first or after the last residue
LETTERS = OUTSIDE + 1
WINDOW = 15
_TABLE = np.full(256, OTHER, np.uint8)
_TABLE[np.frombuffer(RESIDUES.encode(), np.uint8)] = np.arange(len(RESIDUES))


def letters_of(sequence: str) -> Array:
    """Return the residue number of each letter, ``(length,)`` uint8; 20 for all non-standard ones."""
    return _TABLE[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]


def composition(sequences: Sequence[str]) -> Floats:
    """Return the share of each of the 20 amino acids, ``(n, 20)``."""
    counts = np.zeros((len(sequences), OTHER + 1), np.int64)
    for i, sequence in enumerate(sequences):
        counts[i] = np.bincount(letters_of(sequence), minlength=OTHER + 1)
    return np.asarray(counts[:, :OTHER] / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.float64)


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
