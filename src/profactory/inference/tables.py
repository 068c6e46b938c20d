"""From a file of sequences to a file of predictions: row by row the same, in flat memory.

Every row of the input is a row of the output, in the same order and with all its columns. A row that
cannot be used has an empty prediction and says why in the column ``error``; it never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from profactory.data.bundled import bundled_path
from profactory.data.columns import find_columns
from profactory.data.reading import Chunk, Table, open_table
from profactory.data.residues import clean_sequences
from profactory.data.writing import format_of, free_name, open_writer
from profactory.errors import Problem, ProFactoryError, RowError, shorten
from profactory.inference.decoding import prediction_columns
from profactory.progress import Progress
from profactory.tasks import Values

SHOWN_PROBLEMS = 20
#: Rows predicted together: enough for batches of equal length, few enough for flat memory.
WINDOW = 4096

log = logging.getLogger("profactory")

if TYPE_CHECKING:
    from profactory.inference.predictor import Predictor  # imports torch


@dataclass
class FileReport:
    """What became of the rows of a file.

    Parameters
    ----------
    out
        The file written.
    rows, predicted, truncated
        Rows in all, those with a prediction, and those longer than the model reads.
    problems
        One per row without a prediction, in order, at most `kept`; `failed` counts all.
    """

    out: Path
    rows: int = 0
    predicted: int = 0
    truncated: int = 0
    failed: int = 0
    problems: list[Problem] = field(default_factory=list)
    kept: int = 1000

    def count(self, truncated: Sequence[bool | None], problems: Mapping[int, Problem]) -> None:
        """Count the rows of a window; keep their problems, unless there are too many."""
        self.rows += len(truncated)
        self.failed += len(problems)
        self.predicted += len(truncated) - len(problems)
        self.truncated += sum(map(bool, truncated))
        self.problems += [problems[row] for row in sorted(problems)][: self.kept - len(self.problems)]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        shown = [problem.to_dict() for problem in self.problems]
        return {
            **{k: v for k, v in asdict(self).items() if k != "kept"},
            "out": str(self.out),
            "problems": shown,
        }

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [f"{self.predicted:,} of {self.rows:,} rows predicted: {self.out}"]
        if self.truncated:
            lines.append(f"{self.truncated:,} sequences were longer than the model reads (column truncated)")
        return "\n".join(lines)


def free_names(inputs: Sequence[str], added: Sequence[str]) -> dict[str, str]:
    """Name the columns to add; one that the input has taken gets the next free number, and that is said."""
    names: dict[str, str] = {}
    for name in added:
        names[name] = free_name(name, [*inputs, *names.values()])
        if names[name] != name:
            log.warning("The input has a column %r already; ours is called %r.", name, names[name])
    return names


def predict_file(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    sequence_column: str | None = None,
    overwrite: bool = False,
    probabilities: bool = True,
) -> FileReport:
    """Predict for every row of a file.

    Parameters
    ----------
    predictor
        The model.
    source
        Any format that :func:`profactory.data.reading.open_table` reads, or ``bundled:NAME``.
    out
        ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl``; appears when it is complete.
    sequence_column
        Found by its name if not given.
    overwrite
        Replace `out` if it exists.
    probabilities
        Write ``probability_<class>`` too.

    Raises
    ------
    ProFactoryError
        `out` exists, or is the input itself.
    ReadError, ColumnError
        The input cannot be read, or has no sequences.
    RowError
        Not one row can be used.
    """
    target, file = Path(out), str(source)
    table, sequence = open_request(source, target, sequence_column=sequence_column, overwrite=overwrite)
    added = [*prediction_columns(predictor.task, predictor.calibration, probabilities), "truncated", "error"]
    names = free_names(table.columns, added)
    report = FileReport(target)
    with (
        open_writer(target, [*table.columns, *names.values()]) as writer,
        Progress("predicting", _count_rows(table), unit="sequences") as progress,
    ):
        for window in windows(table.chunks()):
            columns, problems = _predict_window(predictor, window, sequence, file, progress, probabilities)
            report.count(columns["truncated"], problems)
            progress.advance(report.rows - progress.done)  # rows without a prediction are done as well
            inputs = {name: window.cells.column(name).to_pylist() for name in table.columns}
            writer.write({**inputs, **{names[name]: column for name, column in columns.items()}})
        _check_result(report, source)
    _tell(report)
    return report


def open_request(
    source: str | Path, out: str | Path, *, sequence_column: str | None = None, overwrite: bool = False
) -> tuple[Table, str]:
    """Check what can be checked before a model is loaded.

    Returns
    -------
    tuple
        The opened input and the name of its sequence column.

    Raises
    ------
    ProFactoryError
        As :func:`predict_file`.
    """
    table = open_table(bundled_path(str(source)) or source)
    columns = find_columns(table.columns, sequence=sequence_column, need_label=False, file=str(source))
    _check_target(table.path, Path(out), overwrite)
    return table, columns.sequence


@dataclass(frozen=True)
class Window:
    """Some consecutive rows of the input, those that could not be read included.

    Parameters
    ----------
    cells
        All columns as text; empty where a row could not be read.
    lines
        Line of each row in the file, shape ``(rows,)``.
    unreadable
        Row to the reason for which it could not be read.
    """

    cells: pa.RecordBatch
    lines: list[int]
    unreadable: dict[int, Problem]


def windows(chunks: Iterable[Chunk], size: int = WINDOW) -> Iterator[Window]:
    """Cut a table into windows, putting rows that could not be read back into their places."""
    for chunk in chunks:
        whole = _with_unreadable(chunk)
        for start in range(0, len(whole.lines), size):
            stop = start + size
            broken = {
                row - start: problem for row, problem in whole.unreadable.items() if start <= row < stop
            }
            yield Window(whole.cells.slice(start, size), whole.lines[start:stop], broken)


def _count_rows(table: Table) -> int:
    """Count the rows, for the time that is left; reading is nothing beside predicting."""
    return sum(len(chunk.lines) + len(chunk.problems) for chunk in table.chunks())


def _with_unreadable(chunk: Chunk) -> Window:
    lines = chunk.lines.tolist()
    if not chunk.problems:
        return Window(chunk.columns, lines, {})
    rows: list[tuple[int, int | None, Problem | None]] = [(line, row, None) for row, line in enumerate(lines)]
    rows += [(problem.line or 0, None, problem) for problem in chunk.problems]
    rows.sort(key=lambda entry: entry[0])
    cells = chunk.columns.take(pa.array([row for _, row, _ in rows], pa.int64()))
    broken = {place: problem for place, (_, _, problem) in enumerate(rows) if problem is not None}
    return Window(cells, [line for line, _, _ in rows], broken)


def _predict_window(
    predictor: Predictor, window: Window, sequence: str, file: str, progress: Progress, probabilities: bool
) -> tuple[dict[str, list[Any]], dict[int, Problem]]:
    """Predict one window: the columns to add, and the rows that have no prediction with the reason."""
    cleaned = clean_sequences(window.cells.column(sequence))
    problems = dict(window.unreadable)
    for row, reason in cleaned.reasons.items():
        if row not in problems:
            cell = window.cells.column(sequence)[row].as_py() or ""
            problems[row] = Problem(reason, file, window.lines[row], sequence, shorten(cell))
    good = [row for row in range(len(window.lines)) if row not in problems]
    sequences = cleaned.sequences.take(pa.array(good, pa.int64())).to_pylist()
    outputs = predictor.predict_outputs(sequences, progress)
    truncated = predictor.truncated(sequences).tolist()
    decoded = {**predictor.decode(sequences, outputs, probabilities=probabilities), "truncated": truncated}
    for place in _without_numbers(outputs):
        reason = "the model's output for this sequence is not a number"
        problems[good[place]] = Problem(reason, file, window.lines[good[place]], sequence)
    columns = {name: _scatter(column, good, problems, len(window.lines)) for name, column in decoded.items()}
    columns["error"] = [problems[row].reason if row in problems else "" for row in range(len(window.lines))]
    return columns, problems


def _scatter(
    column: Sequence[Any], rows: Sequence[int], problems: Mapping[int, Problem], size: int
) -> list[Any]:
    """Put values into their rows; None elsewhere and where there is a problem."""
    cells: list[Any] = [None] * size
    for row, value in zip(rows, column, strict=True):
        if row not in problems:
            cells[row] = value
    return cells


def _without_numbers(outputs: Values) -> list[int]:
    """Return the samples with an output that is infinite or not a number."""
    if not outputs.values.size:
        return []
    bad = np.flatnonzero(~np.isfinite(outputs.values.reshape(len(outputs.values), -1)).all(axis=1))
    if outputs.offsets is None:
        return [int(row) for row in bad]
    return sorted({int(row) for row in np.searchsorted(outputs.offsets, bad, side="right") - 1})


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


def _check_result(report: FileReport, source: str | Path) -> None:
    if report.rows and not report.predicted:
        raise RowError(
            f"{source}: not one of {report.rows:,} rows can be used.",
            expected="protein sequences in the sequence column",
            fix="choose the column with --sequence-column; profactory check names what is wrong",
            problems=report.problems,
        )


def _tell(report: FileReport) -> None:
    """List the rows without a prediction, at the end, where they are seen."""
    if not report.failed:
        return
    lines = [f"  - {problem}" for problem in report.problems[:SHOWN_PROBLEMS]]
    if report.failed > SHOWN_PROBLEMS:
        lines.append(f"  - … and {report.failed - SHOWN_PROBLEMS:,} more (column error)")
    rows = "1 row has" if report.failed == 1 else f"{report.failed:,} rows have"
    log.warning("%s no prediction:\n%s", rows, "\n".join(lines))
