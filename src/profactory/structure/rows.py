"""What the coordinates of a file say: a row per chain, every string as long as the sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from profactory.errors import DataError
from profactory.structure.chains import Chain, chains_of
from profactory.structure.files import identifier_of, read_atoms
from profactory.structure.strings import (
    UNKNOWN,
    confidence,
    eight_states,
    relative_accessibility,
    three_di,
    three_states,
)

COLUMNS = (
    "id", "chain", "file", "sequence", "foldseek_3di", "ss8", "ss3", "rsa", "plddt", "mean_plddt",
    "breaks", "missing_residues", "modified_residues",
)  # fmt: skip


def rows_of(
    path: Path, *, chains: Sequence[str] | None, model: int, mask_below: float | None
) -> list[dict[str, Any]]:
    """Return the rows of one file.

    Raises
    ------
    DataError
        It is no structure, or has no such model or chain.
    """
    atoms, predicted = read_atoms(path, model=model)
    found = chains_of(atoms, chains)
    return rows_of_chains(path, found, predicted=predicted, mask_below=mask_below)


def rows_of_chains(
    path: Path, chains: Sequence[Chain], *, predicted: bool, mask_below: float | None = None
) -> list[dict[str, Any]]:
    """Return the rows of chains that were read from a file."""
    name = identifier_of(path)
    single = len(chains) == 1
    return [
        {
            "id": name if single else f"{name}_{chain.name}",
            "file": str(path),
            **_row(chain, predicted, mask_below),
        }
        for chain in chains
    ]


def _row(chain: Chain, predicted: bool, mask_below: float | None) -> dict[str, Any]:
    letters, states = three_di(chain), eight_states(chain)
    accessible = relative_accessibility(chain)
    sure = confidence(chain) if predicted else None
    if sure is not None and mask_below is not None:
        letters = "".join(
            a if value >= mask_below else UNKNOWN for a, value in zip(letters, sure, strict=True)
        )
    for text in (letters, states):
        if len(text) != len(chain):  # would be paired with the wrong residues
            raise DataError(f"chain {chain.name}: {len(text)} letters for {len(chain)} residues.")
    return {
        "chain": chain.name,
        "sequence": chain.sequence,
        "foldseek_3di": letters,
        "ss8": states,
        "ss3": three_states(states),
        "rsa": "" if accessible is None else _numbers(accessible, 3),
        "plddt": "" if sure is None else _numbers(sure, 1),
        "mean_plddt": None if sure is None else round(float(sure.mean()), 1),
        "breaks": chain.breaks,
        "missing_residues": chain.missing,
        "modified_residues": ", ".join(chain.modified),
    }


def _numbers(values: Iterable[float], digits: int) -> str:
    """Write numbers as a residue task reads them; empty where there is none."""
    return ",".join("" if value != value else f"{value:.{digits}f}" for value in values)
