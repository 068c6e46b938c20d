"""The run directory: what was asked, what happens, what came out.

::

    RUN/
      config.yaml  environment.json  data.json     what was asked, on what
      status.json  events.jsonl  log.txt           what happens
      ckpt/checkpoint-<step>/                      training state
      model/                                       the finished model
      report/                                      metrics, predictions, plots
      members/NAME/                                with folds or seeds: one run per model

Whoever writes into a run holds its lock (process id and start time), so that two processes never share one.
Every file but ``events.jsonl`` and ``log.txt`` is replaced as a whole; those two only grow, a line at a time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from profactory.errors import NotARunError, RunError, RunExistsError
from profactory.files import atomic_write_json
from profactory.runs.layout import (
    SCHEMA_VERSION,
    STATES,
    PlainFormatter,
    absolute,
    append_line,
    check_schema,
    damaged,
    exists,
    explained,
    gone,
    not_a_run,
    now,
    read_object,
    to_json,
    write_config,
    write_first_files,
)
from profactory.runs.lock import RunLock
from profactory.runs.processes import Owner

ACTIVE_STATES = ("preparing", "training", "evaluating")
#: What ProFactory writes at the top of a run. ``overwrite`` and ``delete`` refuse to remove anything else.
RUN_ENTRIES = frozenset(
    {
        "config.yaml",
        "environment.json",
        "data.json",
        "status.json",
        "events.jsonl",
        "log.txt",
        "ckpt",
        "model",
        "trackers",
    }
    | {
        "report",
        "lock.json",
        ".lock",
        "job.json",
        "rejected_rows.csv",
        "splits.csv",
        "members",
        "trials",
        "study.journal",
        "study.journal.lock",
    }
)


class Run:
    """A run directory. Made by :meth:`create` or :meth:`open`.

    Attributes
    ----------
    path
        The directory, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = RunLock(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def ckpt_dir(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "ckpt"

    @property
    def model_dir(self) -> Path:
        """Folder of the finished model."""
        return self.path / "model"

    @property
    def report_dir(self) -> Path:
        """Folder of metrics, predictions, plots."""
        return self.path / "report"

    @classmethod
    def create(cls, path: str | Path, config: Mapping[str, Any], *, overwrite: bool = False) -> Run:
        """Make a new run directory; it appears complete or not at all.

        Parameters
        ----------
        path
            Where. Must not exist, unless it is an empty directory or ``overwrite`` is set.
        config
            What was asked; goes to ``config.yaml`` and can be used again as it is with ``--config``.
        overwrite
            Replace an existing run. Only a run, and never one that another process works in.

        Raises
        ------
        RunExistsError
            The path is taken.
        RunLockedError
            The run to be replaced is at work.
        RunError
            The directory cannot be written.
        """
        target = absolute(path)
        with explained(target, "Cannot make the run directory"):
            old = cls.check_free(target, overwrite=overwrite)
            if old is not None:
                old.delete()
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = target.parent / f".{target.name}.{uuid.uuid4().hex[:12]}.new"
            staging.mkdir()
            try:
                write_first_files(staging, config)
                _rename_onto(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return cls(target)

    @classmethod
    def check_free(cls, path: str | Path, *, overwrite: bool = False) -> Run | None:
        """Check early, before any work, what :meth:`create` will check: that the path is free.

        Returns
        -------
        Run or None
            The run that `overwrite` allows to be replaced, if there is one.

        Raises
        ------
        RunExistsError
            The path is taken.
        """
        target = absolute(path)
        if not _is_taken(target):
            return None
        if not overwrite:
            raise exists(target)
        return cls._replaceable(target)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open an existing run.

        Raises
        ------
        NotARunError
            There is no run at the path (or it was written by a newer version).
        """
        target = absolute(path)
        status = target / "status.json"
        if not status.is_file() or not (target / "config.yaml").is_file():
            raise not_a_run(target)
        check_schema(status, read_object(status))
        return cls(target)

    @classmethod
    def _replaceable(cls, target: Path) -> Run:
        try:
            return cls.open(target)
        except NotARunError as error:
            raise RunExistsError(
                f"{target} exists and is not a run directory.",
                expected="--overwrite replaces runs only",
                fix="choose another --out, or remove it yourself",
            ) from error

    def delete(self) -> None:
        """Remove the run directory.

        Raises
        ------
        RunLockedError
            A process works in it.
        RunError
            It holds files that ProFactory did not write, or cannot be removed.
        """
        with explained(self.path, "Cannot look into the run directory"):
            foreign = sorted(entry.name for entry in self.path.iterdir() if not _is_ours(entry.name))
        if foreign:
            raise RunError(
                f"{self.path} holds files that are no part of a run: {', '.join(foreign[:10])}.",
                expected="a directory with nothing but a run, when it is to be removed",
                fix="move them away, or remove the directory yourself",
            )
        with explained(self.path, "Cannot remove the run directory"), self.lock():
            # Renamed first: a half removed run must not look like a run.
            doomed = self.path.parent / f".{self.path.name}.{uuid.uuid4().hex[:12]}.old"
            self.path.rename(doomed)
            shutil.rmtree(doomed)

    def config(self) -> dict[str, Any]:
        """What was asked (``config.yaml``)."""
        import yaml

        source = self.path / "config.yaml"
        with explained(self.path, "Cannot read config.yaml"):
            text = source.read_text(encoding="utf-8")
        try:
            config: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise damaged(source, str(error)) from error
        if not isinstance(config, dict):
            raise damaged(source, "it is not a list of settings")
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace ``config.yaml``."""
        with explained(self.path, "Cannot write config.yaml"):
            write_config(self.path, config)

    def owner(self) -> Owner | None:
        """Return the living process that holds the lock, if any."""
        return self._lock.owner()

    def last_owner(self) -> Owner | None:
        """Return the process that holds the lock, or that died holding it."""
        return self._lock.last_owner()

    @contextlib.contextmanager
    def lock(self) -> Iterator[Run]:
        """Hold the run for this process; may be nested on the same object.

        A lock that a dead process left behind is taken over, with a message.

        Raises
        ------
        RunLockedError
            Another process holds it.
        RunError
            The run directory is gone or cannot be written.
        """
        self._lock.acquire()
        try:
            yield self
        finally:
            self._lock.release()

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event to ``events.jsonl``: an object with ``time``, ``event`` and the fields.

        The line is written in one piece; numbers that JSON does not know (nan, inf) become null.
        """
        line = to_json({"time": now(), "event": event, **fields}).encode("utf-8") + b"\n"
        with explained(self.path, "Cannot write events.jsonl"):
            append_line(self.path / "events.jsonl", line)

    def events(self) -> Iterator[dict[str, Any]]:
        """The events so far, oldest first. A torn last line (the process was killed) is left out."""
        source = self.path / "events.jsonl"
        if not source.exists():
            return
        with explained(self.path, "Cannot read events.jsonl"), source.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        yield event

    def set_status(self, state: str, **fields: Any) -> None:
        """Write ``status.json``: the state, and fields that are added to those before (None removes one).

        ``error`` and ``signal`` of an earlier failure go away with the next state.
        """
        if state not in STATES:
            raise ValueError(f"{state!r} is none of the states {STATES}")
        status = self.path / "status.json"
        with explained(self.path, "Cannot write status.json"):
            if not self.path.is_dir():
                raise gone(self.path)
            old = read_object(status) if status.exists() else {}
            kept = {key: value for key, value in old.items() if key not in ("error", "signal")}
            new = {**kept, **fields, "schema_version": SCHEMA_VERSION, "state": state, "updated": now()}
            atomic_write_json(status, json.loads(to_json({k: v for k, v in new.items() if v is not None})))

    def status(self) -> dict[str, Any]:
        """The state and all that was noted beside it; ``died`` if the process that worked here is gone."""
        status = read_object(self.path / "status.json")
        if status.get("state") in ACTIVE_STATES and self.owner() is None:
            # The process may have ended properly between the two looks: the last word is the file's.
            status = read_object(self.path / "status.json")
            if status.get("state") in ACTIVE_STATES:
                return {**status, "state": "died", "died_while": status["state"]}
        return status

    def log_handler(self) -> logging.Handler:
        """A handler that appends to ``log.txt``; close it when done."""
        with explained(self.path, "Cannot write log.txt"):
            handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(PlainFormatter())
        return handler

    @contextlib.contextmanager
    def logged(self, logger: str = "profactory") -> Iterator[None]:
        """While inside, what the logger says goes to ``log.txt`` too."""
        handler = self.log_handler()
        logging.getLogger(logger).addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger(logger).removeHandler(handler)
            handler.close()


def _is_ours(name: str) -> bool:
    return name in RUN_ENTRIES or (name.startswith(".") and name.endswith(".tmp"))  # left by a killed write


def _is_taken(target: Path) -> bool:
    if not os.path.lexists(target):
        return False
    return not target.is_dir() or target.is_symlink() or any(target.iterdir())


def _rename_onto(staging: Path, target: Path) -> None:
    """Rename; of several processes at most one succeeds: a directory with content is never replaced."""
    try:
        staging.rename(target)
    except OSError as error:
        if not os.path.lexists(target):
            raise
        raise exists(target) from error
