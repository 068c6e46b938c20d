"""Small real data sets inside the package, so that everything can be tried offline.

Where they come from and how they were sampled: ``bundled/README.md`` beside this file; made by
``recipes/demo_data/make.py``.
"""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from pathlib import Path

from profactory.errors import ReadError
from profactory.files import read_json
from profactory.tasks import TaskKind

PREFIX = "bundled:"
FOLDER = Path(__file__).with_name("bundled")


@dataclass(frozen=True)
class BundledSet:
    """One demonstration set.

    Parameters
    ----------
    name, title
        What the user types, and what it is.
    task
        Kind of the labels in column ``label``.
    rows, residues, max_length
        Number of sequences, of residues in all, and the length of the longest allowed.
    splits
        Rows in train, validation and test.
    licence, source
        Of the data; cite the source.
    sha256
        Of the gzipped CSV file.
    """

    name: str
    title: str
    task: TaskKind
    rows: int
    residues: int
    max_length: int
    splits: dict[str, int]
    split: str
    licence: str
    source: str
    sha256: str

    @property
    def path(self) -> Path:
        """The CSV file (gzipped) in the package."""
        return FOLDER / f"{self.name}.csv.gz"


@functools.cache
def _index() -> dict[str, BundledSet]:
    entries = (
        BundledSet(**{**entry, "task": TaskKind(entry["task"])}) for entry in read_json(FOLDER / "index.json")
    )
    return {entry.name: entry for entry in entries}


def list_bundled() -> list[BundledSet]:
    """Return the demonstration sets, one or two for each task."""
    return list(_index().values())


def bundled_path(name: str) -> Path | None:
    """Return the file of a demonstration set, or None if the name is none of ours.

    ``demo-location`` and ``bundled:demo-location`` mean the same. A name with the prefix can mean nothing
    else, so one that is unknown is an error that offers the nearest names.

    Raises
    ------
    ReadError
        ``bundled:`` with an unknown name.
    """
    entry = _index().get(name.removeprefix(PREFIX))
    if entry is not None:
        return entry.path
    if name.startswith(PREFIX):
        near = difflib.get_close_matches(name.removeprefix(PREFIX), _index(), n=3, cutoff=0.4)
        raise ReadError(
            f"There is no bundled data set {name.removeprefix(PREFIX)!r}.",
            expected="one of " + ", ".join(_index()),
            fix=f"did you mean {' or '.join(near)}?" if near else "",
        )
    return None
