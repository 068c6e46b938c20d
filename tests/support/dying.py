"""A checkpoint whose writer is killed; importable at once in the process that dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from profactory.training import checkpoint
from profactory.training.checkpoint import prune_checkpoints, save_checkpoint


def tensors(value: float = 1.0) -> dict[str, dict[str, torch.Tensor]]:
    return {
        "model": {"w": torch.full((3, 2), value), "b": torch.arange(4)},
        "optimizer": {"w:exp_avg": torch.full((3, 2), value / 3)},
        "rng": {"cpu": torch.get_rng_state()},
    }


def save_and_die(call: int, folder: Path) -> None:
    """Save step 20, in a process of its own that SIGKILLs itself at its n-th touch of the disk."""
    count = 0

    def counting(function):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    os.fsync, os.rename, os.mkdir = counting(os.fsync), counting(os.rename), counting(os.mkdir)
    for name in ("rename", "replace", "write_bytes", "write_text", "mkdir"):
        setattr(Path, name, counting(getattr(Path, name)))
    checkpoint.save_file = counting(checkpoint.save_file)
    save_checkpoint(folder, 20, tensors(), {"position": 20})
    prune_checkpoints(folder, keep=1, best=3)
