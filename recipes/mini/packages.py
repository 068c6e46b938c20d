"""Readers of two public Debian packages: Swiss-Prot with GO terms, and PDB chains with their structure.

`metastudent-data` 2.0.1 holds Swiss-Prot 2014_01 as BLAST databases (version 4) and its GO annotation;
`promod3-data` 3.2.1 holds PDB chains with DSSP states and solvent accessibility in one binary file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

GO_FOLDER = Path("usr/share/metastudent-data/dataset_201401")
STRUCTURES = Path("usr/share/promod3/loop_data/structure_db.dat")
ONTOLOGIES = ("MFO", "BPO", "CCO")
#: Residue codes of a BLAST protein database (NCBIstdaa).
_STDAA = b"-ABCDEFGHIKLMNPQRSTVWXYZU*OJ"
#: A visible string of ASN.1 (its length in one byte, or behind a byte that counts those of the length).
_ACCESSION = re.compile(rb"\x1a(?:[\x00-\x7f]|\x81.|\x82..)([A-Z0-9]{6,10})\|", re.DOTALL)
#: Largest accessible surface of each residue in square Angstrom: the theoretical values of Tien et al. 2013,
#: https://doi.org/10.1371/journal.pone.0080635.
LARGEST_SURFACE = {
    "A": 129, "R": 274, "N": 195, "D": 193, "C": 167, "Q": 225, "E": 223, "G": 104, "H": 224, "I": 197,
    "L": 201, "K": 236, "M": 224, "F": 240, "P": 159, "S": 155, "T": 172, "W": 285, "Y": 263, "V": 174,
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """A PDB chain: residues, DSSP states (C for none), relative solvent accessibility in tenths (0-9)."""

    name: str
    sequence: str
    ss8: str
    rsa_decile: str


def swissprot(root: Path) -> dict[str, str]:
    """Return accession to sequence: all proteins of Swiss-Prot 2014_01 with any GO term."""
    found: dict[str, str] = {}
    for ontology in ONTOLOGIES:
        found.update(_blast_database(root / GO_FOLDER / ontology / "goasp.fasta"))
    return found


def _blast_database(prefix: Path) -> Iterator[tuple[str, str]]:
    """Yield accession and sequence; the index holds where each header and sequence begins, big-endian."""
    index, position = prefix.with_suffix(".fasta.pin").read_bytes(), 8
    for _ in range(2):  # title and date
        position += 4 + int(np.frombuffer(index, ">i4", 1, position)[0])
    count = int(np.frombuffer(index, ">i4", 1, position)[0])
    position += 4 + 8 + 4  # number of sequences, of residues, longest sequence
    headers = np.frombuffer(index, ">i4", count + 1, position).tolist()
    starts = np.frombuffer(index, ">i4", count + 1, position + 4 * (count + 1)).tolist()
    text, codes = (prefix.with_suffix(f".fasta.{kind}").read_bytes() for kind in ("phr", "psq"))
    letters = bytes(_STDAA[i] if i < len(_STDAA) else ord("X") for i in range(256))
    for i in range(count):
        name = _ACCESSION.search(text, headers[i], headers[i + 1])
        if name is None:
            raise ValueError(f"{prefix}: header {i} holds no accession")
        yield name[1].decode(), codes[starts[i] : starts[i + 1] - 1].translate(letters).decode()


def go_terms(root: Path) -> dict[str, set[str]]:
    """Return accession to GO terms, with everything that they are a kind of."""
    above: dict[str, set[str]] = defaultdict(set)
    with (root / GO_FOLDER / "fullTransitiveClosureGO.txt").open(encoding="utf-8") as lines:
        for line in lines:
            term, _, ancestor, _ = line.split("\t")
            above[term].add(ancestor)
    found: dict[str, set[str]] = defaultdict(set)
    for ontology in ONTOLOGIES:
        with (root / GO_FOLDER / ontology / "goasp_annot.dat").open(encoding="utf-8") as lines:
            for line in lines:
                accession, *terms = line.split()
                found[accession].update(terms, *(above[term] for term in terms))
    return found


def go_names(root: Path) -> dict[str, str]:
    """Return GO term to its name."""
    text = (root / GO_FOLDER / "nameMapping.txt").read_text(encoding="utf-8")
    return dict(line.split("\t")[:2] for line in text.splitlines())  # type: ignore[misc]


def chains(root: Path) -> Iterator[Chain]:
    """Yield the PDB chains.

    The file holds a table of chains, then one array after the other over all residues, each behind its
    length: residues, coordinates of four atoms, two dihedral angles, accessible surface, depth, DSSP state.
    """
    data = np.memmap(root / STRUCTURES, dtype=np.uint8, mode="r")
    entries, position = _chain_table(data)
    total = sum(length for _, _, length in entries)
    arrays: dict[str, npt.NDArray[Any]] = {}
    sizes = {"residue": 1, "atoms": 24, "dihedrals": 4, "surface": 2, "depth": 2, "state": 1}
    for name, size in sizes.items():
        position += 8
        arrays[name] = data[position : position + total * size]
        position += total * size
    for name, start, length in entries:
        residues, states = (
            arrays[key][start : start + length].tobytes().decode() for key in ("residue", "state")
        )
        surface = arrays["surface"].view("<u2")[start : start + length]
        yield Chain(name, residues, states, "".join(map(_decile, residues, surface.tolist())))


def _chain_table(data: npt.NDArray[np.uint8]) -> tuple[list[tuple[str, int, int]], int]:
    """Return (name, first residue, number of residues) of each chain, and where the arrays begin."""
    position = data[:200].tobytes().index(b"\xff\xff\xff\xff") + 4
    count = _number(data, position, "<u8")
    position += 8
    entries = []
    for _ in range(count):
        words = []
        for _ in range(2):  # PDB id and chain
            length = _number(data, position, "<u4")
            words.append(data[position + 4 : position + 4 + length].tobytes().decode())
            position += 4 + length
        entries.append(("_".join(words), _number(data, position, "<u4"), _number(data, position + 4, "<u2")))
        position += 4 + 2 + 2 + 12  # start, length, first residue number, shift of the coordinates
    return entries, position


def _number(data: npt.NDArray[np.uint8], position: int, dtype: str) -> int:
    return int(np.frombuffer(data[position : position + np.dtype(dtype).itemsize].tobytes(), dtype)[0])


def _decile(residue: str, surface: int) -> str:
    return str(min(9, 10 * surface // LARGEST_SURFACE[residue]) if residue in LARGEST_SURFACE else 0)
