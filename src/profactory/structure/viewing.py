"""Chains for a viewer: their strings, and backbones whose residues are numbered as the strings count them.

``python -m profactory.structure.viewing FILE FOLDER`` does it in a process of its own, for the page: files
come from anywhere, and what reads them is not in the page. Of the file's content a viewer gets coordinates
alone: names of atoms and residues are written anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from profactory.data.writing import open_writer
from profactory.errors import ProFactoryError
from profactory.files import atomic_write_json
from profactory.structure.chains import Chain, chains_of
from profactory.structure.files import read_atoms
from profactory.structure.rows import COLUMNS, rows_of_chains
from profactory.structure.strings import BACKBONE

#: The strings of all chains.
TABLE = "structures.csv"
#: The same for the page, with the name of each chain's coordinates.
CHAINS = "chains.json"
LONGEST = 9_999  # residues that the numbers of a PDB file can count
_THREE = {
    "A": "ALA", "R": "ARG", "N": "ASN", "D": "ASP", "C": "CYS", "Q": "GLN", "E": "GLU", "G": "GLY",
    "H": "HIS", "I": "ILE", "L": "LEU", "K": "LYS", "M": "MET", "F": "PHE", "P": "PRO", "S": "SER",
    "T": "THR", "W": "TRP", "Y": "TYR", "V": "VAL",
}  # fmt: skip


def write_view(path: Path, folder: Path, *, model: int = 1) -> list[dict[str, Any]]:
    """Write what the page shows of a structure: a table of strings and a backbone per chain.

    Parameters
    ----------
    path
        PDB, mmCIF or BinaryCIF file, also with ``.gz``.
    folder
        Where :data:`TABLE`, :data:`CHAINS` and ``chain-NUMBER.pdb`` are written.
    model
        Number of the model in files with several.

    Returns
    -------
    list of dict
        Content of :data:`CHAINS`: the columns of ``profactory structure``, and ``view``, the name of the file
        with the backbone; empty for chains that are too long for one.

    Raises
    ------
    ProFactoryError
        It is no structure, or has no such model.
    """
    atoms, predicted = read_atoms(path, model=model)
    chains = chains_of(atoms)
    rows = [{**row, "file": path.name} for row in rows_of_chains(path, chains, predicted=predicted)]
    folder.mkdir(parents=True, exist_ok=True)
    with open_writer(folder / TABLE, list(COLUMNS)) as writer:
        writer.write({name: [row[name] for row in rows] for name in COLUMNS})
    shown = [{**row, "view": ""} for row in rows]
    for number, (chain, row) in enumerate(zip(chains, shown, strict=True)):
        if len(chain) <= LONGEST:
            row["view"] = f"chain-{number}.pdb"
            (folder / row["view"]).write_text(backbone(chain), encoding="ascii")
    atomic_write_json(folder / CHAINS, shown)
    return shown


def backbone(chain: Chain) -> str:
    """Return N, CA, C and O of a chain as a PDB file; its residues are numbered from 1 without gaps."""
    import biotite.structure as struc

    starts = struc.get_residue_starts(chain.atoms)
    chosen = np.flatnonzero(np.isin(chain.atoms.atom_name, BACKBONE) & np.isfinite(chain.atoms.coord).all(-1))
    residues = np.searchsorted(starts, chosen, side="right")  # from 1
    lines = [
        _line(serial, str(chain.atoms.atom_name[atom]), chain.sequence[residue - 1], int(residue), place)
        for serial, (atom, residue, place) in enumerate(
            zip(chosen, residues, chain.atoms.coord[chosen], strict=True), 1
        )
    ]
    return "\n".join([*lines, "END", ""])


def _line(serial: int, name: str, letter: str, residue: int, place: Any) -> str:
    """Return a line of https://www.wwpdb.org/documentation/file-format-content/format33/sect9.html."""
    x, y, z = (float(value) for value in place)
    return (
        f"ATOM  {serial:5d}  {name:<3} {_THREE.get(letter, 'UNK')} A{residue:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {name[0]:>2}"
    )


def main(words: list[str]) -> int:
    """Write the view of one file; print its chains, or the error, as JSON."""
    parser = argparse.ArgumentParser(prog="profactory.structure.viewing")
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=int, default=1)
    given = parser.parse_args(words)
    try:
        found: Any = write_view(given.file, given.folder, model=given.model)
    except ProFactoryError as error:
        print(json.dumps(error.to_dict()))
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
