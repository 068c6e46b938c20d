"""Files that are either whole or not there: atomic writes, hashes, the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from profactory.errors import ProFactoryError

CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\.(?P<pid>\d+)-[0-9a-f]{8}\.tmp")


def cache_dir() -> Path:
    """Return the folder for everything that can be computed again.

    ``PROFACTORY_CACHE`` if set, else ``$XDG_CACHE_HOME/profactory`` or ``~/.cache/profactory``.
    """
    chosen = os.environ.get("PROFACTORY_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "profactory"


def temporary_sibling(path: Path) -> Path:
    """Return an unused name beside `path`, on the same file system, for a later rename."""
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def remove_leftovers(path: Path) -> None:
    """Remove the temporary siblings of `path` that processes left which live no more."""
    import psutil

    beginning = f".{path.name}"
    for file in path.parent.glob(".*.tmp"):
        found = _TEMPORARY.fullmatch(file.name[len(beginning) :]) if file.name.startswith(beginning) else None
        if found and file.is_file() and not psutil.pid_exists(int(found["pid"])):
            file.unlink(missing_ok=True)


def fsync_path(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; on success it is flushed and renamed to `path`, else removed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        yield temporary
        fsync_path(temporary)
        temporary.replace(target)
        fsync_path(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` so that a reader sees the old file or the new one, never a part."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused, since JSON has none."""
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def atomic_dir(path: str | Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield an empty temporary folder; on success it is flushed and renamed to `path`.

    An existing folder at `path` is replaced; on failure it stays as it was.

    Parameters
    ----------
    path
        The folder to be made.
    flush
        Wait until all is on the disk; needless where what a power failure damaged is found by its hash and
        made again, as in a cache.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    temporary.mkdir()
    try:
        yield temporary
        for file in (*sorted(temporary.rglob("*")), temporary) if flush else ():
            fsync_path(file)
        _swap_in(temporary, target)
        if flush:
            fsync_path(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap_in(temporary: Path, target: Path) -> None:
    """Rename a folder over another; a rename alone refuses a target that is not empty."""
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        old = temporary_sibling(target)
        target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old, ignore_errors=True)


def counted(count: int, one: str, many: str) -> str:
    """Write a number with what it counts.

    Examples
    --------
    >>> counted(1, "row repeats", "rows repeat"), counted(1234, "row", "rows")
    ('1 row repeats', '1,234 rows')
    """
    return f"{count:,} {one if count == 1 else many}"


def readable_bytes(count: int) -> str:
    """Return a size for people.

    Examples
    --------
    >>> readable_bytes(1_500_000), readable_bytes(2_000_000_000)
    ('1.50 MB', '2.00 GB')
    """
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{max(count / 1e6, 0.01):.2f} MB"


def ensure_room(target: Path, needed: int, kept: str) -> None:
    """Refuse to begin a file for which the disk has no room; see :func:`disk_room`.

    Raises
    ------
    ProFactoryError
        Naming the space that is needed and the space that is free.
    """
    free = _free(target)
    if free < needed:
        raise _no_room(target, "the disk has no room for it", kept, needed)


@contextlib.contextmanager
def disk_room(target: Path, kept: str, needed: Callable[[], int] | None = None) -> Iterator[None]:
    """Turn a disk that is full while `target` is made into one clear error.

    Parameters
    ----------
    target
        The file, named in the error with the space that is free there.
    kept
        What is not lost, and how to go on: a clause.
    needed
        Estimates the bytes that are missing, when they are; 0 if nobody knows.

    Raises
    ------
    ProFactoryError
        The disk, a quota or a limit of the file size left no room.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # some libraries wrap what the system said
        code = _code_of(error)
        if code is None:
            raise
        raise _no_room(target, os.strerror(code), kept, needed() if needed else 0) from error


def _code_of(error: OSError | RuntimeError) -> int | None:
    """Return why there is no room; None if it is something else."""
    code = getattr(error, "errno", None)
    found = [one for one in _FULL if one == code or os.strerror(one) in str(error)]
    return found[0] if found else None


def _no_room(target: Path, reason: str, kept: str, needed: int) -> ProFactoryError:
    folder, free = target.absolute().parent, readable_bytes(_free(target))
    amount = f"about {readable_bytes(needed)} of" if needed else "more"
    return ProFactoryError(
        f"{target} cannot be written: {reason}.",
        expected=f"{amount} free disk space in {folder} ({free} are free)",
        fix=f"free some space, or choose another --out; {kept}",
    )


def _free(target: Path) -> int:
    folder = next(place for place in target.absolute().parents if place.is_dir())
    return shutil.disk_usage(folder).free


def read_json(path: str | Path) -> Any:
    """Read a JSON file written by us."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading it once in flat memory."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
