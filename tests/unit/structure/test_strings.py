"""Strings of real chains against independent programs: mini3di, mkdssp 4.2.2."""

from __future__ import annotations

import gzip
import io
import warnings
from pathlib import Path

import numpy as np
import pytest

from profactory.structure.chains import Chain, chains_of
from profactory.structure.files import read_atoms
from profactory.structure.strings import (
    UNKNOWN,
    eight_states,
    relative_accessibility,
    three_di,
    three_states,
)

STRUCTURES = Path(__file__).parents[2] / "support" / "structures"
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
# `mkdssp --output-format dssp 1ubi.pdb`, version 4.2.2; P (a helix that DSSP 2 does not know) as C
STATES = "CEEEEEETTSCEEEEECCTTCBHHHHHHHHHHHHCCCGGGEEEEETTEECCTTSBGGGGTCCTTCEEEEEECCSCC"
SURFACE = [51, 77, 0, 55, 0, 102, 24, 136, 125, 69, 96, 69, 5, 58, 8, 153, 4, 111, 46, 89]  # Å², first twenty
LARGEST = {"M": 224, "Q": 225, "I": 197, "F": 240, "V": 174, "K": 236, "T": 172, "L": 201, "G": 104, "E": 223,
           "P": 159, "S": 155}  # fmt: skip


def chains(name: str) -> list[Chain]:
    atoms, predicted = read_atoms(STRUCTURES / f"{name}.pdb.gz")
    assert not predicted
    return chains_of(atoms)


def mini3di_letters(name: str, chain: str) -> str:
    import mini3di
    from Bio.PDB import PDBParser

    text = gzip.decompress((STRUCTURES / f"{name}.pdb.gz").read_bytes()).decode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PDBParser(QUIET=True).get_structure(name, io.StringIO(text))[0]
        encoder = mini3di.Encoder()
        return str(encoder.build_sequence(encoder.encode_chain(model[chain])))


@pytest.mark.parametrize("name", ["1ubi", "1ejg", "2hhb"])
def test_3di_letters_are_those_of_mini3di(name: str) -> None:
    for chain in chains(name):
        assert three_di(chain) == mini3di_letters(name, chain.name)
        assert len(three_di(chain)) == len(chain.sequence)


def test_secondary_structure_is_that_of_mkdssp() -> None:
    (chain,) = chains("1ubi")
    assert chain.sequence == UBIQUITIN
    assert eight_states(chain) == STATES


def test_three_states_by_hand() -> None:
    assert three_states("HGIPEBTSCX") == "HHHHEECCCX"


def test_accessibility_is_that_of_mkdssp() -> None:
    (chain,) = chains("1ubi")
    found = relative_accessibility(chain)
    assert found is not None
    wanted = np.array(SURFACE) / [LARGEST[letter] for letter in UBIQUITIN[: len(SURFACE)]]
    # Radii of atoms and the density of the dots on them differ a little between the programs.
    assert np.abs(found[: len(SURFACE)] - wanted).max() < 0.08
    assert np.corrcoef(found[: len(SURFACE)], wanted)[0, 1] > 0.99


def test_a_backbone_has_no_accessibility() -> None:
    (chain,) = chains("1ubi")
    bare = chain.atoms[np.isin(chain.atoms.atom_name, ["N", "CA", "C", "O", "CB"])]
    (backbone,) = chains_of(bare)
    assert relative_accessibility(backbone) is None
    assert eight_states(backbone) == STATES


def test_a_residue_without_backbone_is_unknown_and_every_string_keeps_its_length() -> None:
    (chain,) = chains("1ubi")
    atoms = chain.atoms
    (damaged,) = chains_of(atoms[~((atoms.res_id == 30) & (atoms.atom_name == "C"))])
    assert damaged.sequence == UBIQUITIN
    assert eight_states(damaged)[29] == UNKNOWN
    assert len(eight_states(damaged)) == len(three_di(damaged)) == len(UBIQUITIN)


def test_modified_and_missing_residues_are_reported() -> None:
    (chain,) = chains("1ubi")
    atoms = chain.atoms.copy()
    atoms.res_name[atoms.res_id == 1] = "MSE"
    (changed,) = chains_of(atoms[~np.isin(atoms.res_id, [8, 9, 10])])
    assert changed.sequence == UBIQUITIN[:7] + UBIQUITIN[10:]
    assert changed.modified == ("MSE 1",)
    assert (changed.breaks, changed.missing) == (1, 3)
