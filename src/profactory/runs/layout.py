"""The files of a run directory: how they are written, read, checked, and how their errors are told."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from profactory.errors import NotARunError, RunError, RunExistsError, RunLockedError
from profactory.files import atomic_write_json, atomic_write_text, read_json
from profactory.runs.processes import Owner

SCHEMA_VERSION = 1
STATES = ("created", "preparing", "training", "evaluating", "finished", "failed", "stopped")
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class PlainFormatter(logging.Formatter):
    """One line per message with the time in UTC; terminal escapes are shown, not sent."""

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return time.strftime(datefmt or "%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL_CHARACTERS.sub(lambda found: f"\\x{ord(found.group()):02x}", super().format(record))


def absolute(path: str | Path) -> Path:
    """Make a path absolute without following links."""
    return Path(os.path.abspath(Path(path).expanduser()))


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_first_files(folder: Path, config: Mapping[str, Any]) -> None:
    """Write what makes a directory a run."""
    write_config(folder, config)
    moment = now()
    status = {"schema_version": SCHEMA_VERSION, "state": "created", "created": moment, "updated": moment}
    atomic_write_json(folder / "status.json", status)


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.yaml`` from plain values, enums and paths."""
    import yaml

    if not folder.is_dir():
        raise gone(folder)
    settings = json.loads(to_json(config))
    atomic_write_text(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def append_line(path: Path, line: bytes) -> None:
    """Append one line in one piece, apart from a line that was torn before it."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line  # the line before was torn by a kill or a full disk: keep this one apart
        written = os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if written != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def to_json(value: Any) -> str:
    """JSON on one line; see :func:`plain`."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Mappings, sequences, numpy scalars and paths as JSON knows them; nan and inf as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run; damaged files are named."""
    with explained(path.parent, f"Cannot read {path.name}"):
        try:
            content = read_json(path)
        except ValueError as error:
            raise damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a JSON object")
    return content


def check_schema(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what is not the status of a run, or of one that is too new."""
    version = content.get("schema_version")
    if not isinstance(version, int) or content.get("state") not in STATES:
        raise NotARunError(
            f"{path} is not the status of a ProFactory run.",
            expected="a directory written by profactory train",
            fix="profactory runs list shows the runs",
        )
    if version > SCHEMA_VERSION:
        raise NotARunError(
            f"{path.parent} was written by a newer ProFactory (layout {version}).",
            expected=f"layout {SCHEMA_VERSION} or older",
            fix="update: pip install --upgrade profactory",
        )


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn an error of the system into one that names the run and says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        if not path.exists():
            raise gone(path) from error
        raise RunError(f"{what} of {path}: {error.strerror}.", fix=f"look at {error.filename}") from error
    except OSError as error:
        raise RunError(
            f"{what} ({path}): {error.strerror or error}.",
            expected="a directory that can be read and written, on a disk with free space",
            fix="check its permissions and the free space, or choose another --out",
        ) from error


def gone(path: Path) -> RunError:
    """The run directory has disappeared."""
    return RunError(
        f"The directory {path} does not exist (any more).",
        expected="it stays where it is while a run is at work",
        fix="profactory runs list shows the runs; start again with profactory train",
    )


def exists(path: Path) -> RunExistsError:
    """The path is taken."""
    return RunExistsError(
        f"{path} exists already.",
        expected="a path that is free: nothing is overwritten unasked",
        fix=f"choose another --out, go on with profactory resume {path}, or replace it with --overwrite",
    )


def not_a_run(path: Path) -> NotARunError:
    """There is no run at the path."""
    found = f"{path} is not a run directory." if path.exists() else f"There is no run {path}."
    return NotARunError(
        found,
        expected="a directory with config.yaml and status.json, written by profactory train",
        fix="profactory runs list shows the runs",
    )


def damaged(path: Path, reason: str) -> RunError:
    """A file of the run cannot be understood."""
    return RunError(
        f"{path} is damaged: {reason}.",
        expected="the file as ProFactory wrote it",
        fix="train again, or restore it",
    )


def locked(path: Path, owner: Owner) -> RunLockedError:
    """Another process works in the run."""
    here = "" if owner.is_local else f" on the machine {owner.host}"
    remedy = f"profactory runs logs {path} --follow shows it; profactory runs stop {path} ends it"
    if not owner.is_local:
        remedy = f"stop it there; if that machine is gone for good, remove {path / 'lock.json'}"
    return RunLockedError(
        f"The run {path} is at work in process {owner.pid}{here} since {owner.since}.",
        expected="one process per run",
        fix=remedy,
    )
