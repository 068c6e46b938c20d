"""What coordinates say of every residue, as strings and numbers exactly as long as the sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.errors import MissingExtraError
from profactory.structure.chains import Chain, place_of

#: A residue of which nothing can be said.
UNKNOWN = "X"
BACKBONE = ("N", "CA", "C", "O")
#: The usual reduction: helices of every kind, strands and bridges, the rest.
THREE_STATES = str.maketrans("HGIPEBTSC", "HHHHEECCC")
# Largest accessible surface in Å² (theoretical), Tien et al. 2013, https://doi.org/10.1371/journal.pone.0080635
_LARGEST = {
    "A": 129, "R": 274, "N": 195, "D": 193, "C": 167, "Q": 225, "E": 223, "G": 104, "H": 224, "I": 197,
    "L": 201, "K": 236, "M": 224, "F": 240, "P": 159, "S": 155, "T": 172, "W": 285, "Y": 263, "V": 174,
}  # fmt: skip
PROBE = 1.4  # Å, a molecule of water
SIDE_CHAINS = 0.9  # share of residues that must have a side chain for accessibility to mean something


def three_di(chain: Chain) -> str:
    """Return the 3Di letters of Foldseek (van Kempen et al. 2024, https://doi.org/10.1038/s41587-023-01773-0)."""
    from biotite.structure.alphabet import to_3di

    encoded, _ = to_3di(chain.atoms)
    return "".join(str(part) for part in encoded).upper()


def eight_states(chain: Chain) -> str:
    """Return the secondary structure of DSSP (Kabsch & Sander 1983), C for coil.

    A residue without its backbone has X.
    """
    try:
        import mdtraj
    except ImportError as error:
        raise MissingExtraError("Secondary structure from coordinates", "structure") from error
    topology, places = _backbone(chain)
    states = mdtraj.compute_dssp(mdtraj.Trajectory(places[None] / 10, topology), simplified=False)[0]  # nm
    return "".join({" ": "C", "NA": UNKNOWN}.get(str(state), str(state)) for state in states)


def three_states(states: str) -> str:
    """Reduce eight states to helix H, strand E and coil C."""
    return states.translate(THREE_STATES)


def relative_accessibility(chain: Chain) -> NDArray[np.float64] | None:
    """Return each residue's accessible surface over the largest there is, of the chain without its partners.

    Shrake & Rupley 1973 with a probe of 1.4 Å. None for models without side chains; NaN for residues of
    which no largest surface is known.
    """
    import biotite.structure as struc

    heavy = chain.atoms[chain.atoms.element != "H"]
    sizes = np.diff(struc.get_residue_starts(heavy, add_exclusive_stop=True))
    large = np.array([letter not in "GA" for letter in chain.sequence])  # more than backbone and CB
    if large.any() and (sizes[large] > len(BACKBONE) + 1).mean() < SIDE_CHAINS:
        return None
    surface = struc.sasa(heavy, probe_radius=PROBE, vdw_radii="Single", ignore_ions=False)
    of_residues = struc.apply_residue_wise(heavy, surface, np.nansum)
    largest = np.array([_LARGEST.get(letter, np.nan) for letter in chain.sequence])
    return np.asarray(np.clip(of_residues / largest, 0, 1), np.float64)


def confidence(chain: Chain) -> NDArray[np.float64]:
    """Return the pLDDT of each residue, 0 to 100, which predictions keep in the place of the B factor."""
    atoms: Any = chain.atoms
    values = np.asarray(atoms.b_factor[atoms.atom_name == "CA"], np.float64)
    return values * 100 if len(values) and values.max() <= 1 else values


def _backbone(chain: Chain) -> tuple[Any, NDArray[np.float64]]:
    """Return the backbone as mdtraj knows it, and where its atoms are, ``(atoms, 3)`` in Å."""
    import biotite.structure as struc
    import mdtraj

    topology = mdtraj.Topology()
    own = topology.add_chain()
    places = {name: place_of(chain.atoms, name) for name in BACKBONE}
    coordinates = []
    for index, residue in enumerate(struc.get_residues(chain.atoms)[1]):
        there = topology.add_residue(str(residue), own)
        for name in BACKBONE:
            if np.isfinite(places[name][index]).all():
                topology.add_atom(name, mdtraj.element.Element.getBySymbol(name[0]), there)
                coordinates.append(places[name][index])
    return topology, np.array(coordinates)
