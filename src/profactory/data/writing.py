"""Writing tables: csv, tsv, parquet and jsonl by one door, block by block, whole or not at all.

Spreadsheet programs run a text cell that begins with ``=``, ``+``, ``-``, ``@`` or a tab as a
formula. In csv and tsv files such a text cell gets an apostrophe in front, which the programs hide;
:func:`restore_text` takes it off again. Numbers, lists of numbers and strings of capital letters and
gaps (``-0.5``, ``-0.5,0.3``, ``--HHH--``) are no formulas and stay as they are.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from profactory.errors import ProFactoryError
from profactory.files import atomic_file

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz")
HELD_ROWS = 1_000_000
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_ITEM = rf"(?:{_NUMBER}|nan|NaN)?"
_HARMLESS = re.compile(rf"(?:{_NUMBER}(?:[,; ]{_ITEM})*|-[A-Z?*.\-]*)\Z")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_RESTORABLE = re.compile(r"'+[=+\-@\t\r]")

Cells = Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]


def neutral_text(text: str) -> str:
    """Put an apostrophe before text that a spreadsheet program would run as a formula.

    Examples
    --------
    >>> neutral_text("=HYPERLINK(A1)"), neutral_text("-7.6"), neutral_text("--HHH")
    ("'=HYPERLINK(A1)", '-7.6', '--HHH')
    """
    return "'" + text if _FORMULA.match(text) and not _HARMLESS.match(text) else text


def restore_text(text: str) -> str:
    """Undo :func:`neutral_text`."""
    return text[1:] if _RESTORABLE.match(text) else text


def cell_text(value: Any) -> str:
    """Return a cell as it stands in a text file: empty if missing, numbers with all their digits."""
    if isinstance(value, str):
        return neutral_text(value)
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating) and math.isnan(value):
        return ""
    return str(value)


def _verbatim_text(value: Any) -> str:
    return value if isinstance(value, str) else cell_text(value)


def free_name(name: str, taken: Sequence[str]) -> str:
    """Return `name`, or with the next free number if it is taken: ``prediction_2``."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


class Writer(Protocol):
    """Takes blocks of rows."""

    def write(self, cells: Cells) -> None:
        """Append rows: column name to as many values for every column."""


def format_of(path: str | Path) -> str:
    """Return the format that a file name asks for: csv, tsv, parquet or jsonl.

    Raises
    ------
    ProFactoryError
        If the ending is none that can be written.
    """
    name = Path(path).name.lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return suffix.split(".")[1]
    raise ProFactoryError(
        f"The ending of {Path(path).name!r} names no format that can be written.",
        expected=f"one of {', '.join(SUFFIXES)}",
        fix="--out predictions.csv",
    )


@contextmanager
def open_writer(path: str | Path, columns: Sequence[str], *, verbatim: bool = False) -> Iterator[Writer]:
    """Open a table for writing; the file appears when the block ends without an error.

    Parameters
    ----------
    path
        Its ending chooses the format: ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``; the text formats
        also with ``.gz``.
    columns
        Column names in order.
    verbatim
        Write text cells as they are: for tables that are read again, in which a class may be called ``+``.

    Raises
    ------
    ProFactoryError
        If the ending names no format, or a column occurs twice.

    Examples
    --------
    >>> with open_writer("out.csv", ["id", "score"]) as writer:  # doctest: +SKIP
    ...     writer.write({"id": ["a", "b"], "score": [0.1, None]})
    """
    kind = format_of(path)
    names = _checked(columns)
    with atomic_file(path) as temporary:
        if kind == "parquet":
            with _ParquetWriter(temporary, names) as writer:
                yield writer
        else:
            with _open_text(temporary, compressed=str(path).lower().endswith(".gz")) as handle:
                text = _verbatim_text if verbatim else cell_text
                yield (
                    _JsonWriter(handle, names) if kind == "jsonl" else _TextWriter(handle, names, kind, text)
                )


def write_table(path: str | Path, cells: Cells) -> None:
    """Write a whole table at once; see :func:`open_writer`."""
    with open_writer(path, list(cells)) as writer:
        writer.write(cells)


def _checked(columns: Sequence[str]) -> list[str]:
    names = list(columns)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProFactoryError(
            f"Columns occur twice: {', '.join(map(repr, twice))}.", expected="different column names"
        )
    return names


@contextmanager
def _open_text(path: Path, *, compressed: bool) -> Iterator[IO[str]]:
    with path.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
                yield text
            return
        # Without a name and a time the same rows give the same bytes.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
        ):
            yield text


def _values(cells: Cells, names: Sequence[str], convert: Callable[[Any], Any]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of converted values; numpy columns keep the width of their floats."""
    columns = [map(convert, cells[name]) for name in names]
    return zip(*columns, strict=True)


class _TextWriter:
    def __init__(self, handle: IO[str], names: Sequence[str], kind: str, text: Callable[[Any], str]) -> None:
        self.names = names
        self.text = text
        self.rows = csv.writer(handle, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
        self.rows.writerow([text(name) for name in names])

    def write(self, cells: Cells) -> None:
        self.rows.writerows(_values(cells, self.names, self.text))


class _JsonWriter:
    def __init__(self, handle: IO[str], names: Sequence[str]) -> None:
        self.names = names
        self.handle = handle

    def write(self, cells: Cells) -> None:
        for row in _values(cells, self.names, _json_value):
            self.handle.write(json.dumps(dict(zip(self.names, row, strict=True)), ensure_ascii=False) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, np.floating):
        value = float(str(value))  # 0.1 of 32 bits is written 0.1, not 0.10000000149
    elif isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _ParquetWriter:
    """Holds the first blocks back until every column has shown its type."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = names
        self.held: list[pa.Table] = []
        self.writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        if self.writer is not None:
            self.writer.close()

    def write(self, cells: Cells) -> None:
        table = pa.table({name: arrow_column(cells[name]) for name in self.names})
        if self.writer is not None:
            self.writer.write_table(table.cast(self.writer.schema))
            return
        self.held.append(table)
        schema = pa.unify_schemas([held.schema for held in self.held])
        if pa.null() not in schema.types or sum(map(len, self.held)) > HELD_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.writer is not None:
            return
        empty = pa.schema([(name, pa.null()) for name in self.names])
        schema = pa.unify_schemas([empty, *(held.schema for held in self.held)])
        schema = pa.schema([(f.name, pa.string() if f.type == pa.null() else f.type) for f in schema])
        self.writer = pq.ParquetWriter(self.path, schema, compression="zstd")
        for table in self.held:
            self.writer.write_table(table.cast(schema))
        self.held = []


def arrow_column(values: Sequence[Any] | np.ndarray[Any, Any]) -> pa.Array:
    """Return a column of cells; 32-bit numbers stay 32 bits wide."""
    if isinstance(values, np.ndarray):
        return pa.array(values)
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    single = any(isinstance(value, np.float32) for value in values)
    return pa.array(plain, pa.float32()) if single else pa.array(plain)
