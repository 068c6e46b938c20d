"""Which column holds the sequence, the label, the split and the name: found by name, never guessed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from profactory.errors import ColumnError

# In each list of groups, names of one group mean the same thing equally well: two of them in one table
# are ambiguous. An earlier group wins over a later one: `label` over `class_name`.
Groups = tuple[tuple[str, ...], ...]
SEQUENCE: Groups = (
    ("sequence",),
    (
        "aa_seq", "seq", "protein_sequence", "protein_seq", "aa_sequence", "amino_acid_sequence", "aaseq",
        "primary", "primary_sequence", "mutated_sequence", "full_sequence", "seq_full", "protein", "residues",
    ),
)  # fmt: skip
LABEL: Groups = (
    ("label",),
    ("labels",),
    ("target",),
    ("targets",),
    ("class",),
    ("y",),
    (
        "class_name", "category", "score", "value", "fitness", "activity", "property", "dms_score",
        "log_fitness", "interpro_label",
    ),
)  # fmt: skip
SPLIT: Groups = (("split",), ("set", "stage", "partition", "subset", "data_split", "fold"))
IDENTIFIER: Groups = (
    ("id",),
    ("identifier",),
    ("accession",),
    ("name",),
    ("protein_id",),
    ("uniprot_id",),
    ("uniprot",),
    ("entry",),
    ("uid",),
    ("pdb_chain",),
    ("mutant",),
)


@dataclass(frozen=True)
class Columns:
    """The columns of a table that mean something to us, by their names in the file.

    Parameters
    ----------
    sequence
        The residues.
    labels
        The label column; several for a regression with several targets; empty without labels.
    split
        Column that says ``train``, ``validation`` or ``test``, or None.
    identifier
        Column with the name of each protein, or None.
    """

    sequence: str
    labels: tuple[str, ...] = ()
    split: str | None = None
    identifier: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the names for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Columns:
        """Rebuild from :meth:`to_dict`."""
        return cls(**{**data, "labels": tuple(data["labels"])})


def find_columns(
    names: Sequence[str],
    *,
    sequence: str | None = None,
    label: str | Sequence[str] | None = None,
    split: str | None = None,
    identifier: str | None = None,
    need_label: bool = True,
    file: str = "",
) -> Columns:
    """Find the columns by the names that people use, without regard to case.

    Parameters
    ----------
    names
        The header.
    sequence, label, split, identifier
        What the user typed; then that column must exist.
    need_label
        Whether a table without labels is an error.
    file
        Name for the messages.

    Raises
    ------
    ColumnError
        A column is missing (with those that exist and the flag to type) or more than one could be meant.
    """
    finder = _Finder(list(names), f"{file}: " if file else "")
    chosen_sequence = finder.find("sequence", SEQUENCE, sequence, required=True)
    wanted = [label] if isinstance(label, str) else list(label or [])
    if wanted:
        labels = tuple(finder.typed("label", name) for name in wanted)
    else:
        found = finder.find("label", LABEL, None, required=need_label)
        labels = (found,) if found else ()
    return Columns(
        sequence=chosen_sequence or "",
        labels=labels,
        split=finder.find("split", SPLIT, split, ambiguous_is_none=True),
        identifier=finder.find("identifier", IDENTIFIER, identifier, ambiguous_is_none=True),
    )


def normalise(name: str) -> str:
    """Fold what does not tell column names apart: case, and blanks and hyphens for underscores."""
    return re.sub(r"[\s\-]+", "_", name.strip()).casefold()


@dataclass
class _Finder:
    names: list[str]
    where: str

    def typed(self, role: str, wanted: str) -> str:
        """Return the column that the user typed."""
        if wanted in self.names:
            return wanted
        folded = [name for name in self.names if name.casefold() == wanted.casefold()]
        if len(folded) == 1:
            return folded[0]
        near = difflib.get_close_matches(wanted, self.names, n=1, cutoff=0.5)
        raise ColumnError(
            f"{self.where}there is no column {wanted!r}.",
            expected=f"one of the columns {self._listed()}",
            fix=f"did you mean --{role}-column {_quoted(near[0])}?" if near else f"--{role}-column NAME",
        )

    def find(
        self,
        role: str,
        groups: Groups,
        wanted: str | None,
        *,
        required: bool = False,
        ambiguous_is_none: bool = False,
    ) -> str | None:
        """Return the column of the first group that has one."""
        if wanted is not None:
            return self.typed(role, wanted)
        for group in groups:
            found = [name for name in self.names if normalise(name) in group]
            if len(found) == 1:
                return found[0]
            if found and not ambiguous_is_none:
                raise self._ambiguous(role, found)
        if required:
            raise self._missing(role, groups)
        return None

    def _ambiguous(self, role: str, found: list[str]) -> ColumnError:
        return ColumnError(
            f"{self.where}{len(found)} columns could be the {role}: {', '.join(map(repr, found))}.",
            expected=f"one {role} column",
            fix="choose with " + " or ".join(f"--{role}-column {_quoted(name)}" for name in found),
        )

    def _missing(self, role: str, groups: Groups) -> ColumnError:
        if role == "sequence" and any(map(_looks_like_sequence, self.names)):
            return ColumnError(
                f"{self.where}the first line holds a sequence where the column names should be.",
                expected="a header such as `sequence,label` in the first line",
                fix="add a header line",
            )
        usual = ", ".join(group[0] for group in groups[:3])
        return ColumnError(
            f"{self.where}no {role} column was found among {self._listed()}.",
            expected=f"a column named {usual} or the like",
            fix=f"--{role}-column NAME, with one of the columns above",
        )

    def _listed(self) -> str:
        shown = ", ".join(repr(name) for name in self.names[:30])
        return shown + (f", … ({len(self.names):,} in all)" if len(self.names) > 30 else "")


def _looks_like_sequence(name: str) -> bool:
    return re.fullmatch(r"[ACDEFGHIKLMNPQRSTVWYXUOBZJ*]{20,}", name.strip()) is not None


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.\-]+", name) else f"'{name}'"
