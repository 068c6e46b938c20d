"""A pretraining corpus: protein sequences and their optional labels as flat, memory-mapped arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from profactory.files import sha256_bytes

#: The ESM-2 vocabulary in its published order; the index is the token id.
VOCABULARY: tuple[str, ...] = (
    *("<cls>", "<pad>", "<eos>", "<unk>"),
    *"LAGVSERTIDPKQNFYMHWCXBUZO",
    *(".", "-", "<null_1>", "<mask>"),
)
CLS, PAD, EOS, UNK, MASK = (VOCABULARY.index(t) for t in ("<cls>", "<pad>", "<eos>", "<unk>", "<mask>"))
#: The 20 standard residues are contiguous, which makes drawing a random one a single integer draw.
FIRST_STANDARD, LAST_STANDARD = VOCABULARY.index("L"), VOCABULARY.index("C")
SS8_STATES = "HBEGITSC"
ACCESSIBILITY_LEVELS = 10
#: Value of a residue label that is not known; torch losses skip it after widening to int64.
NO_LABEL = 255

_ARRAYS = ("tokens", "offsets", "lines", "ss8", "accessibility", "terms", "term_offsets", "annotated")


@dataclass(frozen=True)
class Corpus:
    """Sequences without special tokens, end to end, and their labels.

    Attributes
    ----------
    tokens : array of uint8, (residues,)
    offsets : array of int64, (records + 1,)
        Record ``i`` is ``tokens[offsets[i]:offsets[i + 1]]``.
    lines : array of int64, (records,)
        Where each record stands in its file.
    ss8, accessibility : array of uint8, (residues,)
        Index into `SS8_STATES` / level 0-9; `NO_LABEL` where not known.
    terms, term_offsets : array of int32 and int64
        Annotation term indices of record ``i``, in the same layout as tokens.
    annotated : array of bool, (records,)
        False where nothing is known: missing terms of such a record say nothing at all.
    num_terms : int
    """

    tokens: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    ss8: npt.NDArray[np.uint8]
    accessibility: npt.NDArray[np.uint8]
    terms: npt.NDArray[np.int32]
    term_offsets: npt.NDArray[np.int64]
    annotated: npt.NDArray[np.bool_]
    num_terms: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Residues of each record, without special tokens."""
        return np.diff(self.offsets)

    @property
    def has_residue_labels(self) -> npt.NDArray[np.bool_]:
        """Whether each record carries structure labels (all residues of a record do, or none)."""
        labelled: npt.NDArray[np.bool_] = self.ss8[self.offsets[:-1]] != NO_LABEL
        return labelled

    def identities(self) -> npt.NDArray[np.int64]:
        """Return a number for each record, the same for equal sequences (up to a chance of about 1e-9)."""
        parts = (self.tokens[a:b].tobytes() for a, b in zip(self.offsets, self.offsets[1:], strict=False))
        return np.fromiter((int(sha256_bytes(part)[:15], 16) for part in parts), np.int64, len(self))

    def save(self, folder: Path) -> None:
        """Write the arrays into an existing folder."""
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (folder / "corpus.json").write_text(json.dumps({"num_terms": self.num_terms}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Open a saved corpus; the arrays stay on disk and are mapped into memory."""
        meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        }
        return cls(num_terms=int(meta["num_terms"]), **arrays)


def encode(sequence: str) -> npt.NDArray[np.uint8]:
    """Token ids of a sequence, without special tokens; letters outside the vocabulary become ``<unk>``."""
    raw = np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)
    return _LETTER_TO_TOKEN[raw]


def codes_of(letters: str, first: int, default: int) -> npt.NDArray[np.uint8]:
    """Return a table from the byte of a letter to its place among `letters`, counted from `first`."""
    table = np.full(256, default, dtype=np.uint8)
    for index, letter in enumerate(letters):
        table[ord(letter)] = first + index
    return table


_LETTER_TO_TOKEN = codes_of("LAGVSERTIDPKQNFYMHWCXBUZO", FIRST_STANDARD, UNK)
