"""What the machines of a cluster do: read a file in blocks, compute a block, write its part.

Nothing here knows Ray. Between machines a block is the bytes of an Arrow stream and an error is its JSON, so
that the user sees it as if it had happened at home.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from profactory import errors
from profactory.errors import MemoryBudgetError, Problem, ProFactoryError
from profactory.inference.row_blocks import RowBlock
from profactory.scale.inputs import Input, Piece
from profactory.scale.parts import begin_part, write_part

#: Computes a block: the table of its part, and what is counted in it.
Compute = Callable[[RowBlock, Piece], tuple[pa.Table, dict[str, Any]]]
#: How many workers a block may take with it.
TRIES = 4
_ABOUT = b"profactory"


class Job(Protocol):
    """What is computed. Travels to the machines, and is opened there once by every worker."""

    def open(self, device: str) -> Compute:
        """Load the model onto ``cpu`` or ``cuda``."""


@dataclass(frozen=True)
class Reader:
    """Reads the files of the input on the machines.

    Parameters
    ----------
    source
        The input.
    size
        Rows of a block.
    wanted
        File to the blocks of it that are to be computed.
    """

    source: Input
    size: int
    wanted: Mapping[int, Mapping[int, Piece]]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Yield the wanted blocks of one file, a row each: ``piece``, ``block``, ``error``."""
        wanted = self.wanted[batch.column("item")[0].as_py()]
        try:
            for number, block in enumerate(self.source.blocks(next(iter(wanted.values())).file, self.size)):
                if number in wanted:
                    yield _row(piece=json.dumps(asdict(wanted[number])), block=pack(block), error="")
        except (ProFactoryError, OSError) as error:
            yield _row(piece="", block=b"", error=describe(error))


class Worker:
    """Computes blocks with a model that it loads once.

    Parameters
    ----------
    job
        What is computed.
    folder
        Where the parts go.
    device
        ``cpu`` or ``cuda``.
    threads
        For the computation; 0 leaves it to torch.
    surroundings
        Environment variables, set before any library reads them.
    """

    def __init__(
        self, job: Job, folder: Path, device: str, threads: int, surroundings: Mapping[str, str]
    ) -> None:
        os.environ.update(surroundings)
        self.job, self.folder, self.device, self.threads = job, folder, device, threads

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Compute one block and write its part; return its name, rows and error, a row each."""
        (row,) = batch.to_pylist()
        if row["error"]:
            return _row(part="", rows=0, error=row["error"])
        piece = Piece(**json.loads(row["piece"]))
        try:
            file = self._begin(piece)
            table, counts = self._compute(unpack(row["block"]), piece)
            write_part(file, table, counts)
        except Exception as error:  # noqa: BLE001 - shown whole to the user, who is on another machine
            return _row(part=piece.name, rows=0, error=describe(error))
        return _row(part=piece.name, rows=piece.rows, error="")

    def _begin(self, piece: Piece) -> Path:
        """Return the file of a part; refuse one over which worker after worker has died."""
        if not self.folder.is_dir():
            raise ProFactoryError(
                f"{self.folder} does not exist.",
                expected="a folder that every machine of the cluster sees under this path",
                fix="choose an --out on the file system that the machines share",
            )
        file = self.folder / piece.name
        if begin_part(file) > TRIES:
            raise MemoryBudgetError(
                f"{TRIES} workers died over the rows {piece.first:,} to {piece.first + piece.rows - 1:,}.",
                expected="workers with enough memory for the model and one batch",
                fix="fewer --workers, or a smaller --tokens-per-batch",
            )
        return file

    @cached_property
    def _compute(self) -> Compute:
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        return self.job.open(self.device)


def pack(block: RowBlock) -> bytes:
    """Return a block as bytes."""
    unreadable = {str(row): problem.to_dict() for row, problem in block.unreadable.items()}
    about = json.dumps({"lines": block.lines, "unreadable": unreadable}).encode()
    cells = block.cells.replace_schema_metadata({_ABOUT: about})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, cells.schema) as writer:
        writer.write_batch(cells)
    return bytes(sink.getvalue().to_pybytes())


def unpack(data: bytes) -> RowBlock:
    """Return the block of :func:`pack`."""
    with pa.ipc.open_stream(data) as reader:
        cells = reader.read_next_batch()
    about = json.loads(cells.schema.metadata[_ABOUT])
    unreadable = {int(row): Problem(**problem) for row, problem in about["unreadable"].items()}
    return RowBlock(cells, about["lines"], unreadable)


def describe(error: Exception) -> str:
    """Return an error as JSON, with the machine on which it happened."""
    if isinstance(error, ProFactoryError):
        return json.dumps({**error.to_dict(), "machine": socket.gethostname()})
    found = f"{type(error).__name__}: {error}"
    return json.dumps({"error": "ProFactoryError", "found": found, "machine": socket.gethostname()})


def reraise(text: str) -> None:
    """Raise the error that a machine described.

    Raises
    ------
    ProFactoryError
        Of the class that it had, naming the machine.
    """
    about = json.loads(text)
    kind = getattr(errors, about["error"], ProFactoryError)
    error = ProFactoryError(
        f"{about['found']} (on {about['machine']})",
        expected=about.get("expected", ""),
        fix=about.get("fix", ""),
        problems=[Problem(**problem) for problem in about.get("problems", [])],
    )
    if kind in (errors.MissingExtraError, errors.StoppedError):  # made of other arguments
        raise error
    raise kind(error.found, expected=error.expected, fix=error.fix, problems=error.problems)


def wanted_by_file(pieces: Collection[Piece]) -> dict[int, dict[int, Piece]]:
    """Sort blocks by file and number."""
    wanted: dict[int, dict[int, Piece]] = {}
    for piece in pieces:
        wanted.setdefault(piece.file, {})[piece.number] = piece
    return wanted


def _row(**cells: Any) -> pa.Table:
    return pa.table({name: [value] for name, value in cells.items()})
