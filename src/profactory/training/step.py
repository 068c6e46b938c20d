"""One optimizer step: forward and backward of its micro-batches, checks, update."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn

from profactory.data.batching import Indices
from profactory.errors import MemoryBudgetError
from profactory.training.batch_source import BatchSource, DrawsWeights
from profactory.training.nonfinite import non_finite, samples_without_loss
from profactory.training.randomness import chance, seed_generators
from profactory.training.sharding import in_step, whole

#: With loss scaling (fp16) an overflow now and then is normal; so many in a row are not.
OVERFLOWS_IN_A_ROW = 25


log = logging.getLogger("profactory")


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
    after_step
        Told of every step that changed the weights, while its gradients are there.

    Attributes
    ----------
    pieces : int
        Into how many pieces every micro-batch is cut because memory ran out; 1 at first.
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
        after_step: Callable[[int], None] | None = None,
    ) -> None:
        self.accelerator = accelerator
        self.model = model
        # Without loss scaling accelerate's wrapper adds nothing but a search for a package in every step.
        plain = type(optimizer) is AcceleratedOptimizer and accelerator.scaler is None
        self.optimizer = optimizer.optimizer if plain else optimizer
        self.source = source
        self.seed = seed
        self.max_grad_norm = max_grad_norm or math.inf
        self.stop, self.after_step = stop, after_step
        self._parameters = list(model.parameters())
        self._seeded_weights = isinstance(source, DrawsWeights) and source.draws_weights
        self.pieces = 1
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
        weight = sum(self._weight(batch, epoch, first + index) for index, batch in enumerate(group))
        losses = self._gradients(group, (epoch, first), weight)
        if losses is None:
            self.optimizer.zero_grad()
            return None
        outcome = self._measure(losses, weight)
        self._check(outcome, group, losses, step)
        self.optimizer.step()
        if self.after_step is not None and math.isfinite(outcome.gradient_norm):
            self.after_step(step)
        self.optimizer.zero_grad()
        return outcome

    def _weight(self, batch: Indices, epoch: int, index: int) -> float:
        if self._seeded_weights:
            seed_generators(chance(self.seed, epoch, index), self.accelerator.device)
        return self.source.weight(batch)

    def _gradients(
        self, group: Sequence[Indices], place: tuple[int, int], weight: float
    ) -> list[Tensor] | None:
        """Add up the gradient of the group; return the summed losses of its micro-batches, None if stopped.

        If memory runs out, the micro-batches are cut into twice as many pieces, from here on, and the group
        is done again: the objective is the same.
        """
        while True:
            try:
                return self._try_gradients(group, place, weight)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                reason = str(error)
            # Outside of the handler: its traceback keeps the tensors of the failed attempt alive.
            self.optimizer.zero_grad()
            self._cut_smaller(group, reason)

    def _try_gradients(
        self, group: Sequence[Indices], place: tuple[int, int], weight: float
    ) -> list[Tensor] | None:
        losses: list[Tensor] = []
        epoch, first = place
        for index, batch, live, last in self._share(group):
            if self.accelerator.num_processes == 1 and self.stop():
                return None
            seed_generators(chance(self.seed, epoch, first + index), self.accelerator.device)
            pieces = np.array_split(batch, min(self.pieces, len(batch)))
            of_batch: list[Tensor] = []
            for number, piece in enumerate(pieces, start=1):
                exchange = last and number == len(pieces)
                with contextlib.nullcontext() if exchange else self.accelerator.no_sync(self.model):
                    of_batch.append(self._backward(piece, weight, live))
            losses.append(torch.stack(of_batch).sum())
        return losses

    def _cut_smaller(self, group: Sequence[Indices], reason: str) -> None:
        largest = max(len(batch) for batch in group)
        if self.pieces >= largest or self.accelerator.num_processes > 1:
            raise MemoryBudgetError(
                f"Training does not fit into memory: {reason.splitlines()[0]}",
                expected="room for one sequence"
                if self.pieces >= largest
                else "room for a batch in every process",
                fix="a smaller --max-length, --tokens-per-batch or --model, or --method lora or freeze",
            )
        self.pieces *= 2
        if self.accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        log.warning(
            "Out of memory: batches are now computed in %d pieces; the objective is the same.", self.pieces
        )

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

    def _backward(self, batch: Indices, weight: float, live: bool) -> Tensor:
        """Add the gradient of some samples; return their summed loss, still on the device."""
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
        norm = whole(torch.as_tensor(norm if norm is not None else 0.0, device=losses[0].device)).float()
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
        finite = [bool(loss.isfinite()) for loss in losses]
        mine = [batch for _, batch, live, _ in self._share(group) if live]
        suspects = [batch for batch, good in zip(mine, finite, strict=False) if not good]
        with in_step(self.model, lambda: self._loss_of(group[0][:1])):
            alone = samples_without_loss(self._loss_of, self.accelerator.unwrap_model(self.model), suspects)
        raise non_finite(
            "gradient" if finite_loss else "loss",
            step,
            alone=alone,
            together=np.concatenate(list(group)),
            source=self.source,
        )

    def _loss_of(self, samples: Indices) -> Tensor:
        loss: Tensor = self.accelerator.unwrap_model(self.model)(**self._to_device(self.source.load(samples)))
        return loss


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of a GPU, or of the processor's allocator."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
