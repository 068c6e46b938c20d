"""One optimizer step: forward and backward of its micro-batches, checks, update."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from profactory.errors import NonFiniteError, Problem
from profactory.training.batching import Indices

#: With loss scaling (fp16) an overflow now and then is normal; so many in a row are not.
OVERFLOWS_IN_A_ROW = 25
_NAMED_ROWS = 64
_REMEDIES = (
    "lower --learning-rate, set --max-grad-norm, use --precision fp32, and look at the rows named above "
    "for extreme labels; `profactory resume` goes on from the last checkpoint, which is intact"
)


class BatchSource(Protocol):
    """Samples to train on."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def plan(self, epoch: int) -> list[Indices]:
        """Return the micro-batches of an epoch: a pure function of the epoch."""

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the keyword arguments of the model for these samples, on the CPU.

        Chance may come from torch's global generator only; it is seeded before every micro-batch.
        """

    def weight(self, indices: Indices) -> float:
        """Return the weight of the loss terms of these samples, a pure function of the data."""

    def rows(self, indices: Indices) -> list[int]:
        """Return the lines of the user's file that these samples come from."""


@dataclass(frozen=True)
class StepOutcome:
    """What one optimizer step measured: summed loss, weight of its terms, norm of the gradient."""

    loss: float
    weight: float
    gradient_norm: float
    stop: bool


class Stepper:
    """Runs optimizer steps.

    The loss of a step is the sum of the losses of its micro-batches over the sum of their weights, so neither
    the division into micro-batches nor the number of processes changes the objective. Chance (dropout) is
    seeded by (seed, epoch, micro-batch) before each micro-batch, so neither does it change after a resume.

    Parameters
    ----------
    accelerator, model, optimizer
        Prepared by accelerate. ``model(**batch)`` returns the summed loss of a micro-batch.
    source
        The samples.
    seed
        Of the run.
    max_grad_norm
        Clip to this; 0 for no clipping.
    stop
        Asked after every micro-batch whether to stop.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: AcceleratedOptimizer,
        source: BatchSource,
        *,
        seed: int,
        max_grad_norm: float,
        stop: Callable[[], bool],
    ) -> None:
        self.accelerator = accelerator
        self.model = model
        # Without loss scaling accelerate's wrapper adds nothing but a search for a package in every step.
        plain = type(optimizer) is AcceleratedOptimizer and accelerator.scaler is None
        self.optimizer = optimizer.optimizer if plain else optimizer
        self.source = source
        self.seed = seed
        self.max_grad_norm = max_grad_norm or math.inf
        self.stop = stop
        self._parameters = list(model.parameters())
        self._overflows = 0

    def run(self, group: Sequence[Indices], *, step: int, epoch: int, first: int) -> StepOutcome | None:
        """Do one optimizer step.

        Parameters
        ----------
        group
            The micro-batches of the step, of all processes together.
        step, epoch, first
            Number of the step (from 1), epoch, and index of the first micro-batch within it.

        Returns
        -------
        StepOutcome or None
            None if stopped between two micro-batches; the weights are then as before.

        Raises
        ------
        NonFiniteError
            The loss or the gradient is not finite; the weights are as before.
        """
        weight = sum(self.source.weight(batch) for batch in group)
        losses: list[Tensor] = []
        for index, batch, live, last in self._share(group):
            if self.accelerator.num_processes == 1 and self.stop():
                self.optimizer.zero_grad()
                return None
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                losses.append(self._backward(batch, (epoch, first + index), weight, live))
        outcome = self._measure(losses, weight)
        self._check(outcome, group, losses, step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return outcome

    def _share(self, group: Sequence[Indices]) -> Iterator[tuple[int, Indices, bool, bool]]:
        """Yield this process's micro-batches: index, samples, whether they count, whether it is the last.

        All processes must take part in every exchange of gradients, so one that has run out of micro-batches
        repeats the first with weight zero.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        rounds = math.ceil(len(group) / world)
        for turn in range(rounds):
            index = turn * world + rank
            live = index < len(group)
            yield index if live else 0, group[index if live else 0], live, turn == rounds - 1

    def _backward(self, batch: Indices, place: tuple[int, int], weight: float, live: bool) -> Tensor:
        """Add one micro-batch's gradient; return its summed loss, still on the device."""
        seed_generators(chance(self.seed, *place), self.accelerator.device)
        loss: Tensor = self.model(**self._to_device(self.source.load(batch)))
        # DDP averages over the processes; the objective is a sum over them.
        share = self.accelerator.num_processes * live / (weight or 1.0)
        self.accelerator.backward(loss * share)
        return loss.detach().float() * live

    def _to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        device = self.accelerator.device
        if device.type == "cpu":
            return batch
        return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}

    def _measure(self, losses: list[Tensor], weight: float) -> StepOutcome:
        """Clip, and bring loss and gradient norm to the host in one transfer."""
        norm = self.accelerator.clip_grad_norm_(self._parameters, self.max_grad_norm)
        norm = torch.as_tensor(norm if norm is not None else 0.0, device=losses[0].device).float()
        *host, gradient_norm = torch.stack([*losses, norm.reshape(())]).tolist()
        loss, stop = math.fsum(host) if all(map(math.isfinite, host)) else math.nan, self.stop()
        if self.accelerator.num_processes > 1:
            both = torch.tensor([loss, float(stop)], dtype=torch.float64, device=losses[0].device)
            loss, votes = self.accelerator.reduce(both, reduction="sum").tolist()
            stop = votes > 0
        return StepOutcome(loss, weight, gradient_norm, stop)

    def _check(self, outcome: StepOutcome, group: Sequence[Indices], losses: list[Tensor], step: int) -> None:
        finite_loss, finite_gradient = math.isfinite(outcome.loss), math.isfinite(outcome.gradient_norm)
        if finite_loss and self.accelerator.scaler is not None:
            self._overflows = 0 if finite_gradient else self._overflows + 1
            finite_gradient = self._overflows < OVERFLOWS_IN_A_ROW
        if finite_loss and finite_gradient:
            return
        self.optimizer.zero_grad()
        what = "gradient" if finite_loss else "loss"
        raise NonFiniteError(
            f"The {what} of optimizer step {step} is not a finite number; training was stopped before the "
            "weights were changed.",
            problems=self._culprits(group, losses) or self._all_rows(group, what),
            fix=_REMEDIES,
        )

    def _culprits(self, group: Sequence[Indices], losses: list[Tensor]) -> list[Problem]:
        """Find the samples of the micro-batches without a finite loss that have none by themselves either."""
        batches = [batch for _, batch, live, _ in self._share(group) if live]
        bad = [batch for batch, loss in zip(batches, losses, strict=False) if not bool(loss.isfinite())]
        module, found = self.accelerator.unwrap_model(self.model), []
        training = module.training
        module.eval()
        with torch.no_grad():
            for index in np.concatenate(bad)[:_NAMED_ROWS] if bad else []:
                sample = np.asarray([index])
                if not bool(module(**self._to_device(self.source.load(sample))).isfinite()):
                    found += self.source.rows(sample)
        module.train(training)
        return [Problem("its loss is not finite", line=row) for row in found]

    def _all_rows(self, group: Sequence[Indices], what: str) -> list[Problem]:
        rows = self.source.rows(np.concatenate(list(group)))
        return [Problem(f"part of the step whose {what} is not finite", line=row) for row in rows]


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators that a model on this device draws from.

    ``torch.manual_seed`` would queue the seed for every kind of device there is, with a stack trace each.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def chance(seed: int, epoch: int, micro_batch: int) -> int:
    """Return the seed of torch's generator for one micro-batch."""
    return int(np.random.SeedSequence((seed, epoch, micro_batch)).generate_state(1, np.uint64)[0] >> 1)
