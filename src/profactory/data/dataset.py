"""A validated table on disk: memory-mapped Arrow, with a content hash."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profactory.data.columns import Columns
from profactory.data.texts import Texts, take
from profactory.errors import ReadError
from profactory.files import read_json, sha256_file

VERSION = 2
DATA_FILE = "data.arrow"
META_FILE = "meta.json"
REJECTED_FILE = "rejected.arrow"
# Our own columns stand behind the user's; a colon and blank keep them apart from any sensible header.
LINE, FILE, SPLIT, LENGTH = (f"profactory: {name}" for name in ("line", "file", "split", "length"))
OWN = (LINE, FILE, SPLIT, LENGTH)
SPLIT_CODES = ("", "train", "validation", "test")

Rows = Sequence[int] | NDArray[np.integer[Any]]


class Dataset:
    """The usable rows of a data set, or a selection of them.

    Sequences are clean by the residue policy; all other columns are the text of the file.

    Parameters
    ----------
    path
        Folder that holds the Arrow file.
    full
        The memory-mapped table with our own columns behind the user's.
    meta
        Contents of ``meta.json``.
    rows
        Rows that this view shows; None for all.
    """

    def __init__(
        self, path: Path, full: pa.Table, meta: dict[str, Any], rows: NDArray[np.int64] | None = None
    ) -> None:
        self.path = path
        self.meta = meta
        self.columns = Columns.from_dict(meta["columns"])
        self.content_hash: str = meta["sha256"]
        self.sources: list[dict[str, Any]] = meta["sources"]
        self._full = full
        self._rows = rows

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = True) -> Dataset:
        """Open a data set folder.

        Parameters
        ----------
        path
            The folder.
        verify
            Whether to hash the data and compare; only what was written a moment ago needs no proof.

        Raises
        ------
        ReadError
            If it is damaged or of another version.
        """
        folder = Path(path)
        try:
            meta = read_json(folder / META_FILE)
            if meta["version"] != VERSION:
                raise ReadError(
                    f"{folder}: written by another version of ProFactory.", fix="remove the folder"
                )
            if verify and sha256_file(folder / DATA_FILE) != meta["sha256"]:
                raise ReadError(f"{folder}: the data are damaged (wrong SHA-256).", fix="remove the folder")
            return cls(folder, open_arrow(folder / DATA_FILE), meta)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise ReadError(
                f"{folder}: no usable data set ({error}).",
                expected=f"a folder with {DATA_FILE} and {META_FILE}",
                fix="remove the folder; it is made again from its source",
            ) from error

    def __len__(self) -> int:
        return self._full.num_rows if self._rows is None else len(self._rows)

    def select(self, rows: Rows) -> Dataset:
        """Return a view of some rows, in the order given; nothing is copied until a column is read."""
        return Dataset(self.path, self._full, self.meta, self._places(rows))

    @property
    def table(self) -> pa.Table:
        """The columns of the user's table as text, in their order."""
        names = [name for name in self._full.column_names if name not in OWN]
        return pa.table([self.column(name) for name in names], names=names)

    @property
    def sequences(self) -> Texts:
        """The sequences, read when they are asked for."""
        return self.texts(self.columns.sequence)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Residues of each sequence; shape ``(n,)``."""
        return np.asarray(self.column(LENGTH).to_numpy(), np.int32)

    @cached_property
    def splits(self) -> NDArray[np.object_]:
        """``train``, ``validation``, ``test``, or empty where the data give no split; shape ``(n,)``."""
        names = np.array(SPLIT_CODES, object)  # a row is a reference; as text it would take 40 bytes
        return np.asarray(names[self.column(SPLIT).to_numpy()], object)

    @property
    def divided(self) -> bool:
        """Whether the data say of any row which split it is in."""
        return bool(self.column(SPLIT).to_numpy().any())

    @cached_property
    def lines(self) -> NDArray[np.int64]:
        """Line of each row in its file; shape ``(n,)``."""
        return np.asarray(self.column(LINE).to_numpy(), np.int64)

    @property
    def files(self) -> list[str]:
        """Path of the file from which each row comes."""
        paths = [source["path"] for source in self.sources]
        return [paths[index] for index in self.column(FILE).to_pylist()]

    @property
    def labels(self) -> Any:
        """All label cells; see :meth:`label_cells`."""
        return self.label_cells()

    @property
    def identifiers(self) -> list[str] | None:
        """Name of each protein, if a column holds it."""
        name = self.columns.identifier
        return None if name is None else [str(cell) for cell in self.column(name).to_pylist()]

    def label_cells(self, rows: Rows | None = None, *, column: str | None = None) -> Any:
        """Return raw label cells, as :meth:`profactory.tasks.Task.encode` takes them.

        Parameters
        ----------
        rows
            Which rows; None for all.
        column
            One of several label columns; None for all of them.

        Returns
        -------
        list
            One text per row; with several label columns a list of texts per row.
        """
        names = [column] if column else list(self.columns.labels)
        cells = [self.column(name, rows).to_pylist() for name in names]
        return cells[0] if len(cells) == 1 else [list(row) for row in zip(*cells, strict=True)]

    def texts(self, name: str, rows: Rows | None = None) -> Texts:
        """Return a column, or some rows of it in the order given, without reading it yet."""
        return Texts(self._full.column(name), self._places(rows))

    def column(self, name: str, rows: Rows | None = None) -> pa.ChunkedArray:
        """Return a column, or some rows of it in the order given."""
        values, places = self._full.column(name), self._places(rows)
        return values if places is None else take(values, places)

    def _places(self, rows: Rows | None) -> NDArray[np.int64] | None:
        """Return where rows of this view are in the file; None for all of it."""
        if rows is None:
            return self._rows
        chosen = np.asarray(rows, np.int64)
        return chosen if self._rows is None else self._rows[chosen]


def open_arrow(path: Path) -> pa.Table:
    """Memory-map an Arrow IPC file."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
