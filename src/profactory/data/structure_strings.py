"""Strings that say something of every residue of a structure: 3Di, secondary structure, tokens of ProSST.

Their letters and lengths are checked, and they are written as small numbers. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profactory.errors import ConfigError

Codes = NDArray[np.uint16]
#: Structure strings of samples: kind to one text per sample.
Strings = Mapping[str, Sequence[str]]

#: Code of padding, and of a residue whose letter is not known; letters follow.
PADDING, UNKNOWN = 0, 1
_MASKED = "X#?"


@dataclass(frozen=True)
class StructureKind:
    """One kind of string.

    Parameters
    ----------
    letters
        Its alphabet; empty where whole numbers between commas are written.
    columns
        Usual names of its column, the best first.
    same
        Other letters, and what they are read as.
    title
        For people.
    source
        What makes such strings.
    numbers
        How many numbers there are, from 0, in the place of letters.
    """

    letters: str
    columns: tuple[str, ...]
    title: str
    same: Mapping[str, str]
    source: str = "`profactory structure` makes them from coordinates"
    numbers: int = 0

    @property
    def size(self) -> int:
        """Number of codes, padding and the unknown included."""
        return (self.numbers or len(self.letters)) + 2

    def example(self, length: int) -> str:
        """Return a string for so many residues that has every letter, or the first numbers, over and over."""
        if self.numbers:
            return ",".join(str(place % 20) for place in range(length))
        return (self.letters * length)[:length]


KINDS: Mapping[str, StructureKind] = {
    # van Kempen et al. 2024, https://doi.org/10.1038/s41587-023-01773-0
    "3di": StructureKind(
        "ACDEFGHIKLMNPQRSTVWY",
        ("foldseek_3di", "foldseek_seq", "3di", "3di_seq", "foldseek"),
        "3Di letters of Foldseek",
        {},
    ),
    # Kabsch & Sander 1983, with P for the helix of type II that DSSP 4 adds; a loop is written in many ways
    "ss8": StructureKind(
        "HBEGITSPC",
        ("ss8", "ss8_seq", "dssp", "dssp8"),
        "eight-state secondary structure",
        dict.fromkeys("-~L.", "C"),
    ),
    # Li et al. 2024, https://doi.org/10.1101/2024.04.15.589672; its largest code book has 4,096 entries
    "prosst": StructureKind(
        "",
        ("prosst", "prosst_tokens", "sst_seq", "structure_tokens"),
        "structure tokens of ProSST",
        {},
        source="the quantiser of ProSST (SSTPredictor) makes them from coordinates",
        numbers=4096,
    ),
}


def structure_problem(kind: str, text: str | None, residues: int) -> str:
    """Say why a structure string cannot be used beside a sequence of so many residues; empty if it can."""
    if not text:
        return f"there are no {KINDS[kind].title}"
    if KINDS[kind].numbers:
        return _number_problem(KINDS[kind], text, residues)
    wrong = sorted(set(text.upper()) - set(KINDS[kind].letters) - set(KINDS[kind].same) - set(_MASKED))
    if wrong:
        return f"{', '.join(map(repr, wrong[:5]))} cannot be {KINDS[kind].title} ({KINDS[kind].letters})"
    if len(text) != residues:
        return f"there are {len(text):,} {KINDS[kind].title} for {residues:,} residues"
    return ""


def structure_problems(strings: Strings, sequences: Sequence[str]) -> dict[int, str]:
    """Say of each sample why a structure string of it cannot be used; only samples that have such a reason.

    Raises
    ------
    ConfigError
        There are not as many strings as sequences.
    """
    for kind, texts in strings.items():
        if len(texts) != len(sequences):
            raise ConfigError(f"There are {len(texts):,} {kind} strings for {len(sequences):,} sequences.")
    found: dict[int, str] = {}
    for kind, texts in strings.items():
        for row, (text, sequence) in enumerate(zip(texts, sequences, strict=True)):
            if reason := structure_problem(kind, text, len(sequence)):
                found.setdefault(row, reason)
    return found


def encode_structure(kind: str, text: str) -> Codes:
    """Write a checked string as codes; shape ``(residues,)``."""
    if KINDS[kind].numbers:
        return np.array(_cells(text), np.uint16) + np.uint16(UNKNOWN + 1)
    return _TABLES[kind][np.frombuffer(text.encode("ascii"), np.uint8)]


def _cells(text: str) -> list[str]:
    """Cut a list of numbers: between commas or spaces, in brackets or not."""
    return text.strip("[] ").replace(",", " ").split()


def _number_problem(kind: StructureKind, text: str, residues: int) -> str:
    cells = _cells(text)
    wrong = [cell for cell in cells if not (cell.isdecimal() and cell.isascii() and int(cell) < kind.numbers)]
    if wrong:
        listed = ", ".join(repr(cell[:20]) for cell in wrong[:5])
        return f"{listed} cannot be {kind.title} (whole numbers from 0 to {kind.numbers - 1:,})"
    if len(cells) != residues:
        return f"there are {len(cells):,} {kind.title} for {residues:,} residues"
    return ""


def _table(kind: StructureKind) -> Codes:
    table = np.full(256, UNKNOWN, np.uint16)
    spelled = {letter: letter for letter in kind.letters} | dict(kind.same)
    for written, meant in spelled.items():
        for letter in (written, written.lower()):
            table[ord(letter)] = 2 + kind.letters.index(meant)
    return table


_TABLES = {name: _table(kind) for name, kind in KINDS.items() if kind.letters}
