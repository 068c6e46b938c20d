"""Whole numbers of many millions of rows, in as little memory as they need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
_BLOCK = 20_000


def small_type(count: int) -> np.dtype[np.integer[Any]]:
    """Return the type of 32 bits if it counts so far, else that of 64."""
    return np.dtype(np.int32 if count <= np.iinfo(np.int32).max else np.int64)


def among(values: Ints, ordered: Ints) -> NDArray[np.bool_]:
    """Tell which values occur in sorted ones; as ``np.isin`` would, which joins and sorts both."""
    found = np.zeros(len(values), bool)
    for start in range(0, len(values) if len(ordered) else 0, _BLOCK):
        part = values[start : start + _BLOCK]
        found[start : start + _BLOCK] = ordered.take(np.searchsorted(ordered, part), mode="clip") == part
    return found


def number_groups(names: Ints) -> Ints:
    """Number groups from 0 in the order of their first occurrence.

    In a third of the memory of ``np.unique`` with its inverse, where most names occur once.

    Parameters
    ----------
    names
        Same name, same group; shape ``(n,)``.
    """
    ordered = np.sort(names)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    rows = np.flatnonzero(among(names, again))
    _, first, same = np.unique(names[rows], return_index=True, return_inverse=True)
    new = np.ones(len(names), bool)
    new[rows] = False
    new[rows[first]] = True
    numbers = np.cumsum(new, dtype=small_type(len(names)))
    numbers -= 1
    numbers[rows] = numbers[rows[first]][same]
    return numbers
