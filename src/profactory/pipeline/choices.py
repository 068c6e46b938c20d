"""What is chosen for the user, for this data and this machine, each with its reason.

Whatever the user typed stays; only fields left open are filled in. The rules are plain on purpose:
they are printed when a run starts and anyone should be able to follow them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import torch

from profactory.config import TrainConfig
from profactory.config.machine import MachineSettings
from profactory.config.methods import METHODS, implied_method
from profactory.config.training import AUTO, LoopSettings
from profactory.errors import ConfigError
from profactory.inference.engines.torch_engine import native_bf16
from profactory.models.design import Design
from profactory.models.families import DEFAULT_MAX_LENGTH
from profactory.models.pooling import choose_pooling
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task

log = logging.getLogger("profactory")

SMALL_MODEL = 50_000_000  # parameters; larger ones want smaller learning rates
FEW_SEQUENCES = 2_000


@dataclass(frozen=True)
class Choices:
    """Settings with nothing left open.

    Parameters
    ----------
    cached
        Whether the backbone's output is computed once and kept.
    batch_size, tokens_per_batch
        One of them is None.
    init
        Hash of the trained model that the run goes on from.
    reasons
        Why, by setting; only for what the user left open.
    """

    method: str
    pooling: str | None
    cached: bool
    device: str
    precision: str
    threads: int
    max_length: int
    batch_size: int | None
    tokens_per_batch: int | None
    learning_rate: float
    head_learning_rate: float | None
    epochs: int
    patience: int
    monitor: str
    init: str | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return asdict(self)

    def announce(self) -> None:
        """Tell the user what was chosen and why."""
        announce(self.to_dict())


def announce(choices: Mapping[str, Any]) -> None:
    """Tell the user what was chosen, and why (``choices["reasons"]``)."""
    for name, reason in choices["reasons"].items():
        log.info("  %s = %s (%s)", name, choices[name], reason)


def choose(config: TrainConfig, task: Task, spec: ModelSpec, *, train_rows: int) -> Choices:
    """Fill in what the user left open.

    Parameters
    ----------
    config
        What was asked.
    task, spec
        The task found in the data and the pre-trained model.
    train_rows
        Number of training sequences.

    Raises
    ------
    ConfigError
        If the monitored metric does not exist for the task, or the maximum length is beyond the
        model's.
    """
    reasons: dict[str, str] = {}
    device = choose_device(config, reasons)
    method = _method(config, spec, device, reasons)
    pooling = _pooling(config, task, spec, reasons)
    design = Design(method=method, pooling=pooling, layer=config.layer)
    batch_size, tokens = _batch(config, design, train_rows, reasons)
    epochs, patience = _epochs(config, task, method, reasons)
    return Choices(
        method=method,
        pooling=pooling,
        cached=design.cacheable,
        device=device,
        precision=choose_precision(config, device, reasons, exact=METHODS[method].frozen),
        threads=choose_threads(config, reasons),
        max_length=_max_length(config, spec),
        batch_size=batch_size,
        tokens_per_batch=tokens,
        learning_rate=_learning_rate(config, spec, method, reasons),
        head_learning_rate=_head_learning_rate(config, method, reasons),
        epochs=epochs,
        patience=patience,
        monitor=_monitor(config, task, reasons),
        reasons=reasons,
    )


def choose_device(config: MachineSettings, reasons: dict[str, str]) -> str:
    """Return where to compute: as asked, or the best that torch sees."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if config.device != "auto":
        if not available[config.device]:
            raise ConfigError(
                f"The device {config.device} was asked for and this machine's torch does not see one.",
                fix="leave --device out, or see `profactory doctor`",
            )
        return config.device
    device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    reasons["device"] = "no GPU is visible to torch" if device == "cpu" else "torch sees this accelerator"
    return device


def _method(config: TrainConfig, spec: ModelSpec, device: str, reasons: dict[str, str]) -> str:
    if config.method != "auto":
        return config.method
    implied = implied_method(config.given, structure_tokens=bool(spec.structure))
    if implied:
        reasons["method"] = "what the options given belong to"
        return implied
    if device == "cpu":
        reasons["method"] = "without a GPU: embeddings are computed once, then a head is trained in seconds"
        return "freeze"
    reasons["method"] = "with a GPU: adapts the model at a small part of the memory of full fine-tuning"
    return "lora"


def _pooling(config: TrainConfig, task: Task, spec: ModelSpec, reasons: dict[str, str]) -> str | None:
    pooling = choose_pooling(config.pooling, task, spec)
    if config.pooling is None and pooling is not None:
        reasons["pooling"] = "the mean over residues has no weights to learn"
    return pooling


def _batch(
    config: TrainConfig, design: Design, train_rows: int, reasons: dict[str, str]
) -> tuple[int | None, int | None]:
    tokens = config.tokens_per_batch if isinstance(config.tokens_per_batch, int) else None
    if config.batch_size or tokens:
        return config.batch_size, tokens
    if design.cacheable and design.pooled_features:
        size = 32 if train_rows < FEW_SEQUENCES else 64
        reasons["batch_size"] = f"{train_rows:,} training sequences, one vector each"
        return size, None
    measured = config.tokens_per_batch == AUTO
    reasons["tokens_per_batch"] = (
        "until it is measured" if measured else "batches of like length and equal cost"
    )
    return None, 8192 if design.cacheable else 4096


def _epochs(config: TrainConfig, task: Task, method: str, reasons: dict[str, str]) -> tuple[int, int]:
    facts = METHODS[method]
    if facts.frozen:
        epochs, patience = (40, 6) if task.per_residue or facts.per_residue else (100, 12)
    else:
        epochs, patience = 20, 5
    if config.epochs is None:
        reasons["epochs"] = "at most; early stopping ends sooner"
    if config.patience is None:
        reasons["patience"] = f"usual for {method}"
    return (
        config.epochs if config.epochs is not None else epochs,
        config.patience if config.patience is not None else patience,
    )


def _learning_rate(config: TrainConfig, spec: ModelSpec, method: str, reasons: dict[str, str]) -> float:
    if config.learning_rate is not None:
        return config.learning_rate
    reasons["learning_rate"] = f"usual for {method} on a model of this size"
    return usual_learning_rate(method, spec.parameters)


def _head_learning_rate(config: TrainConfig, method: str, reasons: dict[str, str]) -> float | None:
    """Let a new head learn faster than pre-trained weights, which are moved with care."""
    typed = config.learning_rate is not None or config.head_learning_rate is not None
    if typed or config.init is not None or not METHODS[method].changes_weights:
        return config.head_learning_rate
    reasons["head_learning_rate"] = "a new head learns faster than pre-trained weights"
    return usual_learning_rate("freeze", None)


def usual_learning_rate(method: str, parameters: int | None) -> float:
    """Return the peak learning rate that usually works for a tuning method and a size of model."""
    small = (parameters or SMALL_MODEL) < SMALL_MODEL
    return METHODS[method].rates[0 if small else 1]


def choose_precision(
    config: LoopSettings, device: str, reasons: dict[str, str], *, exact: bool = False
) -> str:
    """Return the number format: as asked, or the one that the device is fast in.

    On a processor `exact` keeps fp32: what is computed once and kept for all runs.
    """
    if config.precision == "auto":
        if device == "cuda":
            bf16 = torch.cuda.is_bf16_supported()
            reasons["precision"] = f"the GPU has {'' if bf16 else 'no '}bf16"
            return "bf16" if bf16 else "fp16"
        if device == "cpu" and not exact and native_bf16():
            reasons["precision"] = "this processor computes in it; weights and sums are kept in 32 bits"
            return "bf16"
        reasons["precision"] = "exact on a processor"
        return "fp32"
    if config.precision == "fp16" and device == "cpu":
        raise ConfigError(
            "Precision fp16 needs a GPU, and torch sees none.", fix="take --precision bf16 or fp32"
        )
    return config.precision


def choose_threads(config: MachineSettings, reasons: dict[str, str]) -> int:
    """Return the number of processor threads: as asked, or one for each core that may be used."""
    if config.threads:
        return config.threads
    if "OMP_NUM_THREADS" in os.environ:
        reasons["threads"] = "OMP_NUM_THREADS"
        return torch.get_num_threads()
    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None
    physical = psutil.cpu_count(logical=False) or 1
    reasons["threads"] = "physical cores that this process may use"
    return min(physical, allowed or physical)


def _max_length(config: TrainConfig, spec: ModelSpec) -> int:
    limit = spec.max_length or DEFAULT_MAX_LENGTH
    if config.max_length is None:
        return limit
    if config.max_length > limit:
        raise ConfigError(
            f"max_length {config.max_length:,} is beyond what {spec.name} can read.",
            expected=f"at most {limit:,} residues",
            fix="leave --max-length out, or choose a model with a longer context: `profactory models list`",
        )
    return config.max_length


def _monitor(config: TrainConfig, task: Task, reasons: dict[str, str]) -> str:
    if config.monitor is None:
        reasons["monitor"] = "the task's usual metric"
        return task.default_monitor
    return config.monitor
