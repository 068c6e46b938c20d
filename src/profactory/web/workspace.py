"""The folders that the page may touch, and nothing else: runs, data, uploads."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from profactory.data.bundled import PREFIX, bundled_path, list_bundled
from profactory.data.catalog import find_entry, list_catalog
from profactory.data.description import read_description
from profactory.data.hub import parse_address
from profactory.data.reading import TABLE_SUFFIXES, suffix_of
from profactory.data.sources import SPLIT_WORDS
from profactory.errors import DataError, NotARunError, ReadError
from profactory.runs import Run
from profactory.structure.files import has_suffix
from profactory.structure.viewing import CHAINS

MAX_LISTED = 500
MAX_DEPTH = 3
KEPT_SECONDS = 24 * 3600
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VIEW = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Workspace:
    """Where the page works.

    Parameters
    ----------
    runs
        Folder of the runs, as typed; commands shown on the page use it as it is.
    data
        Folder of the user's tables, as typed.
    """

    runs: Path
    data: Path

    @property
    def uploads(self) -> Path:
        """Folder of uploaded tables; hidden, so that it is not taken for a run."""
        return self.runs / ".uploads"

    @property
    def results(self) -> Path:
        """Folder of what jobs wrote that is no run: predictions, evaluations, clean and divided data."""
        return self.runs / ".results"

    def new_result(self) -> Path:
        """Return an unused folder for the result of one job; it is not made."""
        return self.results / secrets.token_hex(8)

    def run_path(self, name: str) -> Path:
        """Return the path of a run of that name, whether it exists or not.

        Raises
        ------
        NotARunError
            The name could lead out of the folder.
        """
        if not _RUN_NAME.fullmatch(name):
            raise NotARunError(
                f"{name!r} cannot be the name of a run.",
                expected="letters, digits, '_', '-' and '.', not beginning with a dot",
                fix="choose another name",
            )
        return self.runs / name

    def open_run(self, name: str) -> Run:
        """Open the run of that name; NotARunError if there is none."""
        return Run.open(self.run_path(name))

    def data_choices(self) -> list[str]:
        """Return what can be chosen as data: bundled sets, tables and split folders, public sets."""
        bundled = [PREFIX + entry.name for entry in list_bundled()]
        public = [entry.name for entry in list_catalog()]
        return [*bundled, *(str(path) for path in self._tables()), *public]

    def _tables(self) -> list[Path]:
        found: list[Path] = []
        for place, names in self._walk():
            tables = [name for name in names if suffix_of(Path(name)) in TABLE_SUFFIXES]
            if place != self.data and any(
                Path(name.removesuffix(".gz")).stem in SPLIT_WORDS for name in tables
            ):
                found.append(place)
            found += [place / name for name in tables]
            if len(found) >= MAX_LISTED:
                break
        return found[:MAX_LISTED]

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        """Yield the data folder and those below it, each with the names of its files."""
        for folder, inner, names in os.walk(self.data):
            place = Path(folder)
            depth = len(place.relative_to(self.data).parts)
            inner[:] = sorted(name for name in inner if not name.startswith(".")) if depth < MAX_DEPTH else []
            yield place, sorted(names)

    def check_data(self, source: str) -> str:
        """Return what was chosen as data if the page may read it.

        Raises
        ------
        DataError
            Nothing was chosen, or a path leads outside the folders of the page: the path itself, or one
            that a data set description names.
        """
        if not source:
            raise DataError("No data were chosen.", fix="choose a data set, or upload a table")
        if source.startswith(PREFIX):
            bundled_path(source)
            return source
        if is_public(source):
            return source
        self._check_inside(source)
        if not Path(source).exists():
            raise ReadError(f"There is no {source}.", fix="choose again: the list is older than the page")
        self._check_description(source)
        return source

    def _check_description(self, source: str) -> None:
        """Check what a data set description names, if the file is one."""
        described = read_description(source)
        if described is None:
            return
        named = [str(file) for file, _ in described.files] + [described.source] * bool(described.source)
        for inner in named:
            if inner.startswith(PREFIX) or is_public(inner):
                continue
            self._check_inside(inner)

    def _check_inside(self, source: str) -> None:
        folders = (self.data, self.uploads, self.results)
        if not any(is_inside(Path(source), folder) for folder in folders):
            raise DataError(
                f"{source!r} is not in the data folder of this page.",
                expected=f"bundled:NAME, a public data set, an upload, or a path below {self.data}",
                fix="upload the table, or start profactory ui with --data FOLDER",
            )

    def structure_choices(self) -> list[str]:
        """Return the structure files below the data folder."""
        files = (place / name for place, names in self._walk() for name in names)
        return [str(file) for file in itertools.islice(filter(has_suffix, files), MAX_LISTED)]

    def check_structure(self, source: str) -> str:
        """Return what was chosen as a structure if the page may read it; DataError otherwise."""
        if not source:
            raise DataError("No structure was chosen.", fix="choose a PDB or mmCIF file, or upload one")
        self._check_inside(source)
        if not Path(source).is_file():
            raise ReadError(f"There is no {source}.", fix="choose again: the list is older than the page")
        return source

    def new_view(self) -> Path:
        """Return an unused folder for what is shown of a structure; it goes after a day, as uploads do."""
        return self.uploads / secrets.token_hex(8)

    def find_view(self, name: str) -> Path | None:
        """Return the folder of that name in which a structure was prepared; None if there is none."""
        folder = self.uploads / name
        return folder if _VIEW.fullmatch(name) and (folder / CHAINS).is_file() else None

    def keep_upload(self, file: Path, name: str, kinds: Collection[str] = TABLE_SUFFIXES) -> Path:
        """Move an uploaded file to a folder of its own with a random name; return where it is.

        Parameters
        ----------
        file
            Where it is now.
        name
            As the visitor calls it.
        kinds
            Suffixes that are taken, each also with ``.gz``.

        Raises
        ------
        ReadError
            The file is of another kind.
        """
        clean = _UNSAFE.sub("_", Path(name.replace("\\", "/")).name).lstrip(".")[-80:] or "upload"
        if suffix_of(Path(clean)) not in kinds:
            raise ReadError(
                f"{clean} is of no kind that can be used here.",
                expected=", ".join(kinds) + " (each also .gz)",
                fix="upload a file of one of these kinds",
            )
        target = self.uploads / secrets.token_hex(8) / clean
        target.parent.mkdir(parents=True)
        shutil.move(file, target)
        return target

    def forget_uploads(self, now: float | None = None) -> None:
        """Remove uploads that are a day old and that no run was trained on."""
        if not self.uploads.is_dir():
            return
        used = set(self._used_uploads())
        for folder in self.uploads.iterdir():
            age = (now or time.time()) - folder.stat().st_mtime
            if age > KEPT_SECONDS and folder.name not in used:
                shutil.rmtree(folder)

    def _used_uploads(self) -> Iterator[str]:
        for config in self.runs.glob("*/config.yaml"):
            data = str(Run(config.parent).config().get("data", ""))
            if is_inside(Path(data), self.uploads):
                yield Path(data).parent.name


def is_public(source: str) -> bool:
    """Whether a text names a data set of the catalogue or of the Hub, which is fetched when work starts."""
    try:
        if Path(source).exists():
            return False
    except (OSError, ValueError):
        return False
    return find_entry(source) is not None or parse_address(source) is not None


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, all links followed, is a folder or below it."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False  # a NUL, a circle of links, a name that is too long: not a path of ours
