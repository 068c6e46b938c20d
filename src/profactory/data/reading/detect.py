"""What a file is, by its first bytes; its name only settles what they leave open."""

from __future__ import annotations

import difflib
import zipfile
from pathlib import Path

from profactory.data.reading.blocks import GZIP, encoding_of, head_of
from profactory.errors import ReadError

TEXT_SUFFIXES = (
    ".csv",
    ".tsv",
    ".txt",
    ".tab",
    ".fasta",
    ".fa",
    ".faa",
    ".fas",
    ".json",
    ".jsonl",
    ".ndjson",
)
FASTA_SUFFIXES = (".fasta", ".fa", ".faa", ".fas")
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
EXCEL_SUFFIXES = (".xlsx", ".xlsm")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, *PARQUET_SUFFIXES, *EXCEL_SUFFIXES)
READABLE = "CSV, TSV, FASTA, Parquet, Excel (.xlsx) or JSON lines"
_FOREIGN = {
    b"BZh": ("bzip2 data", "unpack it: bunzip2 FILE"),
    b"\xfd7zXZ": ("xz data", "unpack it: unxz FILE"),
    b"\x28\xb5\x2f\xfd": ("zstd data", "unpack it: unzstd FILE"),
    b"7z\xbc\xaf": ("a 7-zip archive", "unpack it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Office file", "save it as .xlsx or CSV"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
    b"%PDF": ("a PDF document", "export the table as CSV"),
    b"SQLite": ("an SQLite database", "export the table as CSV"),
    b"\x89HDF": ("an HDF5 file", "export the table as CSV or Parquet"),
}
_SAMPLE = 1 << 16
_CONTROL = bytes(set(range(32)) - {0, 9, 10, 11, 12, 13, 26, 27})


def suffix_of(path: Path) -> str:
    """Return the suffix without ``.gz``, in lower case."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def check_is_file(path: Path) -> None:
    """Refuse what is not there, a folder or an empty file.

    Raises
    ------
    ReadError
        With the nearest names if the file does not exist.
    """
    try:
        if path.is_file():
            size = path.stat().st_size
            if size == 0:
                raise ReadError(
                    f"{path}: the file is empty.", expected=READABLE, fix="check that the export ended"
                )
            return
        exists, is_dir = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # a name too long, a NUL in it, no permission
        raise ReadError(f"{str(path)[:200]!r} cannot be opened: {error}.", expected=READABLE) from error
    if is_dir:
        raise ReadError(f"{path}: this is a folder.", expected="a file: " + READABLE, fix="name a file in it")
    if exists:
        raise ReadError(
            f"{path}: this is no ordinary file.", expected=READABLE, fix="copy it into a file first"
        )
    raise missing_file(path)


def missing_file(path: Path) -> ReadError:
    """Return the error for a file that does not exist, with the nearest names in its folder."""
    folder = path.parent
    if not folder.is_dir():
        return ReadError(
            f"{path}: no such file; there is no folder {folder}.",
            expected="the path of an existing file",
            fix="check the path",
        )
    names = [entry.name for entry in folder.iterdir()]
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    fix = f"did you mean {' or '.join(str(folder / name) for name in near)}?" if near else "check the path"
    return ReadError(f"{path}: no such file.", expected="the path of an existing file", fix=fix)


def detect_format(path: Path) -> str:
    """Return ``parquet``, ``xlsx``, ``fasta``, ``jsonl``, ``json`` (an array) or ``delimited``.

    Raises
    ------
    ReadError
        A binary file, one whose content contradicts its name, or one with no content at all.
    """
    head = _raw_head(path)
    if head.startswith(GZIP):
        head = head_of(path, _SAMPLE)
        if head[:2] in (b"PK", b"PA") or head.startswith(GZIP):
            raise ReadError(
                f"{path}: gzip holds another packed file.",
                expected="gzip of a text table",
                fix="unpack it once",
            )
    packed = _packed_format(head, path)
    return packed or _text_format(head, path)


def _raw_head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(_SAMPLE)
    except OSError as error:
        raise ReadError(
            f"{path}: the file cannot be read ({error.strerror}).", fix="check its permissions"
        ) from error


def _packed_format(head: bytes, path: Path) -> str:
    """Recognise Parquet and Excel; refuse what only claims to be a text table, and foreign formats."""
    suffix = suffix_of(path)
    if head.startswith(b"PAR1"):
        if suffix in TEXT_SUFFIXES:
            raise _renamed(path, "a Parquet file", "parquet")
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        if not _is_workbook(path):
            raise ReadError(f"{path}: this is a zip archive.", expected=READABLE, fix="unpack it first")
        if suffix in TEXT_SUFFIXES:
            raise _renamed(path, "an Excel workbook", "xlsx")
        return "xlsx"
    for magic, (what, fix) in _FOREIGN.items():
        if head.startswith(magic):
            raise ReadError(f"{path}: this is {what}.", expected=READABLE, fix=fix)
    if suffix in PARQUET_SUFFIXES + EXCEL_SUFFIXES:
        kind = "a Parquet file" if suffix in PARQUET_SUFFIXES else "an Excel workbook"
        raise ReadError(
            f"{path}: the name says {kind}, the content is not one.",
            expected=kind,
            fix="give the file the suffix of what it is, or copy it again if it was cut off",
        )
    return ""


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return suffix_of(path) in EXCEL_SUFFIXES  # damaged: openpyxl's complaint is passed on


def _renamed(path: Path, what: str, suffix: str) -> ReadError:
    return ReadError(
        f"{path}: this is {what}, not a {suffix_of(path)} file.",
        expected="a text table, as the name says",
        fix=f"rename it to {path.with_suffix('.' + suffix).name}, or export it as CSV",
    )


def _text_format(head: bytes, path: Path) -> str:
    encoding, mark = encoding_of(head, path)
    if encoding == "utf-8" and _looks_binary(head):
        raise ReadError(
            f"{path}: this is a binary file, not a table.", expected=READABLE, fix="check the path"
        )
    text = head[mark:].decode(encoding, errors="ignore").lstrip()
    suffix = suffix_of(path)
    if not text:
        raise ReadError(
            f"{path}: the file holds nothing but white space.",
            expected=READABLE,
            fix="check that the right file was exported",
        )
    if text.startswith(">"):
        return "fasta"
    if suffix in FASTA_SUFFIXES:
        raise ReadError(
            f"{path}: the name says FASTA, but the first line does not begin with '>'.",
            expected="records that begin with '>'",
            fix="give the file the suffix of what it is",
        )
    if text.startswith("[") and suffix in (*JSON_SUFFIXES, ""):
        return "json"
    if text.startswith('{"') or (text.startswith("{") and suffix in JSON_SUFFIXES):
        return "jsonl"
    if suffix in JSON_SUFFIXES:
        raise ReadError(
            f"{path}: the name says JSON, but the content begins with {text[0]!r}.",
            expected="one JSON object per line, or an array of objects",
            fix="give the file the suffix of what it is",
        )
    return "delimited"


def _looks_binary(head: bytes) -> bool:
    """Tell binary data by control characters that no text holds, or by many NUL bytes."""
    controls = len(head) - len(head.translate(None, _CONTROL))
    return controls > max(4, len(head) // 100) or head.count(0) > max(4, len(head) // 10)
