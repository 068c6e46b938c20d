"""What a model reads of a sample beside its sequence: strings with a letter per residue, and vectors.

On the way to the model each is an array under its name: integers are per residue and are padded, floats
are one vector per sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profactory.data.structure_strings import KINDS, PADDING, Strings, encode_structure
from profactory.errors import ConfigError
from profactory.models.descriptors import describe

#: One sample's arrays, by name.
Arrays = Mapping[str, NDArray[Any]]
_NONE: Arrays = MappingProxyType({})
#: Name of the vector of physico-chemical numbers.
DESCRIPTORS = "descriptors"


class Sample(NamedTuple):
    """One sequence as numbers.

    Parameters
    ----------
    ids
        Token ids, special tokens included.
    extras
        What is read beside.
    """

    ids: NDArray[np.int64]
    extras: Arrays = _NONE


@dataclass(frozen=True)
class ExtraInputs:
    """The extra inputs of one model.

    Parameters
    ----------
    structures
        Kind of string to the column that it was trained with.
    descriptors
        Physico-chemical numbers, which are computed from the sequence.
    in_tokens
        Whether the tokens themselves hold the structure, as SaProt's do; else a layer of the model reads
        the strings.
    """

    structures: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[str, ...] = ()
    in_tokens: bool = False

    def __bool__(self) -> bool:
        return bool(self.structures or self.descriptors)

    def encode(self, sequences: Sequence[str], strings: Strings | None, max_length: int) -> list[Arrays]:
        """Return the arrays of samples, cut to the residues that the model reads.

        Parameters
        ----------
        sequences
            Clean.
        strings
            Checked structure strings of each kind; see :mod:`profactory.data.structure_strings`.
        max_length
            Residues that the model reads.

        Raises
        ------
        ConfigError
            The strings of a kind are not there.
        """
        self._check(strings)
        samples: list[dict[str, NDArray[Any]]] = [{} for _ in sequences]
        for kind in () if self.in_tokens else self.structures:
            for sample, text in zip(samples, (strings or {})[kind], strict=True):
                sample[kind] = encode_structure(kind, text)[:max_length]
        if self.descriptors and samples:
            read = [sequence[:max_length] for sequence in sequences]
            for sample, numbers in zip(samples, describe(read, self.descriptors), strict=True):
                sample[DESCRIPTORS] = numbers
        return list(samples)

    def for_tokens(self, strings: Strings | None) -> Sequence[str] | None:
        """Return the structure strings that go into the tokens; None if none do.

        Raises
        ------
        ConfigError
            They are not there.
        """
        if not (self.in_tokens and self.structures):
            return None
        self._check(strings)
        (kind,) = self.structures
        return (strings or {})[kind]

    def _check(self, strings: Strings | None) -> None:
        missing = [kind for kind in self.structures if kind not in (strings or {})]
        if missing:
            raise ConfigError(
                f"The model reads {' and '.join(missing)} strings beside the sequence, which are not there.",
                expected=f"the columns {', '.join(self.structures.values())} of a table",
                fix=f"predict a file that has them; {KINDS[missing[0]].source}",
            )


def collate_extras(samples: Sequence[Arrays]) -> dict[str, Tensor]:
    """Stack the arrays of a batch.

    Returns
    -------
    dict
        Per residue: int64 ``(batch, length)``, 0 behind the end. Vectors: float32 ``(batch, numbers)``.
    """
    return {name: _stack([sample[name] for sample in samples]) for name in (samples[0] if samples else ())}


def _stack(arrays: Sequence[NDArray[Any]]) -> Tensor:
    if arrays[0].dtype.kind == "f":
        return torch.from_numpy(np.stack(arrays).astype(np.float32, copy=False))
    padded = np.full((len(arrays), max(map(len, arrays))), PADDING, np.int64)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(padded)
