"""From one vector per residue to one per sequence, independent of padding and batch-mates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from profactory.errors import ConfigError
from profactory.models.families import FAMILIES
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task


class Pooling(nn.Module):
    """Base of all poolings.

    Attributes
    ----------
    out_width : int
        Numbers per sequence.
    parameter_free : bool
        Whether nothing is trained, so that its output on a frozen backbone can be kept.
    linear : bool
        Whether the pooling of a sum is the sum of the poolings.
    """

    parameter_free = True
    linear = False
    needs_cls = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Pool.

        Parameters
        ----------
        residues
            ``(batch, length, width)``.
        mask
            ``(batch, length)`` bool, True where there is a residue.
        cls
            ``(batch, width)`` or None.

        Returns
        -------
        Tensor
            ``(batch, out_width)``.
        """
        raise TypeError("Pooling is a base class; use make_pooling")


class MeanPooling(Pooling):
    """Mean over residues; special tokens and padding do not count."""

    linear = True

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Return the mean, ``(batch, width)``; see :class:`Pooling`."""
        total = residues.masked_fill(~mask[:, :, None], 0.0).sum(1)
        return total / mask.sum(1, keepdim=True).clamp(min=1)


class MaxPooling(Pooling):
    """Maximum over residues of each channel."""

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Return the maxima, ``(batch, width)``; see :class:`Pooling`."""
        return _masked_max(residues, mask)


class ClsPooling(Pooling):
    """The state of the token that stands for the whole sequence."""

    linear = True
    needs_cls = True

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Return `cls`; see :class:`Pooling`."""
        if cls is None:
            raise ConfigError("This model has no token for the whole sequence.", fix="use --pooling mean")
        return cls


class AttentionPooling(Pooling):
    """Weighted mean of residues; a learned vector scores them."""

    parameter_free = False

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.score = nn.Linear(width, 1)

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Return the weighted mean, ``(batch, width)``; see :class:`Pooling`."""
        weights = _masked_softmax(self.score(residues), mask)  # (batch, length, 1)
        return (weights * residues.masked_fill(~mask[:, :, None], 0.0)).sum(1)


class LightAttentionPooling(Pooling):
    """Light attention (Stärk et al. 2021, https://doi.org/10.1093/bioadv/vbab035).

    One convolution scores residues for each channel, another makes their values; the weighted sum and
    the maximum of the values are put together. Unlike in the original code the maximum is masked, and
    residues behind the end are zero before the convolutions, so that padding changes nothing.
    """

    parameter_free = False
    kernel = 9

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.out_width = 2 * width
        self.values = nn.Conv1d(width, width, self.kernel, padding=self.kernel // 2)
        self.scores = nn.Conv1d(width, width, self.kernel, padding=self.kernel // 2)

    def forward(self, residues: Tensor, mask: Tensor, cls: Tensor | None = None) -> Tensor:
        """Return sum and maximum, ``(batch, 2 width)``; see :class:`Pooling`."""
        channels = residues.masked_fill(~mask[:, :, None], 0.0).transpose(1, 2)  # (batch, width, length)
        values = self.values(channels).transpose(1, 2)  # (batch, length, width)
        weights = _masked_softmax(self.scores(channels).transpose(1, 2), mask)
        return torch.cat(((weights * values).sum(1), _masked_max(values, mask)), dim=1)


POOLINGS: Mapping[str, type[Pooling]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "cls": ClsPooling,
    "attention": AttentionPooling,
    "light-attention": LightAttentionPooling,
}


def make_pooling(name: str, width: int) -> Pooling:
    """Make a pooling for vectors of `width` numbers.

    Raises
    ------
    ConfigError
        If none is called `name`.
    """
    check_pooling(name)
    return POOLINGS[name](width)


def check_pooling(name: str) -> None:
    """Refuse a name that no pooling has."""
    if name not in POOLINGS:
        raise ConfigError(f"No pooling is called {name!r}.", expected=", ".join(POOLINGS))


def choose_pooling(name: str | None, task: Task, spec: ModelSpec) -> str | None:
    """Return the pooling that a task and a model get.

    Parameters
    ----------
    name
        What was asked for; None for the usual one.
    task, spec
        As far as `spec` tells, nothing is loaded to find out.

    Returns
    -------
    str or None
        ``mean`` if nothing was asked for; None for a task with a label per residue.

    Raises
    ------
    ConfigError
        If the task has no pooling and one was asked for, or the model has not the token that it needs.
    """
    if task.per_residue:
        if name is not None:
            raise ConfigError(
                f"The pooling {name} has no meaning for {task.kind}: every residue has its own output.",
                fix="leave --pooling out",
            )
        return None
    name = name or "mean"
    check_pooling(name)
    if name == "cls" and spec.family in FAMILIES and not FAMILIES[spec.family].has_cls:
        raise without_cls(spec)
    return name


def without_cls(spec: ModelSpec) -> ConfigError:
    """Return what to say when a model has no token for the whole sequence."""
    return ConfigError(
        f"The pooling cls needs a token for the whole sequence, and {spec.name} has none.",
        fix="use --pooling mean",
    )


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax along the length; padding gets exactly 0. ``(batch, length, any)``."""
    hidden = ~mask[:, :, None]
    weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(1)
    return weights.masked_fill(hidden, 0.0)


def _masked_max(values: Tensor, mask: Tensor) -> Tensor:
    lowest = values.masked_fill(~mask[:, :, None], torch.finfo(values.dtype).min).amax(1)
    return torch.where(mask.any(1, keepdim=True), lowest, 0.0)
