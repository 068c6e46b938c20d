"""From a file of sequences to a file of predictions: row by row the same, in flat memory.

Every row of the input is a row of the output, in the same order and with all its columns. A row that
cannot be used has an empty prediction and says why in the column ``error``; it never stops the others.
Whatever stops the work, the same request goes on where it was and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from profactory.data.bundled import bundled_path
from profactory.data.columns import find_columns
from profactory.data.reading import Join, Table, open_table
from profactory.data.structure_columns import match_structure_columns, say_unread
from profactory.data.writing import arrow_column, format_of, open_writer
from profactory.errors import ProFactoryError, RowError
from profactory.files import disk_room, remove_leftovers, sha256_file
from profactory.inference.block_predictions import check_result, free_names, predict_block, row_problems
from profactory.inference.file_report import FileReport
from profactory.inference.partial import Partial, working_alone
from profactory.inference.residue_table import ResidueTable
from profactory.inference.row_blocks import BLOCK_ROWS, RowBlock, count_rows, row_blocks
from profactory.progress import Progress

if TYPE_CHECKING:
    from profactory.inference.predictor import Predictor  # imports torch

#: Names of the column with each row's line, which no column of a table can have.
_LINE = ""

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class FileRequest:
    """What is asked for, checked as far as it can be without a model.

    Parameters
    ----------
    table
        The opened input.
    sequence, identifier
        Its columns with the sequences and, if there is one, with their names.
    source
        The input as the user named it.
    out
        The file to write.
    residue_table
        A second file, with a row per residue.
    """

    table: Table
    sequence: str
    source: str
    out: Path
    residue_table: Path | None = None
    identifier: str | None = None
    join: Join | None = None

    @cached_property
    def rows(self) -> int:
        """Rows of the input, those that cannot be read included."""
        return count_rows(self.table.chunks())


def open_request(
    source: str | Path,
    out: str | Path,
    *,
    sequence_column: str | None = None,
    overwrite: bool = False,
    residue_table: str | Path | None = None,
    join: Join | None = None,
) -> FileRequest:
    """Check what can be checked before a model is loaded.

    Parameters
    ----------
    source
        Any format that :func:`profactory.data.reading.open_table` reads, or ``bundled:NAME``.
    out
        ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl``; appears when it is complete.
    sequence_column
        Found by its name if not given.
    overwrite
        Replace `out` and `residue_table` if they exist.
    residue_table
        For residue tasks: a second file, with a row per residue.
    join
        Adds columns to the table while it is read.

    Raises
    ------
    ProFactoryError
        `out` exists, or is the input itself.
    ReadError, ColumnError
        The input cannot be read, or has no sequences.
    """
    table = open_table(bundled_path(str(source)) or source)
    table = join(table) if join else table
    columns = find_columns(table.columns, sequence=sequence_column, need_label=False, file=str(source))
    long = None if residue_table is None else Path(residue_table)
    for target in [Path(out)] if long is None else [Path(out), long]:
        _check_target(table.path, target, overwrite)
    if long == Path(out):
        raise ProFactoryError("Two tables cannot be one file.", fix="choose another --residue-table")
    return FileRequest(table, columns.sequence, str(source), Path(out), long, columns.identifier, join)


def predict_file(
    predictor: Predictor,
    request: FileRequest,
    *,
    probabilities: bool = True,
    block_rows: int = BLOCK_ROWS,
    on_progress: Callable[[int, int], None] | None = None,
) -> FileReport:
    """Predict for every row of a file.

    Parameters
    ----------
    predictor
        The model.
    request
        From :func:`open_request`.
    probabilities
        Write ``probability_<class>`` too.
    block_rows
        Rows that are predicted and kept together.
    on_progress
        Called with the rows that are done and all rows, after every block.

    Raises
    ------
    ProFactoryError
        A table with a row per residue is asked of a model that has no such task.
    RowError
        Not one row can be used.
    """
    _check_residue_table(predictor, request)
    structures = match_structure_columns(
        request.table.columns, predictor.model.extra_inputs.structures, file=request.source
    )
    say_unread(request.table.columns, structures)
    names = free_names(request.table.columns, [*predictor.column_names(probabilities=probabilities), "error"])
    asked = {"probabilities": probabilities, "block_rows": block_rows, "names": names}
    identity = {**_identity(predictor, request), **asked}
    total = request.rows
    with contextlib.ExitStack() as stack:
        with disk_room(request.out, "nothing was predicted yet"):
            folder = stack.enter_context(working_alone(request.out))
            remove_leftovers(request.out)
            partial = Partial(folder, request.out, identity)
        stack.enter_context(_kept(partial, total / block_rows))
        progress = stack.enter_context(Progress("predicting", total, unit="rows"))
        finished = len(partial)
        if finished:
            log.info("Going on behind the first %d blocks of rows, which are done.", finished)
        done = 0
        for number, block in enumerate(row_blocks(request.table.chunks(), block_rows)):
            if number >= finished:
                columns = predict_block(
                    predictor,
                    block,
                    request.sequence,
                    structures,
                    probabilities=probabilities,
                    progress=progress,
                )
                partial.add(number, _as_table(block, {names[name]: c for name, c in columns.items()}))
            done += len(block)
            progress.advance(done - progress.done)  # rows without a prediction are done as well
            if on_progress is not None:
                on_progress(done, total)
        report = _write(predictor, request, partial, names)
        partial.discard()
    report.list_failures()
    report.warn_of_novelty()
    return report


def _identity(predictor: Predictor, request: FileRequest) -> dict[str, Any]:
    """Return all that decides the numbers, beside the options of a file."""
    return {
        "input_sha256": sha256_file(request.table.path),
        "join": None if request.join is None else request.join.key,
        "sequence_column": request.sequence,
        "model": predictor.fingerprint,
        "engine": predictor.engine.describe(),
        "tokens_per_batch": predictor.tokens_per_batch,
        "long": str(predictor.long),
    }


@contextlib.contextmanager
def _kept(partial: Partial, blocks: float) -> Iterator[None]:
    """Say, when the work is stopped, that what is finished is not lost; throw it away if it is no use."""
    kept = f"what is done is kept in {partial.folder}; the same command goes on from there"
    try:
        with disk_room(partial.target, kept, lambda: partial.room_needed(blocks)):
            yield
    except RowError:
        partial.discard()
        raise
    except BaseException as error:
        if len(partial) and kept not in str(error):
            log.warning("W%s.", kept[1:])
        raise


def _as_table(block: RowBlock, columns: Mapping[str, list[Any]]) -> pa.Table:
    """Return a block's lines, cells and predictions as a table."""
    inputs = {name: block.cells.column(name) for name in block.cells.schema.names}
    ours = {name: arrow_column(column) for name, column in columns.items()}
    return pa.table({_LINE: pa.array(block.lines, pa.int64()), **inputs, **ours})


def _write(
    predictor: Predictor, request: FileRequest, partial: Partial, names: Mapping[str, str]
) -> FileReport:
    """Write the output from the finished blocks."""
    report = FileReport(request.out, predictor.engine.describe(), residue_table=request.residue_table)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(open_writer(request.out, [*request.table.columns, *names.values()]))
        long, residues = None, None
        if request.residue_table is not None:
            long = ResidueTable(predictor.task, request.identifier, request.sequence, names)
            residues = stack.enter_context(open_writer(request.residue_table, long.columns))
        for table in partial.tables():
            cells = {name: _cells(table.column(name)) for name in table.schema.names}
            problems = row_problems(
                cells[names["error"]],
                cells[_LINE],
                cells[request.sequence],
                request.source,
                request.sequence,
            )
            report.count(problems, {n: cells[m] for n, m in names.items()})
            writer.write(cells)
            if long is not None and residues is not None:
                residues.write(long.expand(cells))
        check_result(report, request.source)
    return report


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Return values as they were before they were kept: 32-bit numbers with 32 bits."""
    values: list[Any] = column.to_pylist()
    if not pa.types.is_float32(column.type):
        return values
    return [None if value is None else np.float32(value) for value in values]


def _check_residue_table(predictor: Predictor, request: FileRequest) -> None:
    if request.residue_table is not None and not predictor.task.per_residue:
        raise ProFactoryError(
            f"The model predicts one value per sequence ({predictor.task.kind}).",
            expected="a task with a label per residue for a table with a row per residue",
            fix="leave --residue-table out",
        )


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    format_of(target)
    if target.is_dir():
        raise ProFactoryError(f"{target} is a folder.", expected="a file name", fix="--out predictions.csv")
    if target.exists() and source.exists() and target.samefile(source):
        raise ProFactoryError(
            f"{target} is the input itself.", expected="another file", fix="choose another --out"
        )
    if target.exists() and not overwrite:
        raise ProFactoryError(
            f"{target} exists already.",
            expected="a path that is free: nothing is overwritten unasked",
            fix="choose another --out, or add --overwrite",
        )
