"""What a model in parts (FSDP) cannot do, refused before anything is loaded."""

from __future__ import annotations

import os

from profactory.config.methods import METHODS
from profactory.config.training import AUTO
from profactory.errors import ConfigError, Problem
from profactory.models.architecture import MIX
from profactory.pipeline.preparation import Job
from profactory.training.sharding import sharding_wanted

_FIX = "change these; or give each process a copy of the model: torchrun --nproc-per-node N -m profactory …"


def check_sharding(job: Job, processes: int) -> None:
    """Refuse a training that cannot be shared out, if accelerate is configured for FSDP.

    Parameters
    ----------
    job
        The training.
    processes
        How many there are.

    Raises
    ------
    ConfigError
        Naming all that stands in the way.
    """
    if not sharding_wanted(processes):
        return
    config, choices, optimizer = job.config, job.choices, job.config.optimizer
    method = METHODS[choices.method]
    found = [
        (method.frozen, f"method {choices.method}: a frozen backbone has no gradients to share out"),
        (method.quantised, f"method {choices.method}: weights in four bits cannot be cut"),
        (choices.method == "adalora", "method adalora moves ranks by whole matrices; lora and dora do not"),
        (optimizer == "adafactor", "optimizer adafactor needs whole matrices; adamw, adam and sgd do not"),
        (choices.precision == "fp16", "precision fp16 was never tried in parts; bf16 and fp32 are"),
        (config.layer == MIX, f"layer {MIX} has a scale of a single number, which cannot be cut"),
        (config.tokens_per_batch == AUTO, "tokens_per_batch auto needs a whole model; give a number"),
        (_told("FSDP_OFFLOAD_PARAMS"), "fsdp_offload_params: parts stay on the cards"),
        (_told("FSDP_ACTIVATION_CHECKPOINTING"), "fsdp_activation_checkpointing is --gradient-checkpointing"),
    ]
    problems = [Problem(reason) for wrong, reason in found if wrong]
    if problems:
        raise ConfigError(
            "Accelerate is configured for FSDP, and a model in parts cannot be trained so.",
            problems=problems,
            fix=_FIX,
        )


def refuse_sharding(processes: int) -> None:
    """Refuse a pretraining in parts.

    Raises
    ------
    ConfigError
    """
    if sharding_wanted(processes):
        raise ConfigError(
            "Accelerate is configured for FSDP, and pretraining needs a copy of the model in each process.",
            fix="torchrun --nproc-per-node N -m profactory pretrain …",
        )


def _told(name: str) -> bool:
    return os.environ.get(name, "").lower() == "true"
