"""Safetensors files that somebody else may have written: headers are checked before anything is read.

The format is a length (8 bytes, little endian), a header in JSON that gives each tensor's type, shape
and place, and the numbers (https://huggingface.co/docs/safetensors). Nothing in it can be executed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from profactory.errors import ModelLoadError

MAX_HEADER = 1 << 20
MAX_TENSORS = 10_000
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorInfo:
    """Type and shape of one tensor, as the header says."""

    dtype: str
    shape: tuple[int, ...]


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Read and check a header.

    Raises
    ------
    ModelLoadError
        If the file is missing, truncated, too large in header or number of tensors, of an unknown
        type, or if tensors overlap or leave the file.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            start = handle.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise _damaged(file, f"its header claims {length:,} of {size:,} bytes")
            header = json.loads(handle.read(length))
    except FileNotFoundError:
        raise _damaged(file, "it is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(file, str(error)) from error
    return _check_header(file, header, size - 8 - length)


def _check_header(file: Path, header: Any, data_size: int) -> dict[str, TensorInfo]:
    if not isinstance(header, dict):
        raise _damaged(file, "its header is not an object")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise _damaged(file, f"it holds {len(header):,} tensors; {MAX_TENSORS:,} are allowed")
    end = 0
    infos = {}
    for name, entry in sorted(header.items(), key=_offset):
        infos[name], stop = _check_entry(file, name, entry, end)
        end = stop
    if end != data_size:
        raise _damaged(file, f"its tensors take {end:,} bytes and {data_size:,} are there")
    return infos


def _offset(item: tuple[str, Any]) -> int:
    try:
        return int(item[1]["data_offsets"][0])
    except (TypeError, KeyError, IndexError, ValueError):
        return -1  # refused by _check_entry


def _check_entry(file: Path, name: str, entry: Any, expected_start: int) -> tuple[TensorInfo, int]:
    try:
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, start, stop))
    except (TypeError, KeyError, ValueError) as error:
        raise _damaged(file, f"the entry of tensor {name!r} is not of the format") from error
    if dtype not in _BYTES:
        raise _damaged(file, f"tensor {name!r} is of type {dtype!r}; allowed are {', '.join(_BYTES)}")
    if not whole or start != expected_start or stop - start != math.prod(shape) * _BYTES[dtype]:
        raise _damaged(file, f"tensor {name!r} does not lie where its shape says")
    return TensorInfo(dtype, shape), stop


def check_shapes(
    file: Path, found: Mapping[str, TensorInfo], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Require exactly the expected names and shapes.

    Raises
    ------
    ModelLoadError
        Naming what is missing, superfluous or of another shape.
    """
    wrong = [f"{name!r} is missing" for name in expected if name not in found]
    wrong += [f"{name!r} does not belong there" for name in found if name not in expected]
    wrong += [
        f"{name!r} has shape {list(found[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and found[name].shape != tuple(shape)
    ]
    if wrong:
        raise _damaged(
            file, "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        )


def read_exactly(file: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Read a file whose names and shapes must be as `expected`, checked before any tensor is made."""
    check_shapes(file, read_header(file), expected)
    try:
        tensors: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(file, str(error)) from error
    return tensors


def _damaged(file: Path, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"{file} is not a usable safetensors file: {reason}.",
        expected="a file as it was saved",
        fix="copy or download it again",
    )
