"""The output: a folder with a Parquet file for each block, whole or not there. Torch-free.

``_request.json`` says what the parts are of and is there from the beginning; ``_manifest.json`` lists all of
them and is written last, so that a folder without it is unfinished. Readers of Parquet folders (pyarrow,
polars, DuckDB, Spark) pass over names that begin with an underscore.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from profactory.errors import ConfigError, RunExistsError
from profactory.files import atomic_file, atomic_write_json, read_json
from profactory.scale.inputs import Piece

SCHEMA_VERSION = 1
REQUEST, MANIFEST = "_request.json", "_manifest.json"
_COUNTS = b"profactory"
_FILES = (".csv", ".tsv", ".jsonl", ".gz", ".npz", ".h5", ".safetensors")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot become the output.

    Raises
    ------
    ConfigError
        It is named like a file, or is one, or holds files that are not ours.
    RunExistsError
        It is a finished output, and nothing is overwritten unasked.
    """
    if folder.suffix.lower() in _FILES or folder.is_file():
        raise ConfigError(
            f"{folder} is a file, and a cluster writes a folder of Parquet files.",
            expected="the name of a folder",
            fix=f"--out {folder.with_suffix('')}",
        )
    if not folder.is_dir() or not any(folder.iterdir()) or (folder / REQUEST).is_file():
        if (folder / MANIFEST).is_file() and not overwrite:
            raise RunExistsError(
                f"{folder} exists already and is complete.",
                expected="a folder that is free: nothing is overwritten unasked",
                fix="choose another --out, or add --overwrite",
            )
        return
    raise ConfigError(
        f"{folder} holds other files.", expected="a new or empty folder", fix="choose another --out"
    )


def write_part(file: Path, table: pa.Table, counts: Mapping[str, Any]) -> None:
    """Write a part; one that is there already, of a worker that died after writing, is replaced."""
    noted = table.replace_schema_metadata({_COUNTS: json.dumps(counts).encode()})
    with atomic_file(file) as temporary:
        pq.write_table(noted, temporary, compression="zstd")
    _note(file).unlink(missing_ok=True)


def begin_part(file: Path) -> int:
    """Note that a part is begun, and return how often it was; :func:`write_part` forgets it."""
    note = _note(file)
    with note.open("ab") as handle:
        handle.write(b".")
    return note.stat().st_size


def _note(file: Path) -> Path:
    return file.with_name(f".{file.name}.begun")


class Parts:
    """The finished parts of one output.

    Parameters
    ----------
    folder
        Checked by :func:`check_folder`.
    request
        All that decides the content, as JSON.
    overwrite
        Throw away what is there of another request, or finished.

    Raises
    ------
    RunExistsError
        The folder holds parts of another input, model or option.
    """

    def __init__(self, folder: Path, request: Mapping[str, Any], *, overwrite: bool) -> None:
        self.folder = folder
        request = {"schema_version": SCHEMA_VERSION, **request}
        if not self._is_of(request) or (folder / MANIFEST).is_file():
            if (folder / REQUEST).is_file() and not overwrite:
                raise RunExistsError(
                    f"{folder} holds unfinished work on another input, model or option.",
                    fix="repeat the command that began it, choose another --out, or add --overwrite",
                )
            self.discard()
            atomic_write_json(folder / REQUEST, request)
        self._remove_temporary()

    def missing(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return the blocks without a whole part."""
        return [piece for piece in pieces if not self._is_whole(piece)]

    def counts(self, piece: Piece) -> dict[str, Any]:
        """Return what was counted in a part."""
        counts: dict[str, Any] = json.loads(pq.read_schema(self.folder / piece.name).metadata[_COUNTS])
        return counts

    def finish(self, pieces: Sequence[Piece], about: Mapping[str, Any]) -> None:
        """Write the manifest."""
        self._remove_temporary()
        listed = [{"file": piece.name, "first_row": piece.first, "rows": piece.rows} for piece in pieces]
        atomic_write_json(
            self.folder / MANIFEST, {"schema_version": SCHEMA_VERSION, **about, "parts": listed}
        )

    def discard(self) -> None:
        """Remove all that is ours."""
        (self.folder / MANIFEST).unlink(missing_ok=True)  # first: without it nothing looks complete
        for file in [*self.folder.glob("part-*.parquet"), self.folder / REQUEST]:
            file.unlink(missing_ok=True)

    def _is_of(self, request: Mapping[str, Any]) -> bool:
        try:
            return bool(read_json(self.folder / REQUEST) == request)
        except (OSError, ValueError):
            return False

    def _is_whole(self, piece: Piece) -> bool:
        try:
            return bool(self.counts(piece))
        except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError):
            return False

    def _remove_temporary(self) -> None:
        """Remove what killed workers left."""
        for file in self.folder.glob(".part-*"):
            file.unlink(missing_ok=True)
