"""How easily residues take each other's place: BLOSUM62 (Henikoff & Henikoff 1992,
https://doi.org/10.1073/pnas.89.22.10915) as probabilities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Order of the matrix and of the frequencies.
ORDER = "ARNDCQEGHILKMFPSTWYV"
#: Scores in half bits; the lower triangle with the diagonal, as NCBI's BLAST has them.
_SCORES = """
4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4
"""
#: Of the residues in the alignments behind the matrix.
_FREQUENCIES = (
    *(0.074, 0.052, 0.045, 0.054, 0.025, 0.034, 0.054, 0.074, 0.026, 0.068),
    *(0.099, 0.058, 0.025, 0.047, 0.039, 0.057, 0.051, 0.013, 0.032, 0.073),
)


def blosum62() -> NDArray[np.int64]:
    """Return the scores, ``(20, 20)``, in the order of :data:`ORDER`."""
    scores = np.zeros((len(ORDER), len(ORDER)), np.int64)
    for row, line in enumerate(_SCORES.strip().splitlines()):
        scores[row, : row + 1] = [int(number) for number in line.split()]
    return scores + np.tril(scores, -1).T


def substitution_probabilities() -> NDArray[np.float64]:
    """Return how probably each residue becomes each other one when it is replaced, ``(20, 20)``.

    A score is twice the logarithm to base two of how much more often two residues are aligned than by
    chance, so the probability of a replacement goes with its frequency times two to half the score. Rows add
    up to one; the diagonal is zero.
    """
    odds = np.array(_FREQUENCIES) * np.exp2(blosum62() / 2)
    np.fill_diagonal(odds, 0.0)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float64)
