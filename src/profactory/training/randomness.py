"""Chance that depends on the place in the training alone, not on what was drawn before."""

from __future__ import annotations

import numpy as np
import torch


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
