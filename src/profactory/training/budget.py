"""How many tokens a batch should have on this machine, measured before the first step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from profactory.data.batching import BatchPlan
from profactory.errors import MemoryBudgetError
from profactory.training.loss_model import LossModel, autocast
from profactory.training.sources import SequenceSource
from profactory.training.step import out_of_memory

CANDIDATES = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
#: The smallest batch that is as fast as this share of the fastest is taken: more steps for the same time.
NEARLY = 0.9
#: Measuring ends when it has taken so long, or when a larger batch is slower than this share of the best.
MOST_SECONDS, SLOWER = 60.0, 0.9
#: Of a GPU's memory; the rest is for the optimizer's moments and what the measured batch did not show.
GPU_SHARE = 0.8


@dataclass(frozen=True)
class Budget:
    """What was measured.

    Parameters
    ----------
    tokens
        Tokens per batch to train with.
    speeds
        Tokens per second, by tokens per batch, of all that were tried and fitted.
    """

    tokens: int
    speeds: Mapping[int, float]

    @property
    def reason(self) -> str:
        """How it was chosen, for the user."""
        shown = ", ".join(f"{tokens:,}: {speed:,.0f}" for tokens, speed in self.speeds.items())
        return f"measured on the longest sequences; tokens per second by batch: {shown}"


def choose_budget(
    run_batch: Callable[[int], int],
    candidates: Sequence[int] = CANDIDATES,
    *,
    most_seconds: float = MOST_SECONDS,
) -> Budget:
    """Try batches of growing size and return the smallest that is nearly as fast as the fastest.

    Parameters
    ----------
    run_batch
        Computes loss and gradient of one batch within so many tokens and returns how many it had; raises a
        lack of memory as torch does.
    candidates
        Ascending.
    most_seconds
        After so long the best so far is taken.

    Raises
    ------
    MemoryBudgetError
        Not even the smallest fits.
    """
    speeds: dict[int, float] = {}
    started = time.perf_counter()
    for tokens in candidates:
        try:
            run_batch(tokens)  # the first one also pays for memory and kernels
            before = time.perf_counter()
            speed = run_batch(tokens) / max(time.perf_counter() - before, 1e-9)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            break
        speeds[tokens] = speed
        slower = speed < SLOWER * max(speeds.values())
        if slower or time.perf_counter() - started > most_seconds:
            break
    if not speeds:
        raise MemoryBudgetError(
            f"A batch of {candidates[0]:,} tokens does not fit into memory.",
            fix="a smaller --max-length or --model; or --method freeze; or --device cpu",
        )
    enough = NEARLY * max(speeds.values())
    return Budget(min(tokens for tokens, speed in speeds.items() if speed >= enough), speeds)


def probe(model: LossModel, source: SequenceSource, *, device: str, precision: str) -> Callable[[int], int]:
    """Return what :func:`choose_budget` runs: the batch of the longest sequences, forward and backward.

    The weights stay as they are; gradients are removed.
    """
    where, lengths = torch.device(device), source.batches.lengths

    def run_batch(tokens: int) -> int:
        longest = BatchPlan(lengths, tokens).in_order()[0]
        batch = {name: tensor.to(where) for name, tensor in source.load(longest).items()}
        with autocast(where, precision):
            loss = model.to(where).train()(**batch)
        loss.backward()
        model.zero_grad(set_to_none=True)
        if where.type == "cuda":
            _check_gpu_memory(where)
        return int(lengths[longest].max()) * len(longest)

    return run_batch


def _check_gpu_memory(device: torch.device) -> None:
    torch.cuda.synchronize(device)
    peak, total = torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[1]
    if peak > GPU_SHARE * total:
        raise torch.OutOfMemoryError(f"{peak / total:.0%} of the memory of {device} in use")
