"""Which files a data argument names, which split each of them is, and what else the name tells."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profactory.data.bundled import bundled_path
from profactory.data.catalog import find_entry, unknown_name
from profactory.data.description import read_description
from profactory.data.hub import NO_TABLES, fetch_data, parse_address
from profactory.data.reading import TABLE_SUFFIXES, missing_file, suffix_of
from profactory.errors import ReadError

logger = logging.getLogger("profactory")

SPLITS = ("train", "validation", "test")
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_SHARD = re.compile(r"[-_.].*\Z")


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set.

    Parameters
    ----------
    path
        The file.
    split
        ``train``, ``validation`` or ``test`` if the file's name says so, else empty.
    """

    path: Path
    split: str = ""


def find_sources(source: str | Path) -> list[SourceFile]:
    """Return the files of a data set in a fixed order.

    Parameters
    ----------
    source
        A file; a folder with ``train``, ``validation`` (``valid``, ``val``, ``dev``) and ``test`` files, or
        shards of them (``train-0001.parquet``), or folders of these names; a folder of shards; a pattern
        such as ``data/part-*.csv``; the name of a bundled set, with or without ``bundled:``; a name of the
        catalogue, or a data set of the Hub, ``user/name``; a data set description in JSON.

    Raises
    ------
    ReadError
        Nothing is there, a folder holds no tables, or two files claim to be the same split.
    """
    path = Path(source)
    if not _exists(path):
        bundled = bundled_path(str(source))
        if bundled is not None:
            return [SourceFile(bundled)]
        if glob.has_magic(str(source)):
            return _matching(str(source))
        return _from_hub(str(source))
    if path.is_dir():
        return _in_folder(path)
    description = read_description(path)
    if description is None:
        return [SourceFile(path)]
    if description.unused:
        logger.info("%s: not used: %s", path, ", ".join(description.unused))
    if description.files:
        return [SourceFile(file, split) for file, split in description.files]
    return find_sources(description.source)


def settings_of(source: str | Path) -> dict[str, Any]:
    """Return the settings of training that a data argument brings along: columns, task, monitor, transform.

    A description in JSON and an entry of the catalogue do; whatever the user types goes before.
    """
    if _exists(Path(source)):
        description = read_description(source)
        if description is None:
            return {}
        inner = settings_of(description.source) if description.source else {}
        return {**inner, **description.settings}
    entry = find_entry(str(source))
    return entry.settings if entry else {}


def durable_name(source: str) -> str:
    """Return a name that means the same data from any folder and at any time: a run writes it down.

    Bundled sets keep their name, a data set of the Hub is pinned to its commit, all else becomes an absolute
    path. An entry of the catalogue keeps its name too, for that also tells its columns.
    """
    if _exists(Path(source)) or glob.has_magic(source):
        return str(Path(source).absolute())
    address = parse_address(source)
    if address is None or bundled_path(source) is not None:
        return source
    return str(fetch_data(address).address)


def _from_hub(name: str) -> list[SourceFile]:
    """Fetch a data set by its name in the catalogue or on the Hub."""
    entry = find_entry(name)
    address = parse_address(entry.source if entry else name)
    if address is None:
        looks_like_file = "/" in name or "." in name or "\\" in name
        raise missing_file(Path(name)) if looks_like_file else unknown_name(name)
    fetched = fetch_data(address)
    if not fetched.files:
        return _in_folder(fetched.folder)
    return [SourceFile(path, SPLIT_WORDS.get(split.casefold(), "")) for path, split in fetched.files]


def split_of_name(name: str) -> str:
    """Return the split that a file or folder name stands for, or the empty text."""
    stem = _stem(name)
    return SPLIT_WORDS.get(stem) or SPLIT_WORDS.get(_SHARD.sub("", stem), "")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False  # too long, or with a NUL: no path at all


def _matching(pattern: str) -> list[SourceFile]:
    paths = [Path(name) for name in sorted(glob.glob(pattern)) if Path(name).is_file()]
    if not paths:
        raise ReadError(
            f"No file matches {pattern!r}.",
            expected="a pattern such as 'data/part-*.csv'",
            fix="check the folder and the quotes around the pattern",
        )
    return [SourceFile(path) for path in paths]


def _in_folder(folder: Path) -> list[SourceFile]:
    tables = _tables(folder)
    files = [SourceFile(path, split_of_name(path.name)) for path in tables]
    named = [file for file in files if file.split]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        split = SPLIT_WORDS.get(inner.name.casefold(), "")
        if split:
            named += [SourceFile(path, split) for path in _tables(inner)]
    if named:
        _check_unique(folder, named)
        ignored = [file.path.name for file in files if not file.split]
        if ignored:
            logger.info("%s: read only the split files; left out %s", folder, ", ".join(ignored))
        return sorted(named, key=lambda file: (SPLITS.index(file.split), str(file.path)))
    if not files:
        raise ReadError(
            f"{folder}: the folder holds no table.",
            expected="train, validation and test files, or shards of one table: " + ", ".join(TABLE_SUFFIXES),
            fix="name the folder that holds the tables",
        )
    return files


def _tables(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "_")))
    return sorted(path for path in paths if suffix_of(path) in TABLE_SUFFIXES and path.name not in NO_TABLES)


def _check_unique(folder: Path, named: Sequence[SourceFile]) -> None:
    """Refuse ``valid.csv`` beside ``val.csv``, or ``train.csv`` beside ``train.parquet``."""
    for split in SPLITS:
        whole = [
            file.path.name for file in named if file.split == split and _stem(file.path.name) in SPLIT_WORDS
        ]
        of_split = [file for file in named if file.split == split]
        if len(whole) > 1 or (whole and len(of_split) > 1):
            names = ", ".join(sorted(file.path.name for file in of_split))
            raise ReadError(
                f"{folder}: several files claim to be the {split} split: {names}.",
                expected=f"one {split} file, or numbered shards of it such as {split}-0001.csv",
                fix="move the others out of the folder",
            )


def _stem(name: str) -> str:
    return Path(name.lower().removesuffix(".gz")).stem
