"""One output of many parts, from the first look at the input to the manifest. Torch-free."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from profactory.files import disk_room
from profactory.inference.partial import working_alone
from profactory.progress import Progress
from profactory.scale.cluster import Cluster
from profactory.scale.inputs import Input, block_size, survey
from profactory.scale.parts import Parts, check_folder
from profactory.scale.running import compute_parts
from profactory.scale.worker import Job

log = logging.getLogger("profactory")


@contextlib.contextmanager
def working_on(out: Path, *, overwrite: bool) -> Iterator[None]:
    """Hold the output folder, and say what is kept when the work is stopped.

    Raises
    ------
    ConfigError, RunExistsError, RunLockedError
        It is no place for the output, holds one already, or another process works on it.
    """
    check_folder(out, overwrite=overwrite)
    kept = f"what is done is kept in {out}; the same command goes on from there"
    with working_alone(out), disk_room(out, kept):
        try:
            yield
        except BaseException as error:
            if any(out.glob("part-*.parquet")) and kept not in str(error):
                log.warning("W%s.", kept[1:])
            raise


class Sharded:
    """The parts of one output.

    Parameters
    ----------
    out
        The folder, held by :func:`working_on`.
    source
        The input, which is read once.
    request
        All that decides the numbers beside the input, as JSON.
    overwrite
        Throw away what is there of another request, or finished.
    """

    def __init__(self, out: Path, source: Input, request: Mapping[str, Any], *, overwrite: bool) -> None:
        self.out, self.source = out, source
        seen = survey(source)
        self.rows, self.size = seen.rows, block_size(seen.rows)
        self.pieces = seen.pieces(self.size)
        identity = {
            "input_sha256": list(seen.hashes),
            "join": None if source.join is None else source.join.key,
            "sequence_column": source.sequence,
            "block_rows": self.size,
        }
        self.parts = Parts(out, {**request, **identity}, overwrite=overwrite)

    def compute(
        self, job: Job, title: str, cluster: Cluster, on_progress: Callable[[int, int], None] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Compute the parts that are missing; return what was counted in each of all parts, in order.

        Parameters
        ----------
        job
            What is computed.
        title
            What is done, for the progress.
        cluster
            Where.
        on_progress
            Called with the rows that are done and all rows, after every part.
        """
        missing = self.parts.missing(self.pieces)
        done = len(self.pieces) - len(missing)
        if done:
            log.info("Going on: %d of %d parts are done.", done, len(self.pieces))
        with Progress(title, self.rows, unit="rows") as progress:

            def advance(rows: int) -> None:
                progress.advance(rows)
                if on_progress is not None:
                    on_progress(progress.done, self.rows)

            advance(self.rows - sum(piece.rows for piece in missing))
            if missing:
                compute_parts(job, self.source, self.size, missing, self.out, cluster, advance)
        return map(self.parts.counts, self.pieces)

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the manifest, which makes the output complete."""
        self.parts.finish(self.pieces, about)
