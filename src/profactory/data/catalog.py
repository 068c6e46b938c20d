"""The catalogue of public data sets: what a name stands for, and what its labels mean."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from profactory.data.bundled import PREFIX, list_bundled
from profactory.errors import ReadError
from profactory.tasks import TaskKind


@dataclass(frozen=True)
class CatalogEntry:
    """A public data set.

    Parameters
    ----------
    name, title
        What the user types, and what it is.
    source
        Id on the Hugging Face Hub.
    task, classes
        Kind of the labels and their number; 0 classes for numbers.
    sequence, label
        Columns; empty where their names tell.
    variants
        Suffixes of data sets with the same rows and structure strings.
    """

    name: str
    source: str
    task: TaskKind
    title: str
    classes: int = 0
    sequence: str = ""
    label: str = ""
    variants: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready values."""
        return {**vars(self), "task": str(self.task), "variants": list(self.variants)}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of training that the entry fixes unless the user says otherwise."""
        found = {
            "sequence_column": self.sequence,
            "label_column": [self.label] if self.label else None,
            "task": self.task,
        }
        return {name: value for name, value in found.items() if value}


@cache
def _entries() -> dict[str, CatalogEntry]:
    text = Path(__file__).with_name("catalog.toml").read_text("utf-8")
    entries: dict[str, CatalogEntry] = {}
    for fields in tomllib.loads(text)["dataset"]:
        fields |= {"task": TaskKind(fields["task"]), "variants": tuple(fields.get("variants", ()))}
        entry = CatalogEntry(**fields)
        entries[entry.name] = entry
    return entries


def list_catalog() -> list[CatalogEntry]:
    """Return the public data sets, in the order of the file."""
    return list(_entries().values())


def find_entry(name: str) -> CatalogEntry | None:
    """Return the entry of a name, without regard to case, or None; ``NAME_AlphaFold2`` is a variant."""
    folded = {known.casefold(): entry for known, entry in _entries().items()}
    entry = folded.get(name.casefold())
    if entry is not None:
        return entry
    base, _, variant = name.rpartition("_")
    entry = folded.get(base.casefold())
    suffix = next((v for v in entry.variants if v.casefold() == variant.casefold()), "") if entry else ""
    if entry is None or not suffix:
        return None
    return replace(entry, name=f"{entry.name}_{suffix}", source=f"{entry.source}_{suffix}", variants=())


def unknown_name(name: str) -> ReadError:
    """Return the error for a name that neither a bundled nor a public data set has."""
    known = [*(entry.name for entry in list_bundled()), *_entries()]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=3, cutoff=0.5)
    return ReadError(
        f"There is no data set {name!r}.",
        expected="a name of `profactory datasets list`, a file, or a data set of the Hub: user/name",
        fix=f"did you mean {' or '.join(near)}?" if near else "see `profactory datasets list`",
    )
