"""The residue policy: what letters a sequence may hold, and what is done with the others.

==========================================  ==========================================================
in the file                                 what happens
==========================================  ==========================================================
``ACDEFGHIKLMNPQRSTVWY``                    taken
``U O B Z X J`` (rare, ambiguous, unknown)  taken and counted; each model spells them in its own way
lower case                                  made upper case, counted
white space, also inside                    removed, counted
one ``*`` at the end (stop codon)           removed, counted
``*`` elsewhere, gaps ``-`` and ``.``,      the row is refused; letter and position are named
digits, any other character
nothing                                     the row is refused
more than 100,000 residues                  the row is refused
==========================================  ==========================================================
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
NONSTANDARD = "UOBZXJ"
ACCEPTED = STANDARD + NONSTANDARD
MAX_RESIDUES = 100_000

_STANDARD_BYTES = STANDARD.encode()
_WRONG = re.compile(f"[^{ACCEPTED}]")
_SPACE = re.compile(r"\s+")
_NAMES = {
    "-": "a gap, '-',",
    ".": "a gap, '.',",
    "*": "a stop codon, '*', before the end,",
}
_KINDS = {"-": "gap", ".": "gap", "*": "inner_stop"}


@dataclass
class CleanResult:
    """Sequences after the residue policy.

    Parameters
    ----------
    sequences
        Clean sequences, as many as went in; what a refused row holds has no meaning.
    reasons
        Row to the reason for which it is refused.
    counts
        How many rows were changed or are special, by kind: ``lower_case``, ``white_space``,
        ``stop_codon`` and ``nonstandard``, and how many residues are ``U``, ``O``, … each. How many are
        refused: ``empty``, ``too_long``, ``gap``, ``inner_stop`` and ``other_letter``.
    """

    sequences: pa.Array
    reasons: dict[int, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> NDArray[np.bool_]:
        """Shape ``(rows,)``: True where the row can be used."""
        mask = np.ones(len(self.sequences), bool)
        mask[list(self.reasons)] = False
        return mask


def clean_sequences(sequences: pa.Array, *, max_residues: int = MAX_RESIDUES) -> CleanResult:
    """Apply the residue policy to a column.

    Nearly every sequence of a real table is clean as it stands, which one pass over the bytes of the whole
    column shows; only the others are looked at one by one.

    Parameters
    ----------
    sequences
        Strings; null counts as empty.
    max_residues
        Longest sequence taken.
    """
    sequences = pc.fill_null(sequences, "") if sequences.null_count else sequences
    result = CleanResult(sequences)
    lengths = lengths_of(sequences)
    suspects = _suspects(sequences, lengths, max_residues)
    if len(suspects):
        replaced = [
            _clean_one(sequences[int(row)].as_py(), int(row), result, max_residues) for row in suspects
        ]
        mask = np.zeros(len(sequences), bool)
        mask[suspects] = True
        result.sequences = pc.replace_with_mask(sequences, pa.array(mask), pa.array(replaced, sequences.type))
    return result


def lengths_of(sequences: pa.Array | pa.ChunkedArray) -> NDArray[np.int32]:
    """Return the bytes of each string: the residues of each clean sequence. Shape ``(n,)``."""
    return np.asarray(pc.binary_length(sequences).to_numpy(zero_copy_only=False), np.int32)


def _suspects(sequences: pa.Array, lengths: NDArray[np.int32], max_residues: int) -> NDArray[np.int64]:
    """Return the rows that are not simply standard residues."""
    wrong_length = (lengths == 0) | (lengths > max_residues)
    data, offsets = _bytes_and_offsets(sequences)
    if data.tobytes().translate(None, _STANDARD_BYTES):
        odd = _ODD[data]
        rows = np.searchsorted(offsets, np.flatnonzero(odd), side="right") - 1
        wrong_length[np.unique(rows)] = True
    return np.flatnonzero(wrong_length)


_ODD = np.ones(256, bool)
_ODD[list(_STANDARD_BYTES)] = False


def _bytes_and_offsets(strings: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of all strings one after the other, and where each starts and the last ends."""
    if not len(strings):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    width = np.int64 if pa.types.is_large_string(strings.type) else np.int32
    _, offset_buffer, data_buffer = strings.buffers()
    raw = np.frombuffer(offset_buffer, width)[strings.offset : strings.offset + len(strings) + 1]
    if data_buffer is None:
        return np.empty(0, np.uint8), np.zeros(len(strings) + 1, np.int64)
    data = np.frombuffer(data_buffer, np.uint8)[raw[0] : raw[-1]]
    return data, raw.astype(np.int64) - int(raw[0])


def _clean_one(text: str, row: int, result: CleanResult, max_residues: int) -> str:
    """Clean one sequence that is not simply standard residues; note what was done."""
    seen: Counter[str] = Counter()
    clean = _SPACE.sub("", text)
    seen["white_space"] = clean != text
    if clean.endswith("*"):
        clean, seen["stop_codon"] = clean[:-1], 1
    if clean.isascii() and clean != clean.upper():
        clean, seen["lower_case"] = clean.upper(), 1
    kind, reason = _refusal(text, clean, max_residues)
    if kind:
        result.reasons[row] = reason
        result.counts[kind] += 1
        return clean
    for letter in NONSTANDARD:
        seen[letter] = clean.count(letter)
        seen["nonstandard"] |= letter in clean
    result.counts.update({kind: int(number) for kind, number in seen.items() if number})
    return clean


def _refusal(text: str, clean: str, max_residues: int) -> tuple[str, str]:
    """Return the kind and the reason for which a sequence cannot be used, or two empty texts if it can.

    Positions count in the text of the file.
    """
    if not clean:
        return "empty", "the sequence is empty"
    if len(clean) > max_residues:
        return "too_long", f"the sequence has {len(clean):,} residues, more than {max_residues:,}"
    wrong = _WRONG.search(clean)
    if not wrong:
        return "", ""
    letter = wrong.group()
    position = _position_in(text, wrong.start())
    what = _NAMES.get(letter, f"letter {text[position - 1]!r}")
    more = len(_WRONG.findall(clean)) - 1
    others = f" (and {more:,} more such letters)" if more else ""
    return _KINDS.get(letter, "other_letter"), f"{what} at position {position:,} is no residue{others}"


def _position_in(text: str, index: int) -> int:
    """Return the position (from 1) in the text of the `index`-th character that is not white space."""
    seen = -1
    for position, letter in enumerate(text, 1):
        seen += not letter.isspace()
        if seen == index:
            return position
    return len(text)
