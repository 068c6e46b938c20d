"""The columns of a table that hold structure strings: found by name, checked against the sequences."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from profactory.data.columns import normalise
from profactory.data.dataset import Dataset, Rows
from profactory.data.structure_strings import KINDS, structure_problems
from profactory.data.texts import Texts
from profactory.errors import ColumnError, ConfigError, Problem, RowError, shorten

log = logging.getLogger("profactory")


def find_structure_columns(
    names: Sequence[str], given: Sequence[str] | None = None, *, file: str = ""
) -> dict[str, str]:
    """Find the columns with structure strings.

    Parameters
    ----------
    names
        Columns of the table.
    given
        As typed: ``kind=column``, or a column whose name tells its kind. None to look for usual names.
    file
        For messages.

    Returns
    -------
    dict
        Kind to column, in the order of :data:`KINDS`; empty if there is none and none was given.

    Raises
    ------
    ColumnError, ConfigError
        A column that was given does not exist, or is of no known kind.
    """
    if given is None:
        found = {kind: _usual(kind, names) for kind in KINDS}
        return {kind: column for kind, column in found.items() if column is not None}
    typed = dict(_typed(text) for text in given)
    missing = [column for column in typed.values() if column not in names]
    if missing:
        raise ColumnError(
            f"{file + ': ' if file else ''}there is no column {missing[0]!r}.",
            expected=f"one of the columns {', '.join(map(repr, names[:30]))}",
            fix="--structure-columns KIND=COLUMN",
        )
    return {kind: typed[kind] for kind in KINDS if kind in typed}


def match_structure_columns(
    names: Sequence[str], trained: Mapping[str, str], *, file: str = ""
) -> dict[str, str]:
    """Find the columns that a model needs: under the name that they had in training, or a usual one.

    Raises
    ------
    ColumnError
        One is missing.
    """
    found = {kind: column if column in names else _usual(kind, names) for kind, column in trained.items()}
    missing = [kind for kind, column in found.items() if column is None]
    if missing:
        kind = missing[0]
        raise ColumnError(
            f"{file + ': ' if file else ''}there is no column {trained[kind]!r}, and the model reads "
            f"{KINDS[kind].title} beside the sequence.",
            expected=f"a column {trained[kind]!r} or one called {', '.join(KINDS[kind].columns)}",
            fix="add the column, or train a model without structures",
        )
    return {kind: str(column) for kind, column in found.items()}


def say_unread(names: Sequence[str], read: Mapping[str, str], *, labels: Sequence[str] = ()) -> None:
    """Say that columns which look like structure strings decide nothing, where a model does not read them.

    Parameters
    ----------
    names
        Columns of the table.
    read
        Kind to column of those that the model reads.
    labels
        Columns with labels, which are read for what they are.
    """
    found = find_structure_columns([name for name in names if name not in labels])
    unread = [column for kind, column in found.items() if kind not in read]
    if unread:
        log.info(
            "The model does not read structures from %s; the predictions do not depend on it.",
            " and ".join(f"the column {column!r}" for column in unread),
        )


def read_strings(dataset: Dataset, columns: Mapping[str, str], rows: Rows | None = None) -> dict[str, Texts]:
    """Return the strings of each kind, in the order of the rows."""
    return {kind: dataset.texts(column, rows) for kind, column in columns.items()}


def check_strings(dataset: Dataset, columns: Mapping[str, str]) -> None:
    """Refuse a data set with strings that do not fit its sequences.

    Raises
    ------
    RowError
        Naming every such row.
    """
    problems = []
    for kind, column in columns.items():
        texts = dataset.texts(column)
        found = structure_problems({kind: texts}, dataset.sequences)
        files = dataset.files if found else []
        problems += [
            Problem(reason, files[row], int(dataset.lines[row]), column, shorten(texts[row] or ""))
            for row, reason in found.items()
        ]
    if problems:
        raise RowError(
            f"{len(problems):,} structure strings cannot be used.",
            expected="one letter, or one number, for each residue of the sequence",
            fix="mend or remove the rows named above",
            problems=problems,
        )


def _usual(kind: str, names: Sequence[str]) -> str | None:
    known = {normalise(name): name for name in reversed(names)}
    return next((known[usual] for usual in KINDS[kind].columns if usual in known), None)


def _typed(text: str) -> tuple[str, str]:
    """Return kind and column of what was typed."""
    kind, equals, column = text.partition("=")
    if equals and kind in KINDS:
        return kind, column
    kinds = [kind for kind in KINDS if normalise(text) in KINDS[kind].columns]
    if not kinds:
        raise ConfigError(
            f"{text!r} does not tell what it holds.",
            expected=" or ".join(f"{kind}=COLUMN ({KINDS[kind].title})" for kind in KINDS),
            fix=f"--structure-columns {next(iter(KINDS))}={text}",
        )
    return kinds[0], text
