"""Excel workbooks (.xlsx): the first sheet, read row by row.

Whole numbers are digits without ``.0``; other numbers their shortest ``repr``; booleans ``true`` and
``false``; dates ISO 8601; formulas the value that Excel stored; an empty cell the empty text.
"""

from __future__ import annotations

import datetime
import logging
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import numpy as np

from profactory.data.reading.table import Chunk, Limits, check_header, ragged, rows_to_batch
from profactory.errors import Problem, ReadError

logger = logging.getLogger("profactory")
CHUNK_ROWS = 5_000


class ExcelTable:
    """Rows of the first sheet; their line is the row number that Excel shows.

    Raises
    ------
    ReadError
        A damaged workbook, an empty sheet, or a header that cannot name columns.
    """

    format = "xlsx"

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        number, header = next(self._rows(), (1, []))
        if not header:
            raise ReadError(
                f"{path}: the first sheet is empty.",
                expected="a header and rows in the first sheet",
                fix="move the table into the first sheet, or save it as CSV",
            )
        self.columns = check_header(header, path, limit=limits.columns, line=number)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows; see :class:`~profactory.data.reading.table.Table`."""
        rows: list[list[str]] = []
        lines: list[int] = []
        problems: list[Problem] = []
        width = len(self.columns)
        source = self._rows()
        next(source, None)
        for number, row in source:
            if len(row) > width:
                problems.append(ragged(len(row), width, file=str(self.path), line=number))
            elif any("\0" in cell for cell in row):
                problems.append(Problem("a cell holds a NUL character", file=str(self.path), line=number))
            else:
                rows.append(row + [""] * (width - len(row)))
                lines.append(number)
            if len(rows) + len(problems) >= CHUNK_ROWS:
                yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)
                rows, lines, problems = [], [], []
        if rows or problems:
            yield Chunk(rows_to_batch(self.columns, rows), np.array(lines, np.int64), problems)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the cells of each row that is not blank, without empty cells at its end."""
        import openpyxl  # slow to import, and few tables are workbooks

        try:
            book = openpyxl.load_workbook(self.path, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # written by other programs and often wrong
            for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
                cells = _trimmed([_text(value) for value in values])
                if cells:
                    yield number, cells
            book.close()
        except (zipfile.BadZipFile, KeyError, IndexError, ValueError, ParseError, OSError, EOFError) as error:
            raise ReadError(
                f"{self.path}: the workbook is damaged ({error}).",
                expected="an Excel workbook (.xlsx)",
                fix="open it in Excel and save it again, or save it as CSV",
            ) from error


def _trimmed(cells: Sequence[str]) -> list[str]:
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return list(cells[:end])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
