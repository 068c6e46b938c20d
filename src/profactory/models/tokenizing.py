"""From residues to token ids by table look-up, checked against the model's own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from profactory.data.structure_strings import KINDS, UNKNOWN, Codes
from profactory.errors import ModelLoadError, Problem, RowError
from profactory.models.families import LETTERS, RESIDUES, Family
from profactory.models.vocabulary import Tokenizer

Ids = NDArray[np.int64]


class Encoder(Protocol):
    """Turns one checked sequence into ids; residues per token id where a token can be several."""

    @property
    def piece_lengths(self) -> Ids | None:
        """``(vocabulary,)``: residues that each token id stands for; None where always one."""
        ...

    @property
    def before(self) -> int:
        """Special tokens in front of the first residue."""
        ...

    @property
    def after(self) -> int:
        """Special tokens behind the last residue."""
        ...

    def encode(self, sequence: str) -> Ids:
        """Return the ids of a sequence, special tokens included."""
        ...


@dataclass(frozen=True)
class ResidueTable:
    """One id per letter: a look-up of a numpy array instead of a tokenizer's pass over text.

    Parameters
    ----------
    ids
        ``(256,)``: id of each byte, -1 where it is no residue letter.
    prefix, suffix
        Ids of the special tokens around a sequence.
    combined
        ``(256, codes)``: id of each byte with each code of a structure letter (see
        :func:`profactory.data.structure_strings.encode_structure`); None where tokens have no structure.
    structure
        The kind of these letters.
    structure_prefix, structure_suffix
        Ids around a sequence that is written with its structure, where they are others.
    """

    ids: Ids
    prefix: Ids
    suffix: Ids
    combined: Ids | None = None
    structure: str = ""
    structure_prefix: Ids | None = None
    structure_suffix: Ids | None = None
    piece_lengths: None = None

    @property
    def before(self) -> int:
        """Special tokens in front of the first residue."""
        return len(self.prefix)

    @property
    def after(self) -> int:
        """Special tokens behind the last residue."""
        return len(self.suffix)

    def to_dict(self) -> dict[str, Any]:
        """Return the table, ready for JSON: ``letters``, ``before`` and ``after``."""
        letters = {letter: int(self.ids[ord(letter)]) for letter in LETTERS if self.ids[ord(letter)] >= 0}
        return {"letters": letters, "before": self.prefix.tolist(), "after": self.suffix.tolist()}

    def encode(self, sequence: str, structure: Codes | None = None) -> Ids:
        """Return the ids of a sequence, special tokens included; `structure` has a code for each residue."""
        letters = np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)
        prefix, suffix = self.prefix, self.suffix
        if structure is None or self.combined is None:
            found = self.ids[letters]
        else:
            found = self._with_structure(letters, structure, self.combined)
            prefix = self.prefix if self.structure_prefix is None else self.structure_prefix
            suffix = self.suffix if self.structure_suffix is None else self.structure_suffix
        if found.size == 0 or found.min() < 0:
            raise _not_residues(sequence)
        return np.concatenate((prefix, found, suffix))

    @staticmethod
    def _with_structure(letters: NDArray[np.uint8], structure: Codes, combined: Ids) -> Ids:
        if len(structure) != len(letters):
            raise RowError(f"There are {len(structure):,} structure letters for {len(letters):,} residues.")
        if structure.max(initial=0) >= combined.shape[1]:
            raise RowError(
                f"The model has no structure token {int(structure.max()) - UNKNOWN - 1:,}.",
                expected=f"0 to {combined.shape[1] - UNKNOWN - 2:,}",
                fix="give tokens that were made for this model's number of them",
            )
        return combined[letters, structure]


class SubwordEncoder:
    """The tokenizer itself, for vocabularies whose tokens stand for several residues.

    ``piece_lengths`` tells how many residues each token id stands for, so that the vector of a token
    can be given to every residue in it.
    """

    def __init__(self, tokenizer: Tokenizer, family: Family) -> None:
        self._tokenizer = tokenizer
        self._spell = family.spelling.spell
        self.before = family.before or 0
        self.after = family.after
        lengths = np.zeros(max(tokenizer.vocabulary.values()) + 1, np.int64)
        for token, index in tokenizer.vocabulary.items():
            piece = token.removeprefix("▁").removeprefix("##")
            lengths[index] = len(piece) if piece.isalpha() and piece.isupper() else 0
        self.piece_lengths: Ids = lengths

    def encode(self, sequence: str) -> Ids:
        """Return the ids of a sequence, special tokens included."""
        if not (sequence.isascii() and sequence.isalpha()):
            raise _not_residues(sequence)
        ids = np.array(self._tokenizer.encode(self._spell(sequence)), np.int64)
        if self.piece_lengths[ids].sum() != len(sequence):
            raise RowError(
                "A sequence has letters that this model's vocabulary lacks.",
                problems=[Problem("letters unknown to the model", value=sequence)],
                fix="take another model, or replace them by X",
            )
        return ids


def build_encoder(tokenizer: Tokenizer, family: Family) -> Encoder:
    """Make the encoder of a model and check it against the model's tokenizer.

    Raises
    ------
    ModelLoadError
        If the tokenizer does not write one token per residue with the family's special tokens around.
    """
    if family.subwords:
        return _checked_subwords(SubwordEncoder(tokenizer, family), family)
    return build_table(tokenizer, family)


def build_table(tokenizer: Tokenizer, family: Family) -> ResidueTable:
    """Ask the tokenizer for every letter alone, then check whole sequences.

    Raises
    ------
    ModelLoadError
        If the tokenizer does not write one token per residue with the family's special tokens around.
    """
    spell = family.spelling.spell
    alone = {letter: tokenizer.encode(spell(letter)) for letter in LETTERS}
    first = alone[RESIDUES[0]]
    before = len(first) - 1 - family.after if family.before is None else family.before
    prefix, suffix = first[:before], first[before + 1 :]
    for letter, ids in alone.items():
        if len(ids) != before + 1 + family.after or ids[:before] != prefix or ids[before + 1 :] != suffix:
            raise _mismatch(family, f"{spell(letter)!r} became {ids}")
    table = np.full(256, -1, np.int64)
    for letter, ids in alone.items():
        table[[ord(letter), ord(letter.lower())]] = ids[before]
    _check_residues(tokenizer, family, table)
    ends = np.array(prefix, np.int64), np.array(suffix, np.int64)
    written = family.spelling.structure and not family.needs_structure
    combined, ahead = _combine(tokenizer, family, table) if written else (None, None)
    result = ResidueTable(table, *ends, combined, family.spelling.structure, ahead)
    for sequence in (LETTERS, LETTERS[::-1] + RESIDUES, "MKK" + 3 * RESIDUES):
        if result.encode(sequence).tolist() != tokenizer.encode(spell(sequence)):
            raise _mismatch(family, f"{spell(sequence)!r} became {tokenizer.encode(spell(sequence))}")
    return result


def with_structure_ids(table: ResidueTable, tokens: int, structures: int) -> ResidueTable:
    """Return the table of a model that takes structure tokens as an input of their own, such as ProSST.

    The id of a pair is ``token + tokens * structure token``, so that one number goes through batches, caches
    and masks; the backbone parts them again before the network. Its structure tokens are 0 for padding,
    1 and 2 for the ends, and what was given plus 3.

    Parameters
    ----------
    table
        Of the residues alone.
    tokens
        Size of the vocabulary.
    structures
        Size of that of the structures, the three included.
    """
    combined = np.full((256, structures - 1), -1, np.int64)
    read = table.ids >= 0
    # Code 2 is the structure token 0, which the network knows as 3; it knows no unknown structure.
    combined[read, UNKNOWN + 1 :] = table.ids[read, None] + tokens * np.arange(3, structures)
    ends = table.prefix + tokens, table.suffix + 2 * tokens
    return replace(table, combined=combined, structure_prefix=ends[0], structure_suffix=ends[1])


def check_sequences(sequences: Sequence[str]) -> None:
    """Refuse what is no list of non-empty texts, before a confusing failure further down."""
    if isinstance(sequences, str):
        raise RowError("A list of sequences is needed, not one text.", fix="write [sequence]")
    empty = [Problem("the sequence is empty", line=i) for i, item in enumerate(sequences) if not item]
    if empty:
        raise RowError("Empty sequences cannot be embedded.", problems=empty)


def _check_residues(tokenizer: Tokenizer, family: Family, table: Ids) -> None:
    ids = [int(table[ord(letter)]) for letter in RESIDUES]
    if len(set(ids)) != len(ids) or tokenizer.unknown_id in ids:
        raise _mismatch(family, "some of the 20 amino acids are unknown or share one token")


def _combine(tokenizer: Tokenizer, family: Family, table: Ids) -> tuple[Ids, Ids]:
    """Return the ids of every letter with every structure letter, and those in front of the sequence."""
    kind = KINDS[family.spelling.structure]
    structures = "X" + kind.letters  # the unknown, whose code is the first behind the padding, then the rest
    text = "".join(letter * len(structures) for letter in LETTERS)
    ids = tokenizer.encode(family.spelling.spell(text, structures * len(LETTERS)))
    inner = np.array(ids[family.before : len(ids) - family.after], np.int64)
    if len(inner) != len(text) or tokenizer.unknown_id in inner:
        raise _mismatch(family, f"some residues have no token with some of {structures!r}")
    combined = np.full((256, kind.size), -1, np.int64)
    for letter, row in zip(LETTERS, inner.reshape(len(LETTERS), -1), strict=True):
        combined[[ord(letter), ord(letter.lower())], UNKNOWN:] = row
    if not family.spelling.structure_prefix and (combined[:, UNKNOWN] != table).any():
        raise _mismatch(family, "an unknown structure is not what is written without one")
    return combined, np.array(ids[: family.before], np.int64)


def _checked_subwords(encoder: SubwordEncoder, family: Family) -> SubwordEncoder:
    ids = encoder.encode(RESIDUES)
    ends = [*ids[: encoder.before], *ids[len(ids) - encoder.after :]]
    inner = ids[encoder.before : len(ids) - encoder.after]
    if encoder.piece_lengths[ends].any() or not encoder.piece_lengths[inner].all():
        raise _mismatch(family, f"{RESIDUES!r} became {ids.tolist()}")
    return encoder


def _mismatch(family: Family, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"The tokenizer does not write sequences as the family {family.name!r} does: {reason}.",
        expected="the family's special tokens around one token per residue",
        fix="use the tokenizer files that belong to the model",
    )


def _not_residues(sequence: str) -> RowError:
    bad = sorted({letter for letter in sequence if not (letter.isascii() and letter.isalpha())})
    return RowError(
        "A sequence cannot be tokenised.",
        expected="letters of amino acids",
        problems=[
            Problem(f"no residue: {', '.join(map(repr, bad))}" if bad else "it is empty", value=sequence)
        ],
        fix="see `profactory check DATA --fix`",
    )
