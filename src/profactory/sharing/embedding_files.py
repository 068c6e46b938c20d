"""Embeddings as files that other programs read, written block by block. Torch-free."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from profactory.errors import ConfigError, MissingExtraError
from profactory.files import atomic_file

Floats = NDArray[np.float32]
_NAMES = 1 << 14  # identifiers at a time
_MADE = (1980, 1, 1, 0, 0, 0)  # an interrupted and an uninterrupted computation end with the same bytes


@dataclass(frozen=True)
class Embeddings:
    """Vectors of many sequences, given block by block; identifiers may lie on disk.

    Parameters
    ----------
    blocks
        Called for an iterator over the vectors in order, ``(some, width)`` each.
    width
        Numbers per vector.
    lengths
        Residues of each sequence where there is a vector per residue; None where there is one per sequence.
    rows
        Row of the input of each sequence, from 1.
    names
        Identifiers, or None.
    """

    blocks: Callable[[], Iterator[Floats]]
    width: int
    lengths: NDArray[np.int64] | None
    rows: NDArray[np.int64]
    names: pa.ChunkedArray | None

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where the vectors of each sequence begin and the last ends, ``(n + 1,)``."""
        counts = np.ones(len(self.rows), np.int64) if self.lengths is None else self.lengths
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """Of all vectors."""
        return int(self.offsets[-1]), self.width

    @property
    def nbytes(self) -> int:
        """Of all vectors."""
        return 4 * self.shape[0] * self.width

    def numbers(self) -> dict[str, NDArray[np.int64]]:
        """Return the arrays beside the vectors: rows, and per residue the offsets."""
        return {"row": self.rows} if self.lengths is None else {"row": self.rows, "offsets": self.offsets}

    def name_blocks(self) -> Iterator[list[str]]:
        """Yield the identifiers in order, some at a time; nothing if there are none."""
        for start in range(0, 0 if self.names is None else len(self.rows), _NAMES):
            yield self.names.slice(start, _NAMES).to_pylist() if self.names is not None else []


def write_embeddings(file: Path, embeddings: Embeddings) -> None:
    """Write embeddings atomically in the format of the file's ending: npz, h5, parquet or safetensors."""
    with atomic_file(file) as temporary:
        _WRITERS[check_format(file)](temporary, embeddings)


def check_format(file: Path) -> str:
    """Return the format of a file by its ending.

    Raises
    ------
    ConfigError
        There is none of that ending.
    MissingExtraError
        The package for it is not installed.
    """
    ending = file.suffix.lower()
    if ending not in _WRITERS:
        raise ConfigError(
            f"Embeddings cannot be written as {file.name!r}.",
            expected=", ".join(_WRITERS),
            fix="--out embeddings.npz",
        )
    if ending == ".h5" and importlib.util.find_spec("h5py") is None:
        raise MissingExtraError("Writing HDF5", "embed")
    return ending


def _npz(file: Path, embeddings: Embeddings) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with _entry(archive, "embeddings", "<f4", embeddings.shape) as sink:
            for block in embeddings.blocks():
                sink.write(np.ascontiguousarray(block, "<f4").tobytes())
        for name, array in embeddings.numbers().items():
            with _entry(archive, name, "<i8", array.shape) as sink:
                sink.write(np.ascontiguousarray(array, "<i8").tobytes())
        if embeddings.names is not None:
            kind = f"<U{max(1, pc.max(pc.utf8_length(embeddings.names)).as_py())}"
            with _entry(archive, "id", kind, (len(embeddings.rows),)) as sink:
                for names in embeddings.name_blocks():
                    sink.write(np.array(names, kind).tobytes())


@contextlib.contextmanager
def _entry(archive: zipfile.ZipFile, name: str, kind: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open an array of an npz file behind its header; the same arrays give the same bytes at any time."""
    with archive.open(zipfile.ZipInfo(f"{name}.npy", _MADE), "w", force_zip64=True) as sink:
        npy.write_array_header_2_0(sink, {"descr": kind, "fortran_order": False, "shape": shape})
        yield sink


def _h5(file: Path, embeddings: Embeddings) -> None:
    import h5py

    with h5py.File(file, "w") as store:
        _fill(store.create_dataset("embeddings", embeddings.shape, "<f4"), embeddings.blocks())
        for name, array in embeddings.numbers().items():
            store[name] = array
        if embeddings.names is not None:
            made = store.create_dataset("id", (len(embeddings.rows),), h5py.string_dtype())
            _fill(made, embeddings.name_blocks())


def _fill(stored: Any, blocks: Iterator[Any]) -> None:
    start = 0
    for block in blocks:
        stored[start : start + len(block)] = block
        start += len(block)


def _parquet(file: Path, embeddings: Embeddings) -> None:
    """One row per sequence; per residue the cell is a list of vectors."""
    schema = table_schema(embeddings.width, embeddings.lengths is not None, embeddings.names is not None)
    offsets, first = embeddings.offsets, 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for block in embeddings.blocks():
            last = int(np.searchsorted(offsets, offsets[first] + len(block)))
            named = embeddings.names
            names = None if named is None else named.slice(first, last - first).to_pylist()
            inner = offsets[first : last + 1] - offsets[first]
            writer.write_table(embedding_table(schema, block, embeddings.rows[first:last], names, inner))
            first = last


def table_schema(width: int, per_residue: bool, named: bool) -> pa.Schema:
    """Return the columns of a table of embeddings: ``row``, ``id`` if there are any, ``embedding``."""
    vector = pa.list_(pa.float32(), width)
    fields = [("row", pa.int64()), *([("id", pa.string())] if named else [])]
    return pa.schema([*fields, ("embedding", pa.list_(vector) if per_residue else vector)])


def embedding_table(
    schema: pa.Schema,
    vectors: Floats,
    rows: NDArray[np.int64],
    names: list[str] | None,
    offsets: NDArray[np.int64],
) -> pa.Table:
    """Return some embeddings as a table.

    Parameters
    ----------
    schema
        From :func:`table_schema`.
    vectors
        ``(n, width)``, or ``(residues, width)`` where there is a vector per residue.
    rows, names
        Row of the input and identifier of each sequence.
    offsets
        Where the residues of each sequence begin and the last end, ``(n + 1,)``.
    """
    cells = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    if pa.types.is_list(schema.field("embedding").type):
        cells = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), cells)
    columns = [pa.array(rows), *([] if names is None else [pa.array(names, pa.string())]), cells]
    return pa.table(columns, schema=schema)


def _safetensors(file: Path, embeddings: Embeddings) -> None:
    """The format has no text: identifiers are UTF-8 bytes one after the other, and where each begins."""
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {"embeddings": ("F32", embeddings.shape)}
    numbers = embeddings.numbers()
    if embeddings.names is not None:
        sizes = np.asarray(pc.binary_length(embeddings.names), np.int64)
        numbers["id_offsets"] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    kinds |= {name: ("I64", array.shape) for name, array in numbers.items()}
    if embeddings.names is not None:
        kinds["id"] = ("U8", (int(numbers["id_offsets"][-1]),))
    with file.open("wb") as sink:
        sink.write(_safetensors_header(kinds))
        for block in embeddings.blocks():
            sink.write(np.ascontiguousarray(block, "<f4").tobytes())
        for array in numbers.values():
            sink.write(np.ascontiguousarray(array, "<i8").tobytes())
        for names in embeddings.name_blocks():
            sink.write("".join(names).encode())


def _safetensors_header(kinds: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Return what stands before tensors that follow each other in this order."""
    header: dict[str, Any] = {}
    start = 0
    for name, (kind, shape) in kinds.items():
        stop = start + {"F32": 4, "I64": 8, "U8": 1}[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


_WRITERS: dict[str, Callable[[Path, Embeddings], None]] = {
    ".npz": _npz,
    ".h5": _h5,
    ".parquet": _parquet,
    ".safetensors": _safetensors,
}
