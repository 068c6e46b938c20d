"""Losses as (sum, number of terms), so that micro-batches of any size add up to one objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from profactory.tasks import Answer, TaskKind, Values
from profactory.tasks.task import IGNORED


def loss_sum(
    kind: TaskKind,
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | None = None,
    target_scale: Tensor | None = None,
    focal_gamma: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the summed loss of a micro-batch and the sum of the weights of its terms.

    Parameters
    ----------
    kind
        Classification: cross-entropy; multi-label: binary cross-entropy on every label; regression:
        squared error.
    logits
        ``(batch, outputs)``, or ``(batch, length, outputs)`` for residue tasks.
    targets
        Single label: int64 ``(batch,)``. Multi-label: float ``(batch, classes)``. Regression: float
        ``(batch, targets)``, NaN where missing. Residue classification: int64 ``(batch, length)``, -1
        where unlabelled or padding. Residue regression: float ``(batch, length)``, NaN likewise; of several
        classes ``(batch, length, classes)``.
    class_weights
        Weight of each class ``(classes,)``: of the samples of a class, or, for multi-label, of its
        positive labels (their terms are then counted with that weight).
    target_scale
        Regression: standard deviations ``(targets,)`` by which errors are divided, so that several
        targets weigh alike and the learning rate does not depend on the unit.
    focal_gamma
        Classification: each term is multiplied by ``(1 - p) ** focal_gamma``, `p` being the probability of
        what is true, so that what is easy counts little (focal loss, Lin et al. 2017,
        https://arxiv.org/abs/1708.02002); 0 for plain cross-entropy.

    Returns
    -------
    sum, weight
        Scalars; the loss of any set of samples is the sum of the sums over the sum of the weights.
    """
    logits = logits.float()  # losses in 32 bits whatever the autocast
    if kind.answer is Answer.CLASS:
        flat = logits.reshape(-1, logits.shape[-1])  # (samples or residues, classes)
        return _cross_entropy(flat, targets.reshape(-1), class_weights, focal_gamma)
    if kind.is_multi_label:
        return _binary_cross_entropy(logits, targets, class_weights, focal_gamma)
    return _squared_error(logits, targets.reshape(logits.shape), target_scale)


def _cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None, gamma: float
) -> tuple[Tensor, Tensor]:
    known = targets != IGNORED
    if gamma:
        terms = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        each = known.to(logits) if weights is None else known * weights.to(logits)[targets.clamp(min=0)]
        return (each * _focused(terms, gamma)).sum(), each.sum()
    if weights is None:
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        return total, known.sum().to(logits.dtype)
    weights = weights.to(logits)
    total = F.cross_entropy(logits, targets, weight=weights, ignore_index=IGNORED, reduction="sum")
    return total, weights[targets[known]].sum()


def _binary_cross_entropy(
    logits: Tensor, targets: Tensor, weights: Tensor | None, gamma: float
) -> tuple[Tensor, Tensor]:
    targets = targets.to(logits.dtype)
    known = ~torch.isnan(targets)  # residues without a label, and padding
    targets = torch.where(known, targets, 0.0)
    each = known.to(logits.dtype)
    if weights is not None:
        each = each * (1 + targets * (weights.to(logits) - 1))
    terms = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (each * (_focused(terms, gamma) if gamma else terms)).sum(), each.sum()


def _focused(terms: Tensor, gamma: float) -> Tensor:
    """Multiply cross-entropies ``-log p`` by ``(1 - p) ** gamma``."""
    missing = -torch.expm1(-terms)  # 1 - p, exact where p is near 1
    return missing.clamp(min=1e-8) ** gamma * terms  # a power below 1 has no gradient at 0


def _squared_error(values: Tensor, targets: Tensor, scale: Tensor | None) -> tuple[Tensor, Tensor]:
    targets = targets.to(values.dtype)
    known = ~torch.isnan(targets)
    # Missing targets are replaced before subtracting: NaN times a mask would still be NaN in the gradient.
    error = torch.where(known, values - torch.where(known, targets, 0.0), 0.0)
    if scale is not None:
        error = error / scale.to(values)
    return error.square().sum(), known.sum().to(values.dtype)


def term_weights(
    kind: TaskKind, targets: Values, class_weights: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Return each sample's share of the weight that :func:`loss_sum` reports, shape ``(n,)``.

    Known before any forward pass, so that all processes of a run agree on the weight of an optimizer step.
    """
    values = targets.values
    if kind.answer is Answer.CLASS:
        known = values != IGNORED
        table = np.ones(1) if class_weights is None else np.asarray(class_weights, np.float64)
        each = np.where(known, table[np.where(known, values, 0) if class_weights is not None else 0], 0.0)
    elif kind.is_multi_label:
        extra = 0.0 if class_weights is None else np.asarray(class_weights, np.float64) - 1
        each = np.where(np.isnan(values), 0.0, 1 + values * extra).sum(axis=-1)
    else:
        each = (~np.isnan(values)).astype(np.float64)
        each = each if targets.offsets is not None else each.reshape(len(targets), -1).sum(axis=1)
    if targets.offsets is None:
        return np.asarray(each, np.float64)
    total = np.concatenate([[0.0], np.cumsum(each)])
    return np.asarray(total[targets.offsets[1:]] - total[targets.offsets[:-1]], np.float64)
