"""A table with the structure strings of its proteins beside them, read as one: nothing is copied to disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from profactory.data.columns import find_columns
from profactory.data.reading import Chunk, Table
from profactory.data.residues import clean_sequences
from profactory.data.structure_strings import KINDS
from profactory.errors import ColumnError, Problem
from profactory.files import sha256_bytes
from profactory.structure.lookup import Lookup

#: What becomes of a row without a structure: it is refused, or kept with a mask for every residue, or kept
#: with empty strings (for predictions, which say so in the row).
Missing = Literal["refuse", "mask", "empty"]


@dataclass(frozen=True)
class StructureJoin:
    """Adds columns of structure strings to any table, by the exact id of each row.

    Parameters
    ----------
    lookup
        The structures.
    missing
        What becomes of a row without one.
    sequence_column, id_column
        As typed; found by their names if None.
    """

    lookup: Lookup
    missing: Missing = "refuse"
    sequence_column: str | None = None
    id_column: str | None = None

    @classmethod
    def open(cls, structures: str | Path | None, **options: Any) -> StructureJoin | None:
        """Read structures and make a join of them; None if there are none to read.

        Raises
        ------
        DataError
            Nothing there can be used.
        """
        return cls(Lookup.open(structures), **options) if structures else None

    @property
    def key(self) -> str:
        """Hash of all that decides the columns."""
        parts = [self.lookup.key, self.missing, str(self.sequence_column), str(self.id_column)]
        return sha256_bytes("|".join(parts).encode())

    @property
    def columns(self) -> dict[str, str]:
        """Kind of string to the name of the column that is added."""
        return {kind: KINDS[kind].columns[0] for kind in self.lookup.kinds}

    def __call__(self, table: Table) -> Table:
        """Return a table with the columns added.

        Raises
        ------
        ColumnError
            The table has no column with ids, or has the added columns already.
        """
        found = find_columns(
            table.columns,
            sequence=self.sequence_column,
            identifier=self.id_column,
            need_label=False,
            file=str(table.path),
        )
        if found.identifier is None:
            raise ColumnError(
                f"{table.path}: there is no column by which structures could be found.",
                expected="a column called id, accession, name or the like",
                fix="--id-column NAME",
            )
        taken = [name for name in self.columns.values() if name in table.columns]
        if taken:
            raise ColumnError(
                f"{table.path} has a column {taken[0]!r} already, and structures would add another.",
                fix="leave --structures out, or rename the column",
            )
        return JoinedTable(table, self, found.identifier, found.sequence)


@dataclass
class JoinedTable:
    """A table, read through a join."""

    table: Table
    join: StructureJoin
    identifier: str
    sequence: str
    path: Path = field(init=False)
    format: str = field(init=False)
    columns: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.path, self.format = self.table.path, self.table.format
        self.columns = [*self.table.columns, *self.join.columns.values()]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order; memory does not grow with the file."""
        for chunk in self.table.chunks():
            yield self._joined(chunk)

    def _joined(self, chunk: Chunk) -> Chunk:
        cleaned = clean_sequences(chunk.columns.column(self.sequence))
        identifiers = chunk.columns.column(self.identifier).to_pylist()
        cells: dict[str, list[str]] = {kind: [] for kind in self.join.lookup.kinds}
        problems, kept = list(chunk.problems), np.ones(len(identifiers), bool)
        for row, (identifier, sequence) in enumerate(
            zip(identifiers, cleaned.sequences.to_pylist(), strict=True)
        ):
            # A row with an unusable sequence is refused for that, by whoever reads it.
            strings = self._strings(identifier.strip(), "" if row in cleaned.reasons else sequence)
            if isinstance(strings, str):
                problems.append(
                    Problem(strings, str(self.path), int(chunk.lines[row]), self.identifier, identifier)
                )
                kept[row] = False
                strings = dict.fromkeys(cells, "")
            for kind, text in strings.items():
                cells[kind].append(text)
        columns = chunk.columns
        for kind, name in self.join.columns.items():
            columns = columns.append_column(name, pa.array(cells[kind], pa.string()))
        return Chunk(columns.filter(pa.array(kept)), chunk.lines[kept], sorted(problems, key=_line))

    def _strings(self, identifier: str, sequence: str) -> dict[str, str] | str:
        if not sequence:
            return dict.fromkeys(self.join.lookup.kinds, "")
        found = self.join.lookup.strings_for(identifier, sequence)
        if isinstance(found, str) and self.join.missing == "mask":
            return self.join.lookup.unknown(sequence)
        if isinstance(found, str) and self.join.missing == "empty":
            return dict.fromkeys(self.join.lookup.kinds, "")
        return found


def _line(problem: Problem) -> int:
    return problem.line or 0
