"""Strict streaming readers: any table of proteins, as chunks of text cells with their line numbers."""

from __future__ import annotations

from pathlib import Path

from profactory.data.reading.delimited import DelimitedTable
from profactory.data.reading.detect import (
    TABLE_SUFFIXES,
    check_is_file,
    detect_format,
    missing_file,
    suffix_of,
)
from profactory.data.reading.excel import ExcelTable
from profactory.data.reading.fasta import FastaTable
from profactory.data.reading.json_lines import JsonTable
from profactory.data.reading.parquet import ParquetTable
from profactory.data.reading.table import Chunk, Join, Limits, Table

__all__ = ["TABLE_SUFFIXES", "Chunk", "Join", "Limits", "Table", "missing_file", "open_table", "suffix_of"]


def open_table(path: str | Path, *, header_pattern: str | None = None, limits: Limits | None = None) -> Table:
    """Open a table of any supported format, recognised by its content.

    Parameters
    ----------
    path
        CSV, TSV, semicolon- or bar-separated text, FASTA, JSON lines or a JSON array (each also gzipped),
        Parquet, or an Excel workbook.
    header_pattern
        For FASTA: a regular expression whose named groups become columns; see :mod:`.fasta`.
    limits
        Bounds on fields, lines and columns.

    Raises
    ------
    ReadError
        The file is missing, empty, a folder, binary, damaged, or not what its name says; or its header
        cannot name columns.
    """
    path, limits = Path(path), limits or Limits()
    check_is_file(path)
    kind = detect_format(path)
    if kind == "parquet":
        return ParquetTable(path, limits)
    if kind == "xlsx":
        return ExcelTable(path, limits)
    if kind == "fasta":
        return FastaTable(path, limits, header_pattern)
    if kind in ("json", "jsonl"):
        return JsonTable(path, limits, array=kind == "json")
    return DelimitedTable(path, limits)
