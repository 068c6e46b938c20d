"""Optimizers and their parameter groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from profactory.errors import ConfigError
from profactory.training.sharding import is_part, part_of

_BACKBONE = ("backbone.", "model.backbone.")

OptimizerKind = Literal["adamw", "adam", "sgd", "adafactor"]


def trainable(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield name and parameter of everything that is trained."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def decays(parameter: Tensor) -> bool:
    """Whether weight decay applies: to matrices, not to biases and the scales of normalisations."""
    return parameter.ndim >= 2


def parameter_groups(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    head_learning_rate: float | None = None,
) -> list[dict[str, Any]]:
    """Return the optimizer's groups: by part of the model, and with or without weight decay.

    Parameters
    ----------
    model
        Its parameters with ``requires_grad``.
    learning_rate, head_learning_rate
        Peak learning rate of the backbone (and of all, if there is no separate one for what is put on it).
    weight_decay
        Of matrices.
    """
    buckets: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable(model):
        in_head = not name.startswith(_BACKBONE)
        rate = head_learning_rate if in_head and head_learning_rate is not None else learning_rate
        key = (rate, weight_decay if decays(parameter) else 0.0)
        buckets.setdefault(key, []).append(parameter)
    if not buckets:
        raise ConfigError("The model has no parameter to train.", expected="at least one")
    return [
        {"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in buckets.items()
    ]


def make_optimizer(
    kind: str, groups: list[dict[str, Any]], *, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """Build an optimizer.

    Parameters
    ----------
    kind
        ``adamw`` (decoupled weight decay, Loshchilov & Hutter 2019), ``adam``, ``sgd`` (with `momentum`) or
        ``adafactor`` (Shazeer & Stern 2018: little memory).
    groups
        From :func:`parameter_groups`.
    momentum
        Of ``sgd``.
    """
    if kind == "adamw":
        return torch.optim.AdamW(groups, fused=_fusable(groups))
    if kind == "adam":
        return torch.optim.Adam(groups, fused=_fusable(groups))
    if kind == "sgd":
        fused = _fusable(groups) and not any(is_part(p) for group in groups for p in group["params"])
        return torch.optim.SGD(groups, momentum=momentum, fused=fused)  # torch has no fused one for parts
    if kind == "adafactor":
        return torch.optim.Adafactor(groups)
    raise ConfigError(f"There is no optimizer {kind!r}.", expected=", ".join(get_args(OptimizerKind)))


def _fusable(groups: list[dict[str, Any]]) -> bool:
    """Whether one fused kernel can do the step, which on a CPU is several times faster."""
    parameters = [parameter for group in groups for parameter in group["params"]]
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> float:
    """Set each group's learning rate to its peak times `factor`; return the first group's."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimizer.param_groups[0]["lr"])


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as ``<parameter name>:<quantity>`` -> tensor."""
    names = {id(parameter): name for name, parameter in trainable(model)}
    return {
        f"{names[id(parameter)]}:{quantity}": value
        for parameter, state in optimizer.state.items()
        for quantity, value in state.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    parameters = dict(trainable(model))
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, quantity = key.rpartition(":")
        states.setdefault(name, {})[quantity] = value
    for name, state in states.items():
        like = parameters[name]
        optimizer.state[like] = {
            quantity: part_of(value, like) if value.shape == like.shape else value.to(like.device)
            for quantity, value in state.items()
        }
