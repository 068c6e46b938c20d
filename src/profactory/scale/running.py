"""Blocks through Ray Data: read where there is room, computed by workers that stay, counted here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from profactory.errors import ProFactoryError
from profactory.scale.cluster import Cluster, Workers, connect, plan_workers, surroundings
from profactory.scale.inputs import Input, Piece
from profactory.scale.worker import Job, Reader, Worker, reraise, wanted_by_file

#: Files that are read at a time, for each machine.
_READERS = 2

log = logging.getLogger("profactory")


def compute_parts(
    job: Job,
    source: Input,
    size: int,
    pieces: Sequence[Piece],
    folder: Path,
    cluster: Cluster,
    advance: Callable[[int], None],
) -> None:
    """Compute the parts of some blocks; when it returns, all of them are written.

    Parameters
    ----------
    job
        What is computed.
    source, size
        The input, and the rows of its blocks.
    pieces
        Blocks to compute.
    folder
        Where the parts go.
    cluster
        Where to compute.
    advance
        Told of the rows of every finished part.

    Raises
    ------
    ProFactoryError
        What went wrong on a machine, as it would have been raised here.
    """
    with connect(cluster.address) as nodes:
        plan = plan_workers(nodes, cluster.workers, cluster.device)
        log.info("Ray: %s.", plan)
        left = {piece.name for piece in pieces}
        reader = Reader(source, size, wanted_by_file(pieces))
        for name, rows, error in _results(reader, job, folder.absolute(), plan):
            if error:
                reraise(error)
            if name in left:  # a machine that dies may make Ray compute again what was counted
                left.remove(name)
                advance(rows)
    if left:
        raise ProFactoryError(
            f"{len(left)} parts were not computed: {min(left)} is the first.",
            fix="the same command computes them",
        )


def _results(reader: Reader, job: Job, folder: Path, plan: Workers) -> Iterator[tuple[str, int, str]]:
    """Yield the part, rows and error of each block as it is finished."""
    import ray.data
    from ray.exceptions import RayError

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 1  # every block of rows travels alone
    resources: dict[str, Any] = {"num_cpus": plan.cpus} if plan.cpus else {"num_gpus": 1}
    files = list(reader.wanted)
    dataset = (
        ray.data.from_items(files, override_num_blocks=len(files))
        .map_batches(
            reader,
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0,
            compute=ray.data.TaskPoolStrategy(size=_READERS * plan.nodes),
        )
        .map_batches(
            Worker,
            fn_constructor_args=(job, folder, plan.device, plan.cpus, surroundings()),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=plan.count),
            **resources,
        )
    )
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                yield row["part"], row["rows"], row["error"]
    except RayError as error:
        raise ProFactoryError(
            f"The cluster was lost ({type(error).__name__}).",
            expected="a cluster that lasts as long as the work",
            fix="ray status shows what is left of it; the same command goes on from what is done",
        ) from error
