"""What the training loop asks of whatever it trains on, and of a model that wants to follow the steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from profactory.data.batching import Indices


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
        """Return the weight of the loss terms of these samples, a pure function of the data.

        Where :class:`DrawsWeights` says so, also of the seed of their micro-batch.
        """

    def rows(self, indices: Indices) -> list[int]:
        """Return the lines of the user's file that these samples come from."""


@runtime_checkable
class DrawsWeights(Protocol):
    """Samples of which not always all terms count."""

    @property
    def draws_weights(self) -> bool:
        """Whether torch's generator must be seeded before the weight is asked for, as before loading."""


@runtime_checkable
class FollowsSteps(Protocol):
    """A model that does something between the steps."""

    def plan_steps(self, total_steps: int) -> None:
        """Learn how many optimizer steps there will be at most."""

    def after_step(self, step: int) -> None:
        """Act after an optimizer step, counted from 1, while its gradients are there."""


@runtime_checkable
class InBlocks(Protocol):
    """A model that can be shared out among processes, each block of it by itself."""

    def in_blocks(self) -> Iterable[nn.Module]:
        """Return the modules that are computed whole, one after the other; those within others come first."""
