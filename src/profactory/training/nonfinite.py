"""Losses and gradients that are not numbers: whose they are, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from profactory.data.batching import Indices
from profactory.errors import NonFiniteError, Problem
from profactory.training.batch_source import BatchSource

#: Samples that are tried one by one to find those at fault.
TRIED = 64
_ROWS_FIX = (
    "mend or leave out the rows named above (`profactory check` shows extreme labels); or use"
    " --precision fp32; or choose a --model whose outputs are finite. The last checkpoint is intact"
)
_WEIGHTS_FIX = (
    "a lower --learning-rate; or --max-grad-norm 1; or --precision fp32; or --on-nan rollback, which goes"
    " back to the last checkpoint with a lower learning rate by itself. The last checkpoint is intact"
)


def samples_without_loss(
    loss_of: Callable[[Indices], Tensor], module: nn.Module, suspects: Sequence[Indices]
) -> Indices:
    """Return the samples whose loss is not finite by themselves, too; none if it is all of them.

    Then the weights are at fault, and no row stands out.

    Parameters
    ----------
    loss_of
        Computes the loss of some samples.
    module
        The model; its mode is put back.
    suspects
        Micro-batches without a finite loss.
    """
    samples = np.concatenate(list(suspects))[:TRIED] if suspects else np.empty(0, np.int64)
    training = module.training
    module.eval()
    with torch.no_grad():
        bad = [index for index in samples if not bool(loss_of(np.asarray([index])).isfinite())]
    module.train(training)
    return np.asarray(bad if len(bad) < len(samples) or len(samples) == 1 else [], np.int64)


def non_finite(
    what: str, step: int, *, alone: Indices, together: Indices, source: BatchSource
) -> NonFiniteError:
    """Return the error that names step and rows.

    Parameters
    ----------
    what
        ``loss`` or ``gradient``.
    step
        Optimizer step, from 1.
    alone
        Samples known to be at fault; if there are none all samples of the step are named.
    together
        All samples of the step.
    source
        Knows their rows.
    """
    if len(alone):
        cause = "the rows named below have no finite loss even by themselves: their labels are extreme"
        problems = [Problem("its loss is not finite", line=row) for row in source.rows(alone)]
    else:
        cause = "no single row; the weights grew too large (learning rate) or the precision overflowed"
        reason = f"part of the step whose {what} is not finite"
        problems = [Problem(reason, line=row) for row in source.rows(together)]
    return NonFiniteError(
        f"The {what} of optimizer step {step} is not a finite number; training was stopped before the "
        f"weights were changed. Likely cause: {cause}.",
        problems=problems,
        fix=_ROWS_FIX if len(alone) else _WEIGHTS_FIX,
    )
