"""A model of which every process holds a part (FSDP); a block is whole only while it is computed.

Accelerate does this on graphics cards and passes the wish over on processors. torch's ``fully_shard`` is
called here for both, so that what runs on cards is what is tested on processors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from profactory.errors import ConfigError
from profactory.training.batch_source import InBlocks


def sharding_wanted(processes: int) -> bool:
    """Whether ``accelerate launch`` was told to use FSDP, and started several processes."""
    return processes > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


class Shards:
    """The parts of a model that this process holds; made of a whole model, in place.

    Parameters
    ----------
    model
        The same in all processes.
    device
        Where this process computes; each block goes there by itself and leaves a part of itself behind.

    Raises
    ------
    ConfigError
        The model does not say what its blocks are.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        if not isinstance(model, InBlocks):
            raise ConfigError(
                f"{type(model).__name__} cannot be shared out among processes.",
                fix="start it without FSDP: torchrun --nproc-per-node N",
            )
        self._model = model
        self._before = {module: _marks(module) for module in model.modules()}
        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        for block in model.in_blocks():
            fully_shard(block, mesh=mesh, reshard_after_forward=True)

    def gather(self) -> None:
        """Make the model whole again, on the processor of every process."""
        parts = {p: nn.Parameter(whole(p.detach()).cpu(), p.requires_grad) for p in self._model.parameters()}
        for module, before in self._before.items():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = parts[parameter]
            _take_off(module, *before)
        self._model.cpu()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor of which processes may hold parts; all of them must ask."""
    together: Tensor = tensor.full_tensor() if is_part(tensor) else tensor  # type: ignore[attr-defined]
    return together


def is_part(tensor: Tensor) -> bool:
    """Whether this process holds a part of a tensor only."""
    return hasattr(tensor, "full_tensor")


def part_of(tensor: Tensor, like: Any) -> Tensor:
    """Return of a whole tensor what this process holds of one like it."""
    here = tensor.to(like.device)
    if not is_part(like):
        return here
    from torch.distributed.tensor import distribute_tensor

    # Every process has the whole: nothing is sent.
    return distribute_tensor(here, like.device_mesh, like.placements, src_data_rank=None)


@contextlib.contextmanager
def in_step(model: nn.Module, once: Callable[[], object]) -> Iterator[None]:
    """Let processes compute with a model as often as each needs; those that are through go along.

    Parameters
    ----------
    model
        A sharded one is in it, or none: then nothing is done.
    once
        Computes anything with the model, once.
    """
    sharded = next((module for module in model.modules() if hasattr(module, "unshard")), None)
    if sharded is None:
        yield
        return

    def announce(*_: object) -> None:
        _any_busy(model, True)

    announced = sharded.register_forward_pre_hook(announce, prepend=True)
    try:
        yield
    finally:
        announced.remove()
    with torch.no_grad():
        while _any_busy(model, False):
            once()


def _any_busy(model: nn.Module, busy: bool) -> bool:
    votes = torch.tensor([busy], dtype=torch.int32, device=next(model.parameters()).device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return bool(votes.item())


def _marks(module: nn.Module) -> tuple[type, dict[str, set[Any]]]:
    """Return what ``fully_shard`` changes of a module beside its parameters: class, attributes, hooks."""
    return type(module), {n: set(v) if n.endswith("hooks") else set() for n, v in vars(module).items()}


def _take_off(module: nn.Module, kind: type, attributes: dict[str, set[Any]]) -> None:
    """Undo ``fully_shard``, for which torch has no function."""
    module.__class__ = kind
    for name in [*vars(module)]:
        if name not in attributes:
            del vars(module)[name]
        elif name.endswith("hooks"):
            hooks = vars(module)[name]
            for key in [key for key in hooks if key not in attributes[name]]:
                del hooks[key]
