"""Structure strings of proteins by their exact id, fitted to the sequences of a table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from profactory.data.columns import find_columns
from profactory.data.reading import open_table
from profactory.data.structure_columns import find_structure_columns
from profactory.data.structure_strings import structure_problem
from profactory.errors import ColumnError
from profactory.files import cache_dir, sha256_bytes, sha256_file
from profactory.structure.extraction import extract_structures
from profactory.structure.files import find_files, has_suffix
from profactory.structure.strings import UNKNOWN

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class Known:
    """What is known of one protein: its sequence in the structure, and a string of each kind."""

    sequence: str
    strings: Mapping[str, str]


class Lookup:
    """Structure strings by id.

    Attributes
    ----------
    key : str
        Hash of all that is in it.
    kinds : tuple of str
        Of :data:`profactory.data.structure_strings.KINDS`.
    """

    def __init__(self, source: str, key: str, kinds: Sequence[str], entries: Mapping[str, Known]) -> None:
        self.source, self.key, self.kinds = source, key, tuple(kinds)
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def open(cls, source: str | Path) -> Lookup:
        """Read structures.

        Parameters
        ----------
        source
            A folder or file of coordinates (extracted once, and kept in the cache), or a table that
            ``profactory structure`` wrote.

        Raises
        ------
        DataError
            Nothing there can be used.
        """
        path = Path(source)
        table = _extracted(path) if path.is_dir() or has_suffix(path) else path
        found = open_table(table)
        columns = find_columns(found.columns, need_label=False, file=str(source))
        strings = find_structure_columns(found.columns)
        if columns.identifier is None or not strings:
            raise ColumnError(
                f"{source} is no table of structures.",
                expected="columns id, sequence, and foldseek_3di or ss8",
                fix=f"make one: profactory structure FOLDER --out {source}",
            )
        entries = dict(_entries(table, columns.identifier, columns.sequence, strings))
        return cls(str(source), sha256_file(table), list(strings), entries)

    def strings_for(self, identifier: str, sequence: str) -> dict[str, str] | str:
        """Return the strings of a protein, as long as its sequence, or why there are none.

        Residues that the structure lacks have X. A structure with another sequence is refused.

        Parameters
        ----------
        identifier
            Exactly as in the structures.
        sequence
            Clean.
        """
        known = self._entries.get(identifier)
        if known is None:
            return f"there is no structure called {identifier!r}" if identifier else "the row has no id"
        places = places_of(known.sequence, sequence)
        if places is None:
            return (
                f"the structure {identifier!r} has another sequence ({len(known.sequence):,} residues,"
                f" {known.sequence[:12]}…)"
            )
        return {kind: _spread(text, places, len(sequence)) for kind, text in known.strings.items()}

    def unknown(self, sequence: str) -> dict[str, str]:
        """Return strings that say nothing of any residue."""
        return dict.fromkeys(self.kinds, UNKNOWN * len(sequence))


def places_of(structure: str, sequence: str) -> list[int] | None:
    """Return where the residues of a structure are in the whole sequence; None if it is another sequence.

    Structures may lack residues at the ends and in loops; an X of theirs may be anything. Of all ways to
    place the residues in order, one with the fewest gaps inside is taken.

    Examples
    --------
    >>> places_of("KTAY", "MKTGAYI")
    [1, 2, 4, 5]
    >>> places_of("KTW", "MKTAYI") is None
    True
    """
    if not structure or len(structure) > len(sequence):
        return None
    letters = np.frombuffer(sequence.encode(), np.uint8)
    places = np.arange(len(sequence))
    # gaps[j]: fewest gaps with the residue at place j; behind[i][j]: where the one before it then is
    gaps = np.zeros(len(sequence))
    behind: list[NDArray[np.int64]] = []
    for number, letter in enumerate(structure):
        if number:
            best = np.minimum.accumulate(gaps)  # of all places up to j
            where = np.maximum.accumulate(np.where(gaps == best, places, 0))
            joined, apart = np.full_like(gaps, np.inf), np.full_like(gaps, np.inf)
            joined[1:], apart[1:] = gaps[:-1], best[:-1] + 1
            behind.append(np.where(joined <= apart, places - 1, np.concatenate(([0], where[:-1]))))
            gaps = np.minimum(joined, apart)
        if letter != UNKNOWN:
            gaps = np.where(letters == ord(letter), gaps, np.inf)
    last = int(gaps.argmin())
    if not np.isfinite(gaps[last]):
        return None
    found = [last]
    for step in reversed(behind):
        found.append(int(step[found[-1]]))
    return found[::-1]


def _spread(text: str, places: Sequence[int], length: int) -> str:
    letters = [UNKNOWN] * length
    for letter, place in zip(text, places, strict=True):
        letters[place] = letter
    return "".join(letters)


def _extracted(path: Path) -> Path:
    """Return the table of a folder of coordinates, made when first asked for."""
    stamps = [f"{p}|{p.stat().st_size}|{p.stat().st_mtime_ns}" for p in find_files([path])]
    table = cache_dir() / "structures" / f"{sha256_bytes(chr(10).join(stamps).encode())[:32]}.parquet"
    if not table.is_file():
        log.info("%s", extract_structures([path], table).text())
    return table


def _entries(
    table: Path, identifier: str, sequence: str, strings: Mapping[str, str]
) -> Iterator[tuple[str, Known]]:
    for chunk in open_table(table).chunks():
        for row in chunk.columns.to_pylist():
            texts = {kind: row[column] for kind, column in strings.items()}
            if not any(structure_problem(kind, text, len(row[sequence])) for kind, text in texts.items()):
                yield row[identifier], Known(row[sequence], texts)
