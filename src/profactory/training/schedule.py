"""Learning-rate schedules as pure functions of the optimizer step."""

from __future__ import annotations

import math
from typing import Literal, get_args

from profactory.errors import ConfigError

ScheduleKind = Literal["linear", "cosine", "constant"]


def warmup_steps(warmup: float, total_steps: int) -> int:
    """Return the number of warm-up steps.

    Parameters
    ----------
    warmup
        A fraction of all steps if below 1, otherwise a number of optimizer steps.
    total_steps
        Optimizer steps of the whole training.
    """
    if warmup < 0 or not math.isfinite(warmup):
        raise ConfigError(f"A warm-up of {warmup} is impossible.", expected="0 or more")
    steps = round(warmup * total_steps) if warmup < 1 else int(warmup)
    return min(steps, total_steps)


def learning_rate_factor(step: int, total_steps: int, *, warmup: int = 0, kind: str = "linear") -> float:
    """Return what the peak learning rate is multiplied with in one optimizer step.

    The factor rises linearly over the warm-up, reaching 1 in its last step, and then falls so that it
    would reach 0 in the step after the last. Steps are optimizer steps, not micro-batches.

    Parameters
    ----------
    step
        Counted from 0.
    total_steps
        Optimizer steps of the whole training.
    warmup
        Of these, steps of warm-up.
    kind
        ``linear`` or ``cosine`` (half a period) decay, or ``constant``.
    """
    if kind not in get_args(ScheduleKind):
        raise ConfigError(f"There is no schedule {kind!r}.", expected=", ".join(get_args(ScheduleKind)))
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    return 1.0 - progress if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
