"""A protein model and its loss as one module, and its outputs on cached embeddings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from profactory.data.batching import BatchPlan, Indices
from profactory.models.protein_model import ProteinModel
from profactory.models.rank_allocation import rank_allocation
from profactory.tasks import TaskKind, Values
from profactory.training.features import Features
from profactory.training.imbalance import term_emphasis
from profactory.training.losses import loss_sum

ENCODE_TOKENS = {"cpu": 1024}  # more would spend its time on fresh pages of memory
ENCODE_TOKENS_GPU = 32768


class LossModel(nn.Module):
    """What the loop trains: arguments of a batch in, summed loss out.

    Parameters
    ----------
    model
        The protein model. Errors of regression are measured in units of its ``output_scale``.
    class_weights, focal_gamma
        See :func:`~profactory.training.losses.loss_sum`.
    """

    def __init__(
        self, model: ProteinModel, *, class_weights: NDArray[Any] | None = None, focal_gamma: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.kind = model.task.kind
        self.focal_gamma = focal_gamma
        self.allocation = rank_allocation(model.backbone)
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(
        self, targets: Tensor, features: Tensor | None = None, mask: Tensor | None = None, **inputs: Tensor
    ) -> Tensor:
        """Return the summed loss of sequences (`inputs`), or of cached embeddings and what is beside them."""
        if features is None:
            logits = self.model(**inputs)
        else:
            logits = self.model.forward_features(features, mask, **inputs)
        scale = None if self.kind.is_classification else self.model.output_scale
        weights = self.class_weights if isinstance(self.class_weights, Tensor) else None
        loss, count = loss_sum(
            self.kind,
            logits,
            targets,
            class_weights=weights,
            target_scale=scale,
            focal_gamma=self.focal_gamma,
        )
        if self.allocation is not None and self.training:
            # Adds to the gradient and not to the loss, which stays comparable with that of validation.
            pull = self.allocation.regularisation()
            loss = loss + count * (pull - pull.detach())
        return loss

    def in_blocks(self) -> list[nn.Module]:
        """Return the transformer blocks, and what is around them."""
        return [*self.model.backbone.stack.blocks, self.model]

    def plan_steps(self, total_steps: int) -> None:
        """Tell the adapter how long the training will be."""
        if self.allocation is not None:
            self.allocation.plan(total_steps)

    def after_step(self, step: int) -> None:
        """Let AdaLoRA move its ranks."""
        if self.allocation is not None:
            self.allocation.after_step(step)


class FrozenEncoder:
    """A protein model's frozen part, as the embedding cache wants it.

    Parameters
    ----------
    model
        Its backbone gives residues, and a pooling without parameters makes one vector of them.
    device
        Where to compute.
    precision
        Of the computation; the stored numbers are float32.
    tokens
        Per batch, padding included.
    """

    def __init__(
        self,
        model: ProteinModel,
        *,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        tokens: int | None = None,
    ) -> None:
        self.model = model
        self.device = torch.device(device)
        self.precision = precision
        self.tokens = tokens or ENCODE_TOKENS.get(self.device.type, ENCODE_TOKENS_GPU)
        self.pooled = model.design.pooled_features
        if not model.design.cacheable:
            raise ValueError("only the embeddings of a frozen backbone can be stored")
        self._weights_hash = model.backbone.weights_hash()

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the numbers."""
        return {
            "weights": self._weights_hash,
            "layer": self.model.backbone.layer,
            "pooling": self.model.design.pooling if self.pooled else None,
            "precision": self.precision,
            "max_length": self.max_length,
        }

    @property
    def width(self) -> int:
        """Numbers per row."""
        return self.model.feature_width

    @property
    def per_residue(self) -> bool:
        """Whether there is a row per residue."""
        return not self.pooled

    @property
    def max_length(self) -> int:
        """Residues used of each sequence."""
        return int(self.model.max_length)

    def encode(
        self, sequences: Sequence[str], structures: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Return the rows of sequences, one after the other, float32 ``(rows, width)``."""
        ids = self.model.backbone.tokenize(sequences, self.max_length, structures)
        lengths = np.fromiter((min(len(s), self.max_length) for s in sequences), np.int64, len(sequences))
        rows = np.ones_like(lengths) if self.pooled else lengths
        ends = np.cumsum(rows)
        out = np.empty((int(ends[-1]), self.width), np.float32)
        self.model.to(self.device).eval()
        for batch in BatchPlan(np.array([len(i) for i in ids]), self.tokens).in_order():
            features = self._features([ids[i] for i in batch])
            for index, block in zip(batch, features, strict=True):
                out[ends[index] - rows[index] : ends[index]] = block if self.pooled else block[: rows[index]]
        return out

    def _features(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        batch = self.model.backbone.collate(ids)
        with torch.inference_mode(), autocast(self.device, self.precision):
            features = self.model.features(
                batch.input_ids.to(self.device),
                batch.attention_mask.to(self.device),
                batch.lengths.to(self.device),
            )
        return np.asarray(features.float().cpu().numpy())


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a precision is computed."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def feature_outputs(
    model: ProteinModel, features: Features, samples: Indices, *, tokens: int = 65536
) -> Values:
    """Return a model's outputs on cached embeddings, in the order of `samples`.

    Parameters
    ----------
    model
        On any device; its mode is left as it is.
    features
        Of all samples of the data set.
    samples
        Which of them, shape ``(n,)``.
    tokens
        Rows per batch, padding included.

    Returns
    -------
    Values
        Probabilities ``(n, classes)`` or values ``(n, targets)``; for residue tasks flat, with offsets.
    """
    task, lengths = model.task, features.lengths[np.asarray(samples, np.int64)]
    ends = np.cumsum(lengths if task.per_residue else np.ones_like(lengths))
    found = np.empty((int(ends[-1]) if len(ends) else 0, task.n_outputs), np.float32)
    for batch, logits, _ in _feature_batches(model, features, samples, tokens):
        outputs = task.probabilities(logits.float().cpu().numpy())
        if not task.per_residue:
            found[batch] = outputs
            continue
        for index, block in zip(batch, outputs, strict=True):
            found[ends[index] - lengths[index] : ends[index]] = block[: lengths[index]]
    return Values(found, np.concatenate([[0], ends]) if task.per_residue else None)


def feature_embeddings(
    model: ProteinModel, features: Features, samples: Indices, *, tokens: int = 65536
) -> NDArray[np.float32]:
    """Return a model's embeddings ``(n, width)`` of samples; see :func:`feature_outputs`."""
    found = np.empty((len(samples), model.embedding_width), np.float32)
    for batch, _, embeddings in _feature_batches(model, features, samples, tokens):
        found[batch] = embeddings.float().cpu().numpy()
    return found


def _feature_batches(
    model: ProteinModel, features: Features, samples: Indices, tokens: int
) -> Iterator[tuple[Indices, Tensor, Tensor]]:
    """Yield places among the samples, outputs and embeddings of one batch after the other."""
    device = next(model.parameters()).device
    samples = np.asarray(samples, np.int64)
    lengths = features.lengths[samples]
    plan = BatchPlan(lengths if features.per_residue else np.ones_like(lengths), tokens)
    for batch in plan.in_order():
        beside = {name: tensor.to(device) for name, tensor in features.beside(samples[batch]).items()}
        with torch.inference_mode():
            if features.per_residue:
                rows, mask = features.residues(samples[batch])
                found = model.forward_features_embedded(rows.to(device), mask.to(device), **beside)
            else:
                rows = features.vectors(samples[batch])
                found = model.forward_features_embedded(rows.to(device), None, **beside)
        yield batch, *found


def loss_of_outputs(
    kind: TaskKind,
    outputs: Values,
    targets: Values,
    target_scale: NDArray[Any] | None = None,
    *,
    class_weights: NDArray[Any] | None = None,
    focal_gamma: float = 0.0,
) -> float:
    """Return the mean loss that outputs have: the loss curve of validation data.

    Parameters
    ----------
    kind
        Of the task.
    outputs
        Probabilities or values, as a predictor gives them.
    targets
        Encoded labels. Those of residues beyond the model's maximum length, for which there are no outputs,
        are not counted.
    target_scale
        Regression: the model's ``output_scale``, so that the numbers compare with the training loss.
    class_weights, focal_gamma
        As in :func:`~profactory.training.losses.loss_sum`.
    """
    values, labels = outputs.values, targets.values
    if targets.offsets is not None:
        from profactory.training.sources import truncated

        labels = truncated(targets, outputs.lengths).values
    if kind.is_classification:
        # The inverse of probabilities(); a probability that was rounded to 0 counts as the smallest float.
        tiny = np.finfo(np.float32).tiny
        p, several = values.astype(np.float64), kind.is_multi_label
        if several:
            known = np.flatnonzero(~np.isnan(labels).any(axis=1))
            labels, p = labels[known], p[known]
            p = np.where(labels > 0, p, 1.0 - p)
        else:
            known = np.flatnonzero(labels >= 0)
            labels = labels[known]
            p = p[known, labels]
        p = np.clip(p, tiny, 1.0)
        each = term_emphasis(class_weights, labels, positive_only=several)
        return float((each * (1.0 - p) ** focal_gamma * -np.log(p)).sum() / each.sum())
    error = values.reshape(len(labels), -1) - labels.reshape(len(labels), -1)
    return float(np.nanmean(np.square(error / (1.0 if target_scale is None else np.asarray(target_scale)))))
