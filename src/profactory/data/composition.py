"""The residues of a sequence as numbers, and their shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.residues import STANDARD

OTHER = len(STANDARD)  # X, B, Z, J, U, O
_TABLE = np.full(256, OTHER, np.uint8)
_TABLE[np.frombuffer(STANDARD.encode(), np.uint8)] = np.arange(len(STANDARD))


def letters_of(sequence: str) -> NDArray[Any]:
    """Return the residue number of each letter, ``(length,)`` uint8; 20 for all non-standard ones."""
    return _TABLE[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]


def composition(sequences: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of each of the 20 amino acids, ``(n, 20)``."""
    counts = np.zeros((len(sequences), OTHER + 1), np.int64)
    for i, sequence in enumerate(sequences):
        counts[i] = np.bincount(letters_of(sequence), minlength=OTHER + 1)
    return np.asarray(counts[:, :OTHER] / np.maximum(counts.sum(axis=1, keepdims=True), 1), np.float64)
