"""Text files as blocks of whole lines in UTF-8, whatever their encoding, compression and line ends."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

from profactory.data.reading.table import Limits
from profactory.errors import ReadError

GZIP = b"\x1f\x8b"
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading; gzip is recognised by its content, not by its name."""
    with path.open("rb") as handle:
        packed = handle.read(2) == GZIP
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def read_some(handle: BinaryIO, size: int, path: Path) -> bytes:
    """Read up to `size` bytes.

    Raises
    ------
    ReadError
        If the compressed data are damaged or cut off.
    """
    try:
        return handle.read(size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ReadError(
            f"{path}: the compressed data are damaged or cut off ({error}).",
            expected="a whole gzip file",
            fix="download or copy the file again; `gzip -t FILE` tells whether it is whole",
        ) from error


def head_of(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with open_bytes(path) as handle:
        return read_some(handle, size, path)


@dataclass
class Block:
    """Whole lines of a text file.

    Parameters
    ----------
    data
        UTF-8, ending with a line end unless it is the last block.
    line
        Number of the first line, from 1.
    """

    data: bytes
    line: int

    def text_lines(self) -> list[str]:
        """Return the lines with their ends; only CR, LF and CRLF end a line."""
        return list(io.StringIO(self.data.decode("utf-8"), newline=""))

    @cached_property
    def line_ends(self) -> int:
        """How many line ends the block holds (CR, LF and CRLF count as one each)."""
        return count_line_ends(self.data)

    @property
    def lines(self) -> int:
        """How many lines the block holds; the last of a file may lack its end."""
        return self.line_ends + (not self.data.endswith((b"\n", b"\r")))


def count_line_ends(data: bytes) -> int:
    """Count CR, LF and CRLF, each as one."""
    ends = data.count(b"\n")
    if b"\r" in data:
        ends += data.count(b"\r") - data.count(b"\r\n")
    return ends


def encoding_of(head: bytes, path: Path) -> tuple[str, int]:
    """Return the encoding by byte-order mark (UTF-8 without one) and the length of the mark.

    Raises
    ------
    ReadError
        For UTF-32, and for UTF-16 without a mark (every second byte is zero).
    """
    if head.startswith(WIDE_MARKS):
        raise _refuse_encoding(path, "UTF-32", "UTF-32")
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    for start, name in ((0, "UTF-16BE"), (1, "UTF-16LE")):
        half = head[:2000][start::2]
        if len(half) >= 4 and half.count(0) > 0.9 * len(half):
            raise _refuse_encoding(path, "UTF-16 without a byte-order mark", name)
    return "utf-8", 0


def _refuse_encoding(path: Path, what: str, iconv: str) -> ReadError:
    return ReadError(
        f"{path}: the text is encoded in {what}.",
        expected="UTF-8, or UTF-16 with a byte-order mark",
        fix=f"save it as UTF-8, or: iconv -f {iconv} -t UTF-8 FILE > NEW",
    )


def blocks(path: Path, limits: Limits) -> Iterator[Block]:
    """Yield the text of a file as UTF-8 blocks that end at line ends.

    Raises
    ------
    ReadError
        Damaged gzip, a byte that is not in the encoding (with its line), or a line above the limit.
    """
    line, rest = 1, b""
    for data in _decoded(path, limits):
        rest += data
        cut = _last_line_end(rest)
        if cut:
            block = Block(rest[:cut], line)
            _check_text(block, path)
            yield block
            line += block.line_ends
            rest = rest[cut:]
        if len(rest) > limits.line:
            raise ReadError(
                f"{path}: line {line:,} is longer than {limits.line:,} bytes.",
                expected="one row per line",
                fix="check that this is a text table and that its line ends were not lost",
            )
    if rest:
        block = Block(rest, line)
        _check_text(block, path)
        yield block


def _last_line_end(data: bytes) -> int:
    """Return the position after the last line end; a final CR may be half of a CRLF and waits."""
    newline = data.rfind(b"\n") + 1
    return newline or data.rfind(b"\r", 0, len(data) - 1) + 1


def _decoded(path: Path, limits: Limits) -> Iterator[bytes]:
    """Yield the file's bytes as UTF-8 (checked later, by line) without the byte-order mark."""
    with open_bytes(path) as handle:
        data = read_some(handle, limits.block, path)
        encoding, mark = encoding_of(data, path)
        data = data[mark:]
        decoder = codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None
        while data:
            yield data if decoder is None else _recode(decoder, data, path)
            data = read_some(handle, limits.block, path)
        if decoder is not None:
            yield _recode(decoder, b"", path, final=True)


def _recode(decoder: codecs.IncrementalDecoder, data: bytes, path: Path, *, final: bool = False) -> bytes:
    try:
        return decoder.decode(data, final).encode("utf-8")
    except UnicodeError as error:
        raise ReadError(
            f"{path}: the text breaks its encoding, UTF-16 ({error}).",
            expected="whole UTF-16 characters, as its byte-order mark says",
            fix="save it again as UTF-8",
        ) from error


def _check_text(block: Block, path: Path) -> None:
    if block.data.isascii():
        return
    try:
        block.data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.line + count_line_ends(block.data[: error.start])
        raise ReadError(
            f"{path}: byte 0x{block.data[error.start]:02X} in line {line:,} is not UTF-8.",
            expected="text in UTF-8, or UTF-16 with a byte-order mark",
            fix="save it as UTF-8; if it came from Windows: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW",
        ) from error
