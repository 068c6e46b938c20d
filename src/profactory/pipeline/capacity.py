"""Whether a run fits this machine, settled before anything is loaded or written.

A batch that the user left open is made small enough; what cannot fit is refused with what would help.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from profactory.data.checking_text import duration, size
from profactory.doctor.machine import free_memory
from profactory.errors import MemoryBudgetError, RunError
from profactory.models.design import Design
from profactory.models.estimate import Estimate, estimate
from profactory.models.zoo import MINI, resolve
from profactory.pipeline.preparation import Job

#: The estimate is at most this many times what was measured: beyond it, a run surely does not fit.
AT_MOST = 1.4
LEAST_TOKENS = 256

log = logging.getLogger("profactory")


def expected_cost(job: Job, **changes: Any) -> Estimate | None:
    """Estimate what a job costs, with some of its choices changed; None if the model's size is not known."""
    choices, spec = job.choices, changes.pop("spec", job.spec)
    settings = {
        "method": choices.method,
        "precision": choices.precision,
        "tokens_per_batch": choices.tokens_per_batch,
        "batch_size": choices.batch_size,
        "max_length": choices.max_length,
        "lora_rank": job.config.lora_rank,
        "last_layers": job.config.unfreeze_layers,
        **changes,
    }
    pooled = Design(method=settings["method"], pooling=choices.pooling).pooled_features
    settings.setdefault("per_residue", not pooled)
    return estimate(spec, job.dataset.lengths, **settings)


def fit_batch(job: Job) -> Job:
    """Return the job with a batch that fits into the memory that is free, if the user left it open."""
    choices, free = job.choices, free_memory()
    typed = job.config.batch_size or isinstance(job.config.tokens_per_batch, int)
    if typed or choices.device != "cpu" or choices.tokens_per_batch is None or choices.cached:
        return job
    tokens = choices.tokens_per_batch
    while tokens > LEAST_TOKENS and _memory(job, tokens_per_batch=tokens) > free:
        tokens //= 2
    if tokens == choices.tokens_per_batch:
        return job
    reasons = {**choices.reasons, "tokens_per_batch": f"for {size(free)} of free memory"}
    return replace(job, choices=replace(choices, tokens_per_batch=tokens, reasons=reasons))


def check_capacity(job: Job, folder: Path) -> Estimate | None:
    """Refuse a job that cannot fit into memory or onto the disk.

    Parameters
    ----------
    job
        What is to be done.
    folder
        The run directory, which need not exist.

    Returns
    -------
    Estimate or None
        What it will cost; None if the size of the model is not known.

    Raises
    ------
    MemoryBudgetError
        It needs more memory than is free, by more than the estimate can be wrong.
    RunError
        The disk is too full.
    """
    cost = expected_cost(job)
    if cost is None:
        return None
    if job.choices.device == "cpu" and cost.memory_bytes > AT_MOST * free_memory():
        raise MemoryBudgetError(
            f"{job.spec.name} with method {job.choices.method} needs about {size(cost.memory_bytes)} of"
            f" memory, and {size(free_memory())} are free.",
            expected="a run that fits into the memory of this machine",
            fix="; or ".join(_remedies(job)),
        )
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if cost.disk_bytes > free:
        raise RunError(
            f"The run needs about {size(cost.disk_bytes)} of disk; {size(free)} are free in {place}.",
            expected="room for checkpoints and the model",
            fix="free some space; or choose an --out on another disk; or train less of it (--method lora)",
        )
    return cost


def announce_cost(cost: Estimate) -> None:
    """Say what the run will cost."""
    once = f"embeddings {duration(cost.seconds_once)}, once; " if cost.seconds_once >= 1 else ""
    log.info(
        "Expected: memory %s; %san epoch %s; disk %s (%s).",
        *(size(cost.memory_bytes), once, duration(cost.seconds_per_epoch)),
        *(size(cost.disk_bytes), cost.basis),
    )


def _memory(job: Job, **changes: Any) -> int:
    cost = expected_cost(job, **changes)
    return cost.memory_bytes if cost is not None else 0


def _remedies(job: Job) -> list[str]:
    """Return three things that would help, each with the memory that it needs."""
    tokens, shorter = LEAST_TOKENS * 4, min(256, job.choices.max_length)
    ways: dict[str, dict[str, Any]] = {
        "--method freeze": {"method": "freeze"},
        f"--max-length {shorter} --tokens-per-batch {tokens}": {
            "max_length": shorter, "tokens_per_batch": tokens, "batch_size": None,
        },
        f"--model {MINI}": {"spec": resolve(MINI)},
    }  # fmt: skip
    if job.choices.cached:
        ways.pop("--method freeze")
        ways["a machine with more memory"] = {}
    return [f"{flag} (about {size(_memory(job, **changes))})" for flag, changes in ways.items()]
