"""One process or many: what accelerate does for us."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    broadcast_object_list,
    gather_object,
    patch_environment,
)
from numpy.typing import NDArray
from torch import nn

from profactory.errors import ConfigError

_FOREIGN = (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)

T = TypeVar("T")
Processes: TypeAlias = Accelerator | PartialState


def on_cpu(device: str) -> bool:
    """Whether a device setting means the processor on this machine."""
    return device == "cpu" or not torch.accelerator.is_available()


def join_processes(device: str = "auto") -> PartialState:
    """Return which of the processes of this run this is; call it before any other use of accelerate.

    Accelerate takes processes on processors for unrelated ones unless it is told that there is no GPU.
    """
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"  # each process reads all weights, see sharding.py
    if not torch.distributed.is_initialized():
        AcceleratorState._reset_state(reset_partial_state=True)
    return PartialState(cpu=on_cpu(device))


def end_process(code: int) -> NoReturn:
    """End one of several processes that train together, with an exit code.

    The interpreter's own end is passed over: native threads of a process group abort it now and then
    (seen once in some hundred runs on a busy machine), and a run that has finished would count as failed.
    """
    if torch.distributed.is_initialized():
        if code == 0:  # otherwise the others may be anywhere
            torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def make_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """Return accelerate's view of this process: its device, its peers, its autocast.

    Started by ``torchrun`` or ``accelerate launch`` the processes find each other; started otherwise there
    is one. Accelerate remembers the settings of the first in a process and refuses others, so its memory is
    cleared first.

    Raises
    ------
    ConfigError
        The device is not there, or cannot compute in the precision.
    """
    if precision == "fp16" and on_cpu(device):
        raise ConfigError("Precision fp16 needs a GPU.", fix="--precision bf16 or fp32")
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    try:
        with patch_environment(ACCELERATE_USE_FSDP="false"):  # see profactory.training.sharding
            accelerator = Accelerator(
                cpu=on_cpu(device),
                mixed_precision="no" if precision == "fp32" else precision,
                # A head that ignores a part of the backbone is no error (ESM's contact head, for one).
                kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
            )
    except ValueError as error:
        raise ConfigError(
            f"Precision {precision} is not possible on this device: {error}", fix="--precision fp32 or bf16"
        ) from error
    refuse_foreign(accelerator.distributed_type)
    if device not in ("auto", accelerator.device.type):
        raise ConfigError(
            f"There is no device {device!r} on this machine.",
            expected=str(accelerator.device.type),
            fix="--device auto",
        )
    return accelerator


def refuse_foreign(kind: DistributedType) -> None:
    """Refuse to train by programs that bring an optimizer and a loop of their own.

    Raises
    ------
    ConfigError
        Accelerate is configured for DeepSpeed or Megatron.
    """
    if kind in _FOREIGN:
        raise ConfigError(
            f"Accelerate is configured for {kind.value}, by which ProFactory does not train.",
            expected="a copy of the model in each process (DDP), or a part of it (FSDP)",
            fix="torchrun --nproc-per-node N -m profactory train …; if a model does not fit one card:"
            " accelerate launch --use-fsdp --num-processes N -m profactory train …",
        )


def take_off_wrappers(accelerator: Accelerator, model: nn.Module) -> None:
    """Undo what ``accelerator.prepare`` did to a model in place: its forward with autocast."""
    module = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    for name in ("forward", "_original_forward"):
        vars(module).pop(name, None)


def agreed(accelerator: Processes, value: T) -> T:
    """Return the main process's value on all processes."""
    if accelerator.num_processes == 1:
        return value
    box = [value]
    broadcast_object_list(box)
    return box[0]


def in_shares(
    accelerator: Processes, count: int, compute: Callable[[NDArray[np.int64]], Sequence[T]]
) -> list[T]:
    """Compute something for each of `count` samples, every sample in exactly one process.

    Parameters
    ----------
    accelerator
        From :func:`make_accelerator` or :func:`join_processes`.
    count
        Number of samples.
    compute
        Given sample indices, returns one result for each, in that order.

    Returns
    -------
    list
        All results, in the order of the samples, on every process.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    mine = list(compute(np.arange(rank, count, world)))
    if world == 1:
        return mine
    parts = gather_object([mine])
    return [parts[index % world][index // world] for index in range(count)]
