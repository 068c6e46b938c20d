"""One block of rows predicted: the columns to add, and what is wrong with which row.

Whoever reads a file, on one machine or on many, predicts its blocks with this.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from profactory.data.structure_strings import structure_problems
from profactory.data.writing import free_name
from profactory.errors import Problem, RowError, shorten
from profactory.inference.file_report import FileReport
from profactory.inference.long_sequences import TAKES_LONG
from profactory.inference.row_blocks import RowBlock
from profactory.progress import Progress
from profactory.tasks import Values

if TYPE_CHECKING:
    from profactory.inference.predictor import Predictor  # imports torch

log = logging.getLogger("profactory")


def free_names(inputs: Sequence[str], added: Sequence[str]) -> dict[str, str]:
    """Name the columns to add; one that the input has taken gets the next free number, and that is said."""
    names: dict[str, str] = {}
    for name in added:
        names[name] = free_name(name, [*inputs, *names.values()])
        if names[name] != name:
            log.warning("The input has a column %r already; ours is called %r.", name, names[name])
    return names


def predict_block(
    predictor: Predictor,
    block: RowBlock,
    sequence: str,
    structures: Mapping[str, str],
    *,
    probabilities: bool = True,
    progress: Progress | None = None,
) -> dict[str, list[Any]]:
    """Predict one block.

    Parameters
    ----------
    predictor
        The model.
    block
        The rows.
    sequence
        Column with the sequences.
    structures
        Kind of structure string to its column, for models that read them.
    probabilities
        Give ``probability_<class>`` too.
    progress
        Told of every finished sequence.

    Returns
    -------
    dict
        The columns to add, a value for each row; ``error`` is the last.
    """
    clean, reasons = block.clean(sequence)
    texts: list[str] = clean.to_pylist()
    strings = {kind: block.cells.column(column).to_pylist() for kind, column in structures.items()}
    reasons = {**structure_problems(strings, texts), **reasons}
    usable = [row for row in range(len(block)) if row not in reasons]
    refused = predictor.refusals([texts[row] for row in usable])
    reasons |= {usable[place]: reason for place, reason in refused.items()}
    good = [row for row in usable if row not in reasons]
    sequences = [texts[row] for row in good]
    chosen = {kind: [column[row] for row in good] for kind, column in strings.items()}
    outputs = predictor.predict_outputs(sequences, progress, chosen)
    for place in _without_numbers(outputs):
        reasons[good[place]] = "the model's output for this sequence is not a number"
    decoded = predictor.columns(sequences, outputs, probabilities=probabilities)
    columns = {name: _scatter(column, good, reasons, len(block)) for name, column in decoded.items()}
    return {**columns, "error": [reasons.get(row, "") for row in range(len(block))]}


def row_problems(
    reasons: Sequence[str], lines: Sequence[int], cells: Sequence[str | None], source: str, column: str
) -> list[Problem | None]:
    """Return what is wrong with each row, with its place in the user's file.

    Parameters
    ----------
    reasons, lines, cells
        Of each row: the column ``error``, its line, and its cell in `column`.
    source, column
        File and column as the user named them.
    """
    return [
        Problem(reason, source, line, column, shorten(cell or "")) if reason else None
        for reason, line, cell in zip(reasons, lines, cells, strict=True)
    ]


def check_result(report: FileReport, source: str) -> None:
    """Refuse an output without one prediction.

    Raises
    ------
    RowError
    """
    if report.rows and not report.predicted:
        if all(TAKES_LONG in problem.reason for problem in report.problems):
            raise RowError(
                f"{source}: all {report.rows:,} sequences are longer than the model reads.",
                fix=TAKES_LONG,
                problems=report.problems,
            )
        raise RowError(
            f"{source}: not one of {report.rows:,} rows can be used.",
            expected="protein sequences in the sequence column",
            fix="choose the column with --sequence-column; profactory check names what is wrong",
            problems=report.problems,
        )


def _scatter(column: Sequence[Any], rows: Sequence[int], problems: Mapping[int, str], size: int) -> list[Any]:
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
