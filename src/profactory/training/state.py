"""What a training is asked to do, where it stands, and what came of it: plain data, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from profactory.errors import ConfigError, Problem


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train.

    Parameters
    ----------
    epochs
        Passes over the training data at most.
    learning_rate, head_learning_rate
        Peak learning rate; a separate one for pooling and head if given.
    optimizer
        ``adamw``, ``adam``, ``sgd`` or ``adafactor``.
    weight_decay
        Of matrices; biases and norms have none.
    schedule, warmup
        Course of the learning rate; warm-up as a fraction of all optimizer steps if below 1, else as a
        number of steps.
    gradient_accumulation
        Micro-batches per optimizer step and process.
    max_grad_norm
        Clip the global norm of the gradient to this; 0 for no clipping.
    on_nan
        ``stop``, or ``rollback`` to the last checkpoint with a lower learning rate, a few times at most.
    max_steps
        End after so many optimizer steps even if epochs are left.
    monitor, mode
        Validation metric that decides which weights are best; ``"max"`` or ``"min"``.
    patience
        Stop after so many evaluations without improvement; 0 to never stop early.
    eval_epochs, eval_steps
        Evaluate every so many epochs, or (if given) optimizer steps; always after the last step.
    save_steps, save_minutes, keep_checkpoints
        A checkpoint is written every so many steps, at least every so many minutes, whenever the monitored
        metric improves, at the end and when stopped. The last `keep_checkpoints` and the best are kept.
    precision
        ``fp32``, ``bf16`` or ``fp16`` (autocast; with loss scaling for fp16).
    report_to
        Trackers to tell, see :mod:`profactory.training.trackers`.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed
        Of everything random.
    """

    epochs: int = 10
    learning_rate: float = 1e-3
    head_learning_rate: float | None = None
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    schedule: str = "linear"
    warmup: float = 0.0
    gradient_accumulation: int = 1
    max_grad_norm: float = 1.0
    on_nan: str = "stop"
    max_steps: int | None = None
    monitor: str = "loss"
    mode: str = "min"
    patience: int = 0
    eval_epochs: int = 1
    eval_steps: int | None = None
    save_steps: int | None = None
    save_minutes: float | None = 5.0
    keep_checkpoints: int = 2
    precision: str = "fp32"
    report_to: tuple[str, ...] = ()
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("epochs", "gradient_accumulation", "eval_epochs", "keep_checkpoints")
        optional = ("max_steps", "eval_steps", "save_steps")
        wrong = [name for name in counts if getattr(self, name) < 1]
        wrong += [name for name in optional if (getattr(self, name) or 1) < 1 or getattr(self, name) == 0]
        rates = ("learning_rate", "weight_decay", "warmup", "max_grad_norm", "patience")
        wrong += [n for n in rates if getattr(self, n) < 0 or not math.isfinite(getattr(self, n))]
        wrong += [] if self.mode in ("max", "min") else ["mode"]
        wrong += [] if self.on_nan in ("stop", "rollback") else ["on_nan"]
        wrong += [] if self.precision in ("fp32", "bf16", "fp16") else ["precision"]
        if wrong:
            problems = [Problem("cannot be used", column=n, value=str(getattr(self, n))) for n in wrong]
            raise ConfigError("Training settings are impossible.", problems=problems)

    def trajectory(self) -> dict[str, Any]:
        """Return the settings that decide which weights come out; a resumed run must have the same."""
        free = ("device", "save_steps", "save_minutes", "keep_checkpoints", "on_nan", "report_to")
        return {name: value for name, value in asdict(self).items() if name not in free}


@dataclass
class Sums:
    """A running mean of the loss: exact sums, so that an interruption leaves no trace."""

    loss: float = 0.0
    weight: float = 0.0

    def add(self, loss: float, weight: float) -> None:
        """Add one optimizer step."""
        self.loss += loss
        self.weight += weight

    def take(self) -> float | None:
        """Return the mean and start anew; None if there was no term."""
        mean = self.loss / self.weight if self.weight else None
        self.loss = self.weight = 0.0
        return mean


@dataclass
class Best:
    """The best evaluation so far."""

    value: float
    step: int
    epoch: int
    metrics: dict[str, float | None]


@dataclass
class TrainState:
    """Where a training stands, always between two optimizer steps.

    Parameters
    ----------
    step
        Optimizer steps done.
    epoch, micro_batch
        Where the next step begins: epoch from 0, and micro-batches of it that are used up.
    row, since_evaluation
        Loss since the last ``step`` event and since the last evaluation.
    best, bad_evaluations
        For the choice of weights and for early stopping.
    finished
        Nothing is left to do; ``stopped_early`` says why if not all epochs were used.
    pieces
        Into how many pieces micro-batches are cut because memory ran out.
    rollbacks
        How often it went back after a loss that was no number; each halves the learning rate.
    scaler
        State of the loss scaling (fp16).
    """

    step: int = 0
    epoch: int = 0
    micro_batch: int = 0
    row: Sums = field(default_factory=Sums)
    since_evaluation: Sums = field(default_factory=Sums)
    best: Best | None = None
    bad_evaluations: int = 0
    finished: bool = False
    stopped_early: bool = False
    pieces: int = 1
    rollbacks: int = 0
    scaler: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; floats survive the round trip exactly."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrainState:
        """Rebuild from :meth:`to_dict`."""
        best = data["best"]
        nested = {
            "row": Sums(**data["row"]),
            "since_evaluation": Sums(**data["since_evaluation"]),
            "best": Best(**best) if best else None,
        }
        return cls(**{**data, **nested})


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Parameters
    ----------
    steps, epochs
        Optimizer steps and (begun) epochs done.
    best
        The evaluation whose weights the model now has; None if the monitored metric was never defined (the
        model then has the last weights).
    stopped_early
        Whether patience ran out.
    resumed_from
        Optimizer step of the checkpoint that the training was resumed from.
    seconds
        Time spent by this process.
    """

    steps: int
    epochs: int
    best: Best | None
    stopped_early: bool
    resumed_from: int | None
    seconds: float
