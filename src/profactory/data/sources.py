"""Which files a data argument names, and which split each of them is."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profactory.data.bundled import bundled_path
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
        such as ``data/part-*.csv``; the name of a bundled set, with or without ``bundled:``.

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
        raise missing_file(path)
    return _in_folder(path) if path.is_dir() else [SourceFile(path)]


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
    return sorted(path for path in paths if suffix_of(path) in TABLE_SUFFIXES)


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
