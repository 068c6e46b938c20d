"""The protein chains of a structure: residues in order, modified ones by their parent, gaps noted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import ReadError

if TYPE_CHECKING:
    from biotite.structure import AtomArray

BOND = 2.0  # Å between C and the next N beyond which they are not bonded (a peptide bond has 1.33)
STANDARD = frozenset(
    (
        "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE",
        "LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
    )
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chain:
    """One protein chain.

    Parameters
    ----------
    name
        As in the file.
    atoms
        Of amino acids only, whole residues in order.
    sequence
        One letter a residue that has coordinates; X where there is no parent amino acid.
    modified
        Names and positions (from 1) of residues that are none of the twenty, such as ``MSE 7``.
    breaks
        Places where neighbours in the file are not bonded.
    missing
        Residues that the numbering leaves out at these places.
    """

    name: str
    atoms: AtomArray
    sequence: str
    modified: tuple[str, ...]
    breaks: int
    missing: int

    def __len__(self) -> int:
        return len(self.sequence)


def chains_of(atoms: AtomArray, wanted: Sequence[str] | None = None) -> list[Chain]:
    """Return the protein chains of a structure.

    Parameters
    ----------
    atoms
        Of one model.
    wanted
        Names of chains; all that are protein if not given.

    Raises
    ------
    ReadError
        A chain does not exist, or nothing is protein.
    """
    import biotite.structure as struc

    protein = _usable(atoms[struc.filter_amino_acids(atoms)])
    names = list(dict.fromkeys(map(str, protein.chain_id)))
    missing = [name for name in wanted or () if name not in names]
    if missing:
        raise ReadError(
            f"there is no protein chain {', '.join(missing)}.",
            expected=f"one of {', '.join(names)}" if names else "a protein",
        )
    if not names:
        raise ReadError("there is no protein in it.", expected="amino acids with coordinates")
    return [_chain(protein[protein.chain_id == name], name) for name in wanted or names]


def _usable(atoms: Any) -> Any:
    """Keep residues that have a CA; mend element columns that hold something else."""
    import biotite.structure as struc

    if not len(atoms):
        return atoms
    if not all(str(element).isalpha() for element in set(atoms.element)):
        atoms.element = struc.infer_elements(atoms)
    has_ca = struc.apply_residue_wise(atoms, atoms.atom_name == "CA", np.any)
    return atoms[struc.spread_residue_wise(atoms, has_ca)]


def _chain(atoms: Any, name: str) -> Chain:
    import biotite.structure as struc

    ids, residues = struc.get_residues(atoms)
    letters = "".join(_letter(str(residue)) for residue in residues)
    modified = tuple(
        f"{residue} {position}" for position, residue in enumerate(residues, 1) if residue not in STANDARD
    )
    broken = _broken(atoms)
    steps = np.diff(ids)[broken] - 1
    return Chain(name, atoms, letters, modified, int(broken.sum()), int(steps[steps > 0].sum()))


def _letter(residue: str) -> str:
    from biotite.structure import info

    letter = info.one_letter_code(residue)
    return letter.upper() if letter and letter.isalpha() and letter.isascii() else "X"


def _broken(atoms: Any) -> NDArray[np.bool_]:
    """Tell which residues are not bonded to the next, shape ``(residues - 1,)``."""
    ends, starts = place_of(atoms, "C"), place_of(atoms, "N")  # (residues, 3)
    distance = np.linalg.norm(starts[1:] - ends[:-1], axis=1)
    return np.asarray(~(distance <= BOND))  # also where an atom is missing


def place_of(atoms: Any, name: str) -> NDArray[np.float64]:
    """Return where each residue has an atom, ``(residues, 3)`` in Å; NaN where it has none."""
    import biotite.structure as struc

    starts = struc.get_residue_starts(atoms)
    places = np.full((len(starts), 3), np.nan)
    chosen = np.flatnonzero(atoms.atom_name == name)
    places[np.searchsorted(starts, chosen, side="right") - 1] = atoms.coord[chosen]
    return places
