"""A model folder as one zip file, opened as a file that anybody may have written.

Nothing is unpacked before every entry was looked at: its name, its kind, its declared size. What is
unpacked goes into the cache under the hash of the file, so that it is unpacked once.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
from pathlib import Path

from profactory.errors import ModelLoadError, RunExistsError
from profactory.files import atomic_dir, atomic_file, cache_dir, sha256_file

SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".md")
MAX_ENTRIES = 2000
#: Unpacked bytes for each packed one; weights hardly shrink, and text rarely more than tenfold.
MAX_RATIO = 100
_PART = re.compile(r"[A-Za-z0-9_][\w.-]{0,127}", re.ASCII)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_CHUNK = 1 << 20
_MADE = (1980, 1, 1, 0, 0, 0)  # the same model gives the same bytes


def write_bundle(folder: Path, file: Path, *, overwrite: bool = False) -> Path:
    """Write a model folder as one file.

    Raises
    ------
    RunExistsError
        `file` exists, and not `overwrite`.
    ModelLoadError
        The folder holds a file that no model has.
    """
    if file.exists() and not overwrite:
        raise RunExistsError(f"{file} exists already.", fix="choose another --out, or add --overwrite")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    names = [path.relative_to(folder).as_posix() for path in files]
    for name in names:
        _check_name(folder, name)
    with atomic_file(file) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, path in zip(names, files, strict=True):
            packed = zipfile.ZIP_STORED if path.suffix == ".safetensors" else zipfile.ZIP_DEFLATED
            entry = zipfile.ZipInfo(name, _MADE)
            entry.compress_type = packed
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink, _CHUNK)
    return file


def open_bundle(file: Path) -> Path:
    """Return the folder of a bundle's model, unpacked in the cache.

    Raises
    ------
    ModelLoadError
        It is no zip file, is damaged, or holds anything that a model folder does not.
    """
    folder = cache_dir() / "bundles" / sha256_file(file)[:32]
    if folder.is_dir():
        return folder
    try:
        with zipfile.ZipFile(file) as archive:
            entries = _checked_entries(file, archive)
            with atomic_dir(folder) as made:
                for entry in entries:
                    _unpack(file, archive, entry, made / entry.filename)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise _refused(file, f"it is damaged or no zip file ({error})") from error
    except (ValueError, UnicodeError) as error:
        raise _refused(file, f"an entry cannot be read ({error})") from error
    return folder


def _checked_entries(file: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the entries if all of them are what a model folder has; refuse all of them otherwise."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise _refused(file, f"it has {len(entries):,} entries; {MAX_ENTRIES:,} are allowed")
    for entry in entries:
        _check_name(file, entry.orig_filename)
        _check_kind(file, entry)
    lower = [entry.filename.lower() for entry in entries]
    twice = sorted({name for name in lower if lower.count(name) > 1})
    if twice:
        raise _refused(file, f"two entries are called {twice[0]!r}, upper and lower case taken as one")
    total, free = sum(entry.file_size for entry in entries), shutil.disk_usage(_existing(cache_dir())).free
    if total > free:
        raise _refused(file, f"it unpacks to {total:,} bytes and {free:,} are free")
    if "config.json" not in lower:
        raise _refused(file, "config.json is missing")
    return entries


def _check_name(file: Path, name: str) -> None:
    """Allow relative paths of plain names with the endings that model files have, and nothing else."""
    parts = name.split("/")
    plain = all(_PART.fullmatch(part) and not _RESERVED.fullmatch(part) for part in parts)
    if not plain or len(parts) > 5 or not name.endswith(SUFFIXES):
        raise _refused(file, f"the name {name[:100]!r} is none that a model folder has")


def _check_kind(file: Path, entry: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or entry.is_dir():
        raise _refused(file, f"{entry.filename!r} is no ordinary file")
    if entry.flag_bits & 0x1:
        raise _refused(file, f"{entry.filename!r} is encrypted")
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1024):
        raise _refused(file, f"{entry.filename!r} unpacks to more than {MAX_RATIO} times its size")


def _unpack(file: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Write one entry; stop where it turns out larger than declared."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as sink:
        while block := source.read(_CHUNK):
            left -= len(block)
            if left < 0:
                raise _refused(file, f"{entry.filename!r} is larger than it says")
            sink.write(block)
    if left:
        raise _refused(file, f"{entry.filename!r} is smaller than it says")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _refused(file: Path, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"{file} is not a model in one file: {reason}.",
        expected="a file as `profactory export --format zip` writes it",
        fix="copy or download it again; do not use it if it comes from a stranger",
    )
