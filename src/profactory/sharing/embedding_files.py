"""Embeddings as files that other programs read, written block by block. Torch-free."""

from __future__ import annotations

import importlib.util
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from profactory.errors import ConfigError, MissingExtraError
from profactory.files import atomic_file

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Vectors of many sequences, given block by block.

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
        Identifiers, or nothing.
    """

    blocks: Callable[[], Iterator[Floats]]
    width: int
    lengths: NDArray[np.int64] | None
    rows: NDArray[np.int64]
    names: Sequence[str]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where the vectors of each sequence begin and the last ends, ``(n + 1,)``."""
        counts = np.ones(len(self.rows), np.int64) if self.lengths is None else self.lengths
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int]:
        """Of all vectors."""
        return int(self.offsets[-1]), self.width

    def beside(self) -> dict[str, NDArray[Any]]:
        """Return the arrays beside the vectors: rows, and names and offsets where there are any."""
        arrays: dict[str, NDArray[Any]] = {"row": self.rows}
        if self.names:
            arrays["id"] = np.array(self.names, dtype=np.str_)
        if self.lengths is not None:
            arrays["offsets"] = self.offsets
        return arrays


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
        with archive.open("embeddings.npy", "w", force_zip64=True) as sink:
            header = {"descr": "<f4", "fortran_order": False, "shape": embeddings.shape}
            npy.write_array_header_2_0(sink, header)
            for block in embeddings.blocks():
                sink.write(np.ascontiguousarray(block, "<f4").tobytes())
        for name, array in embeddings.beside().items():
            with archive.open(f"{name}.npy", "w") as sink:
                npy.write_array(sink, array, allow_pickle=False)


def _h5(file: Path, embeddings: Embeddings) -> None:
    import h5py

    with h5py.File(file, "w") as store:
        vectors = store.create_dataset("embeddings", embeddings.shape, "<f4")
        start = 0
        for block in embeddings.blocks():
            vectors[start : start + len(block)] = block
            start += len(block)
        for name, array in embeddings.beside().items():
            store[name] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array


def _parquet(file: Path, embeddings: Embeddings) -> None:
    """One row per sequence; per residue the cell is a list of vectors."""
    vector = pa.list_(pa.float32(), embeddings.width)
    fields = [("row", pa.int64()), *([("id", pa.string())] if embeddings.names else [])]
    cell = vector if embeddings.lengths is None else pa.list_(vector)
    schema = pa.schema([*fields, ("embedding", cell)])
    first = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for block in embeddings.blocks():
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), embeddings.width)
            last = int(np.searchsorted(embeddings.offsets, embeddings.offsets[first] + len(block)))
            if embeddings.lengths is not None:
                inner = embeddings.offsets[first : last + 1] - embeddings.offsets[first]
                vectors = pa.ListArray.from_arrays(pa.array(inner, pa.int32()), vectors)
            columns = [pa.array(embeddings.rows[first:last])]
            columns += [pa.array(embeddings.names[first:last], pa.string())] if embeddings.names else []
            writer.write_table(pa.table([*columns, vectors], schema=schema))
            first = last


def _safetensors(file: Path, embeddings: Embeddings) -> None:
    """The format has no text: identifiers are left out, and ``row`` tells which is which."""
    arrays = {name: array for name, array in embeddings.beside().items() if name != "id"}
    size = 4 * int(np.prod(embeddings.shape))
    header: dict[str, Any] = {
        "embeddings": {"dtype": "F32", "shape": list(embeddings.shape), "data_offsets": [0, size]}
    }
    for name, array in arrays.items():
        header[name] = {
            "dtype": "I64",
            "shape": list(array.shape),
            "data_offsets": [size, size + array.nbytes],
        }
        size += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as sink:
        sink.write(struct.pack("<Q", len(text)) + text)
        for block in embeddings.blocks():
            sink.write(np.ascontiguousarray(block, "<f4").tobytes())
        for array in arrays.values():
            sink.write(np.ascontiguousarray(array, "<i8").tobytes())


_WRITERS: dict[str, Callable[[Path, Embeddings], None]] = {
    ".npz": _npz,
    ".h5": _h5,
    ".parquet": _parquet,
    ".safetensors": _safetensors,
}
