"""Strings that say something of every residue of a structure: 3Di letters and secondary structure.

Their letters and lengths are checked, and they are written as small numbers. Free of torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from profactory.errors import ConfigError

Codes = NDArray[np.uint8]
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
        Its alphabet.
    columns
        Usual names of its column, the best first.
    same
        Other letters, and what they are read as.
    title
        For people.
    """

    letters: str
    columns: tuple[str, ...]
    title: str
    same: Mapping[str, str]

    @property
    def size(self) -> int:
        """Number of codes, padding and the unknown included."""
        return len(self.letters) + 2


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
}


def structure_problem(kind: str, text: str | None, residues: int) -> str:
    """Say why a structure string cannot be used beside a sequence of so many residues; empty if it can."""
    if not text:
        return f"there are no {KINDS[kind].title}"
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
    """Write a string as codes, one byte per residue; shape ``(residues,)``."""
    return _TABLES[kind][np.frombuffer(text.encode("ascii"), np.uint8)]


def _table(kind: StructureKind) -> Codes:
    table = np.full(256, UNKNOWN, np.uint8)
    spelled = {letter: letter for letter in kind.letters} | dict(kind.same)
    for written, meant in spelled.items():
        for letter in (written, written.lower()):
            table[ord(letter)] = 2 + kind.letters.index(meant)
    return table


_TABLES = {name: _table(kind) for name, kind in KINDS.items()}
