"""From what the user typed to a validated data set: read once, checked once, kept in the cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profactory.data.columns import Columns
from profactory.data.dataset import (
    DATA_FILE,
    FILE,
    LINE,
    META_FILE,
    REJECTED_FILE,
    VERSION,
    Dataset,
    open_arrow,
)
from profactory.data.ingest import Ingested, Reading, ingest
from profactory.data.labels import CheckedLabels, check_labels
from profactory.data.overlap import count_overlaps
from profactory.data.problems import Problems, stored_problems
from profactory.data.reading import Join
from profactory.data.reading.detect import check_is_file
from profactory.data.sources import SourceFile, find_sources, settings_of
from profactory.data.storing import take_hashes
from profactory.errors import ColumnError, ConfigError, DataError, Problem, ReadError, RowError
from profactory.files import atomic_dir, atomic_file, atomic_write_json, cache_dir, sha256_bytes, sha256_file
from profactory.tasks import Task, TaskKind

logger = logging.getLogger("profactory")

AnyRowError = TypeVar("AnyRowError", bound=RowError)


@dataclass(frozen=True)
class Prepared:
    """A data set that can be used, and what was found on the way.

    Parameters
    ----------
    dataset
        The usable rows.
    task, task_reason
        What the labels are, and why; None without labels, and then why those of a column with the name of a
        label are none (empty if there is no such column).
    rejected
        Rows left out (``bad_rows="drop"``), the first 10,000; ``counts["rejected"]`` is the number of all,
        :meth:`all_rejected` reads them.
    counts
        ``rows_read`` = ``used`` + ``rejected``; ``rejected_by``; the residue policy's counts; ``splits``;
        ``duplicates`` and ``contradictory`` sequences; ``in_train`` (rows of validation and test whose
        sequence is also in train).
    """

    dataset: Dataset
    task: Task | None
    task_reason: str
    rejected: list[Problem] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)

    def all_rejected(self) -> Iterator[list[Problem]]:
        """Yield every row that was left out, as they stand in the files, some thousand at a time."""
        files = [source["path"] for source in self.dataset.sources]
        return stored_problems(self.dataset.path / REJECTED_FILE, files)


class NoUsableRowError(RowError):
    """Not one row of a data set can be used.

    Attributes
    ----------
    files
        Path, split and size of each file.
    columns, counts
        As of a :class:`Prepared`.
    """

    files: list[dict[str, Any]]
    columns: dict[str, Any]
    counts: dict[str, Any]


#: Told of all rejected rows, some thousand at a time, where there is no data set to read them from.
KeepRejected = Callable[[Iterator[list[Problem]]], object]


def prepare_dataset(
    source: str | Path,
    *,
    sequence_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    split_column: str | None = None,
    task: TaskKind | Task | None = None,
    need_labels: bool = True,
    bad_rows: Literal["error", "drop"] = "error",
    header_pattern: str | None = None,
    limit: int | None = None,
    sample: float | None = None,
    seed: int = 0,
    join: Join | None = None,
    cache: str | Path | None = None,
    keep_rejected: KeepRejected | None = None,
) -> Prepared:
    """Read, check and keep a data set; the second time it is only verified and opened.

    Parameters
    ----------
    source
        A file of any supported format, a folder of split files or shards, a pattern, a bundled name, a name
        of the catalogue or the Hub, a description in JSON: see :func:`profactory.data.sources.find_sources`.
    sequence_column, label_column, split_column
        Column names; found by name if None. Several label columns make a regression with several targets.
    task
        Kind of task; inferred if None. A fitted :class:`Task` (of a trained model) also fixes the classes.
    need_labels
        Whether a table without labels is an error. Labels that are there are checked in any case.
    bad_rows
        ``error`` refuses data with unusable rows and names all; ``drop`` leaves them out and reports them.
    header_pattern
        For FASTA: a regular expression whose named groups become columns.
    limit
        Read at most so many rows (of each split, where files are splits).
    sample
        Keep this share of the rows, drawn with `seed`.
    seed
        For `sample`.
    join
        Adds columns to each table while it is read.
    cache
        Folder for validated data sets; ``cache_dir()/datasets`` if None.
    keep_rejected
        With ``drop``: gets all rejected rows if not one can be used, before the error is raised.

    Raises
    ------
    ReadError, ColumnError, RowError
        A file cannot be read; a column is missing or ambiguous; rows cannot be used, or
        (:class:`NoUsableRowError`) not one can.
    """
    _check_options(bad_rows, limit, sample)
    files = find_sources(source)
    for file in files:
        check_is_file(file.path)
    brought = settings_of(source)
    task = task or brought.get("task")
    label_column = label_column or brought.get("label_column")
    given = [label_column] if isinstance(label_column, str) else list(label_column or [])
    reading = Reading(
        sequence=sequence_column or brought.get("sequence_column"),
        labels=tuple(given),
        split=split_column,
        model_labels=task.targets if isinstance(task, Task) else (),
        need_labels=need_labels,
        header_pattern=header_pattern,
        limit=limit,
        sample=sample,
        seed=seed,
    )
    sources = [_describe(file) for file in files]
    folder = Path(cache) if cache else cache_dir() / "datasets"
    folder = folder / _key(sources, reading, task, bad_rows, join)
    kept = _from_cache(folder)
    if kept is not None:
        return kept
    with atomic_dir(folder, flush=False) as temporary:
        _Preparation(str(source), files, reading, bad_rows, join, keep_rejected).run(temporary, sources, task)
    return _load(folder, verify=False)


def _check_options(bad_rows: str, limit: int | None, sample: float | None) -> None:
    if bad_rows not in ("error", "drop"):
        raise ConfigError(f"bad_rows is {bad_rows!r}.", expected="'error' or 'drop'")
    if limit is not None and limit < 1:
        raise ConfigError(f"The limit is {limit}.", expected="at least 1 row", fix="--limit 1000")
    if sample is not None and not 0 < sample <= 1:
        raise ConfigError(
            f"The sample is {sample}.", expected="a share above 0 and up to 1", fix="--sample 0.1"
        )


def _describe(file: SourceFile) -> dict[str, Any]:
    path = file.path
    try:
        size, digest = path.stat().st_size, sha256_file(path)
    except OSError as error:
        raise ReadError(f"{path}: the file cannot be read ({error}).", fix="check its permissions") from error
    return {"path": str(path), "split": file.split, "size": size, "sha256": digest}


def _key(
    sources: list[dict[str, Any]],
    reading: Reading,
    task: TaskKind | Task | None,
    bad_rows: str,
    join: Join | None,
) -> str:
    wanted = task.to_dict() if isinstance(task, Task) else task
    description = {
        "version": VERSION,
        "sources": sources,
        "reading": vars(reading),
        "task": wanted,
        "bad_rows": bad_rows,
    }
    if join is not None:
        description["join"] = join.key
    return sha256_bytes(json.dumps(description, sort_keys=True).encode())[:32]


def _from_cache(folder: Path) -> Prepared | None:
    if not folder.exists():
        return None
    try:
        return _load(folder)
    except DataError as error:
        logger.warning("%s It is made again.", error.found)
        return None


def _load(folder: Path, *, verify: bool = True) -> Prepared:
    dataset = Dataset.open(folder, verify=verify)
    kept = dataset.meta
    return Prepared(
        dataset,
        Task.from_dict(kept["task"]) if kept["task"] else None,
        kept["task_reason"],
        [Problem(**problem) for problem in kept["rejected"]],
        kept["counts"],
    )


@dataclass
class _Preparation:
    """The work behind :func:`prepare_dataset` when the cache cannot help."""

    source: str
    files: list[SourceFile]
    reading: Reading
    bad_rows: str
    join: Join | None = None
    keep_rejected: KeepRejected | None = None
    problems: Problems = field(default_factory=Problems)
    no_task: str = ""

    def run(self, folder: Path, sources: list[dict[str, Any]], wanted: TaskKind | Task | None) -> None:
        """Write ``data.arrow``, ``meta.json`` and, if rows are left out, ``rejected.arrow`` into `folder`."""
        store = folder / REJECTED_FILE if self.bad_rows == "drop" else None
        self.problems = Problems(store, [str(file.path) for file in self.files])
        data = folder / DATA_FILE
        ingested = ingest(self.files, self.reading, data, self.problems, self.join)
        table = open_arrow(data)
        if not table.num_rows:
            raise self._nothing_usable(ingested, sources, store)
        with ThreadPoolExecutor(1) as pool:  # the hash is ready when the rows are checked
            sha256 = pool.submit(sha256_file, data)
            checked = self._check(table, ingested, wanted)
            bad = checked.bad if checked else {}
            self._note_labels(table, bad, ingested.columns)
            if len(bad) == table.num_rows:
                raise self._nothing_usable(ingested, sources, store)
            self.problems.finish()
            if self.problems.total and self.bad_rows == "error":
                raise self._bad_rows(ingested.rows_read)
            hashes = take_hashes(data)
            if bad:
                good = np.ones(table.num_rows, bool)
                good[list(bad)] = False
                hashes, table = hashes[good], _rewrite(table, good, data)
                sha256 = pool.submit(sha256_file, data)
            counts = {
                "rows_read": ingested.rows_read,
                "used": table.num_rows,
                "rejected": self.problems.total,
                "rejected_by": dict(self.problems.kinds),
                "residues": dict(ingested.counts),
                "empty_cells": dict(ingested.empty_cells),
                **count_overlaps(table, ingested.columns, hashes),
            }
        meta = {
            "version": VERSION,
            "sha256": sha256.result(),
            "sources": sources,
            "columns": ingested.columns.to_dict(),
            "task": checked.task.to_dict() if checked else None,
            "task_reason": checked.reason if checked else self.no_task,
            "counts": counts,
            "rejected": [problem.to_dict() for problem in self.problems.in_order()],
            "header_pattern": self.reading.header_pattern,
        }
        atomic_write_json(folder / META_FILE, meta)

    def _check(
        self, table: pa.Table, ingested: Ingested, wanted: TaskKind | Task | None
    ) -> CheckedLabels | None:
        if not ingested.columns.labels:
            return None
        try:
            return check_labels(table, ingested.columns, wanted)
        except (ColumnError, ConfigError) as error:
            if not (self.reading.need_labels or self.reading.labels or wanted):
                self.no_task = error.found  # a column with the name of a label, where none is needed
                return None
            if self.problems.total and self.bad_rows == "error":
                raise self._bad_rows(ingested.rows_read) from error
            raise

    def _note_labels(self, table: pa.Table, bad: dict[int, str], columns: Columns) -> None:
        """Count the rows with bad labels."""
        for row in sorted(bad):
            values = [table.column(name)[row].as_py() for name in columns.labels]
            path = self.files[table.column(FILE)[row].as_py()].path
            problem = Problem(
                bad[row],
                str(path),
                table.column(LINE)[row].as_py(),
                ", ".join(columns.labels),
                ", ".join(values),
            )
            self.problems.add(problem, kind="label")

    def _bad_rows(self, rows_read: int) -> RowError:
        fix = "mend the rows named above, or leave them out with --bad-rows drop"
        return self._error(RowError, rows_read, fix)

    def _nothing_usable(
        self, ingested: Ingested, sources: list[dict[str, Any]], store: Path | None
    ) -> NoUsableRowError:
        """Return the error, after all rejected rows were handed over."""
        self.problems.finish()
        if self.keep_rejected is not None and store is not None:
            self.keep_rejected(stored_problems(store, [str(file.path) for file in self.files]))
        fix = "mend the rows named above; no usable row is left"
        error = self._error(NoUsableRowError, ingested.rows_read, fix)
        error.files, error.columns = sources, ingested.columns.to_dict()
        error.counts = {
            "rows_read": ingested.rows_read,
            "used": 0,
            "rejected": self.problems.total,
            "rejected_by": dict(self.problems.kinds),
            "residues": dict(ingested.counts),
            "empty_cells": dict(ingested.empty_cells),
            **dict.fromkeys(("duplicates", "contradictory", "total_residues"), 0),
            "splits": {},
            "in_train": {},
        }
        return error

    def _error(self, kind: type[AnyRowError], rows_read: int, fix: str) -> AnyRowError:
        problems = self.problems
        return kind(
            f"{self.source}: {problems.total:,} of {rows_read:,} rows cannot be used ({problems.summary()}).",
            expected="standard residues (and U O B Z X J) in the sequence, and a label that fits the task",
            fix=fix,
            problems=problems.in_order(),
        )


def _rewrite(table: pa.Table, good: NDArray[np.bool_], data: Path) -> pa.Table:
    start = 0
    with (
        atomic_file(data) as target,
        pa.OSFile(str(target), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        for batch in table.to_batches():
            writer.write_batch(batch.filter(pa.array(good[start : start + batch.num_rows])))
            start += batch.num_rows
    return open_arrow(data)
