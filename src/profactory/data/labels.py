"""Label columns of a whole data set: the task that they hold, and the rows that do not fit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.columns import Columns
from profactory.data.dataset import LENGTH, SPLIT, SPLIT_CODES, Dataset
from profactory.data.texts import take
from profactory.errors import ConfigError, RowError
from profactory.tasks import (
    Answer,
    Task,
    TaskKind,
    Values,
    collect_names,
    infer_task,
    name_separator,
    task_of_names,
)

SAMPLE_ROWS = 5000
ENCODED_ROWS = 1 << 16  # whose labels are texts at a time
BATCH_ROWS = 10_000
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
LARGEST = 3.4e38
TRAIN = SPLIT_CODES.index("train")


@dataclass
class CheckedLabels:
    """The task of a data set.

    Parameters
    ----------
    task, reason
        The task, and what in the data led to it.
    bad
        Row to the reason for which its label does not fit.
    """

    task: Task
    reason: str
    bad: dict[int, str] = field(default_factory=dict)


def check_labels(table: pa.Table, columns: Columns, wanted: Task | TaskKind | None) -> CheckedLabels:
    """Find the task of the label columns and every row that does not fit it.

    Classes are those of the training rows, or of all rows where none is marked as training: a class that
    only occurs in test cannot be learnt, and its rows are bad rows.

    Parameters
    ----------
    table
        Memory-mapped, with our own columns; read batch by batch.
    columns
        Which of them hold labels.
    wanted
        None to infer the kind of task; a kind; or a fitted task whose classes are given.

    Raises
    ------
    ColumnError, ConfigError
        The column holds no labels, or one class only, or the task does not go with several columns.
    """
    if isinstance(wanted, Task):
        return CheckedLabels(wanted, "given by the model", _bad_rows(table, columns, wanted))
    kind, reason = (wanted, "chosen by you") if wanted else _infer(table, columns)
    if len(columns.labels) > 1 and (kind.is_classification or kind.per_residue):
        raise ConfigError(
            f"{len(columns.labels)} label columns were given for the task {kind}.",
            expected="several columns only for regression; classes of a multi-label task stand in one column",
            fix="choose one --label-column",
        )
    task = _fit(table, columns, kind)
    return CheckedLabels(task, reason, _bad_rows(table, columns, task))


def encode_labels(dataset: Dataset, task: Task, rows: NDArray[np.integer[Any]] | None = None) -> Values:
    """Turn the labels of some rows (None: all) of a checked data set into arrays.

    Some rows at a time: as texts, labels would take many times the memory.

    Returns
    -------
    Values
        As :meth:`profactory.tasks.Task.encode`.
    """
    chosen = np.arange(len(dataset)) if rows is None else rows
    starts = range(0, max(1, len(chosen)), ENCODED_ROWS)
    return Values.join([_encode(dataset, task, chosen[start : start + ENCODED_ROWS]) for start in starts])


def _encode(dataset: Dataset, task: Task, rows: NDArray[np.integer[Any]]) -> Values:
    if task.per_residue or task.kind.answer is not Answer.CLASS:
        return task.encode(dataset.label_cells(rows), dataset.lengths[rows].tolist())
    encoded = pc.dictionary_encode(dataset.column(dataset.columns.labels[0], rows).combine_chunks())
    names = encoded.dictionary.to_pylist()  # each is read once
    return Values(task.encode(names, [0] * len(names)).values[encoded.indices.to_numpy()])


def _infer(table: pa.Table, columns: Columns) -> tuple[TaskKind, str]:
    if len(columns.labels) > 1:
        return TaskKind.REGRESSION, f"{len(columns.labels)} label columns were given"
    rows = _some_training_rows(table)
    cells = take(table.column(columns.labels[0]), rows).to_pylist()
    lengths = take(table.column(LENGTH), rows).to_pylist()
    return infer_task(cells, lengths)


def _some_training_rows(table: pa.Table) -> NDArray[np.int64]:
    """Return rows marked train, evenly spaced; of all rows if none is."""
    marked = np.flatnonzero(table.column(SPLIT).to_numpy() == TRAIN)
    count = len(marked) or table.num_rows
    chosen = np.linspace(0, count - 1, min(SAMPLE_ROWS, count)).astype(np.int64)
    return marked[chosen] if len(marked) else chosen


def _fit(table: pa.Table, columns: Columns, kind: TaskKind) -> Task:
    if not kind.is_classification:
        return task_of_names(kind, (), targets=columns.labels)
    name = columns.labels[0]
    cells = (cell for batch, _ in _training_batches(table, [name]) for cell in batch.column(name).to_pylist())
    separator = name_separator(kind, cells)
    names: set[str] = set()
    for batch, lengths in _training_batches(table, [name]):
        column = batch.column(name) if kind.per_residue else batch.column(name).unique()
        names |= collect_names(kind, column.to_pylist(), lengths[: len(column)].tolist(), separator)
    return task_of_names(kind, names, separator, targets=columns.labels)


def _batches(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, NDArray[Any]]]:
    for batch in table.select([*names, LENGTH, SPLIT]).to_batches(max_chunksize=BATCH_ROWS):
        yield batch, batch.column(LENGTH).to_numpy()


def _training_batches(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, NDArray[Any]]]:
    """Yield the rows to learn from, and their lengths."""
    train = pa.scalar(TRAIN, pa.int8())  # a plain number would make 64-bit numbers of the column
    only_train = bool(pc.any(pc.equal(table.column(SPLIT), train)).as_py())
    for batch, _ in _batches(table, names):
        kept = batch.filter(pc.equal(batch.column(SPLIT), train)) if only_train else batch
        yield kept, kept.column(LENGTH).to_numpy()


def _bad_rows(table: pa.Table, columns: Columns, task: Task) -> dict[int, str]:
    bad: dict[int, str] = {}
    known: dict[str, str] = {}
    start = 0
    for batch, lengths in _batches(table, columns.labels):
        if task.per_residue or len(columns.labels) > 1:
            found = _misfits(task, _cells(batch, columns.labels), lengths.tolist())
        elif not task.is_classification:
            found = _misfit_numbers(task, batch.column(columns.labels[0]))
        else:
            found = _misfit_names(task, batch.column(columns.labels[0]), known)
        bad.update((start + row, reason) for row, reason in found.items())
        start += batch.num_rows
    return bad


def _cells(batch: pa.RecordBatch, names: Sequence[str]) -> list[Any]:
    columns = [batch.column(name).to_pylist() for name in names]
    return columns[0] if len(columns) == 1 else list(map(list, zip(*columns, strict=True)))


def _misfits(task: Task, cells: Sequence[Any], lengths: Sequence[int]) -> dict[int, str]:
    """Let the task judge; it names the index of each cell that it refuses."""
    try:
        task.encode(cells, lengths)
    except RowError as error:
        return {int(problem.line or 0): problem.reason for problem in error.problems}
    return {}


def _misfit_numbers(task: Task, cells: pa.Array) -> dict[int, str]:
    """Pass plain numbers of common size in one go; the task judges the rest."""
    plain = pc.match_substring_regex(cells, NUMBER)
    numbers = pc.if_else(plain, cells, "0").cast(pa.float64())
    fine = pc.and_(plain, pc.less(pc.abs(numbers), LARGEST)).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~fine)
    found = _misfits(task, [cells[int(row)].as_py() for row in rows], [0] * len(rows))
    return {int(rows[index]): reason for index, reason in found.items()}


def _misfit_names(task: Task, cells: pa.Array, known: dict[str, str]) -> dict[int, str]:
    """Judge each different cell once; `known` remembers the reasons ("" if it fits)."""
    encoded = pc.dictionary_encode(cells)
    different = encoded.dictionary.to_pylist()
    new = [cell for cell in different if cell not in known]
    reasons = _misfits(task, new, [0] * len(new))
    known.update((cell, reasons.get(index, "")) for index, cell in enumerate(new))
    wrong = np.array([bool(known[cell]) for cell in different], bool)
    if not wrong.any():
        return {}
    indices = encoded.indices.to_numpy()
    return {int(row): known[different[indices[row]]] for row in np.flatnonzero(wrong[indices])}
