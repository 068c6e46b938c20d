"""What people and programs see: messages on stderr, results on stdout, tables, JSON."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from profactory.errors import ProFactoryError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def prepare() -> None:
    """Let output never fail for want of a character: a terminal without ✓ gets a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def is_first_process() -> bool:
    """Whether this is the process that speaks (under torchrun, one of several)."""
    return os.environ.get("RANK", "0") == "0"


def safe(text: object) -> str:
    """Show control characters (terminal escapes, direction overrides) instead of sending them."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", str(text))


def say(*lines: object) -> None:
    """Print a result."""
    if is_first_process():
        print("\n".join(safe(line) for line in lines), file=sys.stdout, flush=True)


def say_json(value: Any) -> None:
    """Print a result for programs; numbers that JSON does not know become null."""
    if is_first_process():
        print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False), flush=True)


def say_error(text: str) -> None:
    """Print an error to stderr."""
    print(f"Error: {safe(text)}", file=sys.stderr, flush=True)


def say_problem(error: ProFactoryError, *, as_json: bool) -> None:
    """Print one of our errors for people, and for programs if they asked for JSON."""
    say_error(str(error))
    if as_json:
        say_json(error.to_dict())


def table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Align rows under their column names; numbers to the right.

    Parameters
    ----------
    rows
        One mapping per row.
    columns
        Which, in which order; those of the first row if not given.
    """
    if not rows:
        return ""
    names = list(columns or rows[0])
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    right = [
        all(isinstance(row.get(name), int | float) or row.get(name) in (None, "") for row in rows)
        for name in names
    ]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    ruler = ["-" * width for width in widths]
    return "\n".join(_line(line, widths, right) for line in [names, ruler, *cells])


def facts(values: Mapping[str, object]) -> str:
    """Write ``name  value`` lines, names aligned."""
    width = max((len(name) for name in values), default=0)
    return "\n".join(f"{name:<{width}}  {_cell(value)}" for name, value in values.items())


@contextlib.contextmanager
def messages() -> Iterator[None]:
    """While inside, what the library says (logger ``profactory``) goes to stderr."""
    logger = logging.getLogger("profactory")
    handler = _Messages()
    before, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate


class _Messages(logging.Handler):
    """Plain lines on whatever stderr is now; warnings say that they are."""

    def __init__(self) -> None:
        super().__init__(logging.INFO if is_first_process() else logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        lead = "" if record.levelno < logging.WARNING else f"{record.levelname.capitalize()}: "
        print(lead + safe(record.getMessage()), file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "-"
    return safe(value)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True)]
    return "  ".join(padded).rstrip()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value)
