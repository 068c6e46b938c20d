"""Physico-chemical numbers of a sequence, beside its embedding; computed by the library ``peptides``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from profactory.errors import ConfigError, MissingExtraError

Numbers = Callable[[Any], Sequence[float]]


def _all(name: str) -> Numbers:
    return lambda peptide: tuple(getattr(peptide, name)())


#: Name to what it is made of; all are means over the residues or properties of the whole chain.
DESCRIPTORS: Mapping[str, Numbers] = {
    "hydrophobicity": lambda p: (p.hydrophobicity(scale="KyteDoolittle"),),  # Kyte & Doolittle 1982
    "charge": lambda p: (p.charge(pH=7.0),),
    "isoelectric-point": lambda p: (p.isoelectric_point(),),
    "length": lambda p: (float(np.log(len(p.sequence))),),
    "stability": lambda p: (p.instability_index(), p.aliphatic_index()),  # Guruprasad 1990, Ikai 1980
    "binding": lambda p: (p.boman(),),  # Boman 2003
    # The main axes of the AAindex scales: Kidera et al. 1985, Atchley et al. 2005
    "aaindex": lambda p: (*p.kidera_factors(), *p.atchley_factors()),
    "vhse": _all("vhse_scales"),  # Mei et al. 2005
    "z-scales": _all("z_scales"),  # Sandberg et al. 1998
    "cruciani": _all("cruciani_properties"),  # Cruciani et al. 2004
}


def check_descriptors(names: Sequence[str]) -> None:
    """Refuse unknown names, and say what to install if the library is missing.

    Raises
    ------
    ConfigError, MissingExtraError
    """
    unknown = [name for name in names if name not in DESCRIPTORS]
    if unknown:
        raise ConfigError(f"No feature is called {unknown[0]!r}.", expected=", ".join(DESCRIPTORS))
    try:
        import peptides  # noqa: F401
    except ImportError:
        raise MissingExtraError("The option --features", "features") from None


def describe(sequences: Sequence[str], names: Sequence[str]) -> NDArray[np.float32]:
    """Compute descriptors; equal sequences are computed once.

    Parameters
    ----------
    sequences
        Clean residue letters; those that a scale lacks (X) count as nothing.
    names
        Of :data:`DESCRIPTORS`.

    Returns
    -------
    ndarray
        ``(n, numbers)``, finite.
    """
    import peptides

    def numbers(sequence: str) -> list[float]:
        peptide = peptides.Peptide(sequence)
        return [float(value) for name in names for value in DESCRIPTORS[name](peptide)]

    known = {sequence: numbers(sequence) for sequence in dict.fromkeys(sequences)}
    table = np.array([known[sequence] for sequence in sequences], np.float32)
    return np.asarray(np.nan_to_num(table.reshape(len(sequences), -1), posinf=0.0, neginf=0.0), np.float32)


class Beside(nn.Module):
    """Puts standardised numbers of a sequence beside its pooled embedding.

    The embedding is brought to unit scale, so that neither side drowns the other.

    Parameters
    ----------
    width
        Of the embedding.
    names
        Of :data:`DESCRIPTORS`.

    Attributes
    ----------
    shift, scale : Tensor
        ``(numbers,)``: mean and standard deviation on the training sequences; saved with the model.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, width: int, names: Sequence[str]) -> None:
        super().__init__()
        numbers = describe(["ACDEFGHIKLMNPQRSTVWY"], names).shape[1]
        self.out_width = width + numbers
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.register_buffer("shift", torch.zeros(numbers))
        self.register_buffer("scale", torch.ones(numbers))

    def standardise(self, values: Tensor) -> None:
        """Take mean and standard deviation from those of the training sequences, ``(n, numbers)``."""
        spread = values.std(0, correction=0)
        self.shift.copy_(values.mean(0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, pooled: Tensor, values: Tensor) -> Tensor:
        """Return ``(batch, width + numbers)`` for ``(batch, width)`` and ``(batch, numbers)``."""
        return torch.cat((self.norm(pooled), ((values - self.shift) / self.scale).to(pooled.dtype)), dim=1)
