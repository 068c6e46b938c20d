"""Where the training loop's batches come from: sequences, or cached embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profactory.data.batching import BatchPlan, Indices
from profactory.models.backbone import Backbone
from profactory.models.extra_inputs import Arrays, collate_extras
from profactory.tasks import TaskKind, Values
from profactory.tasks.task import IGNORED
from profactory.training.features import Features
from profactory.training.losses import term_weights


def truncated(values: Values, lengths: Indices) -> Values:
    """Cut per-residue labels to the residues that the model reads."""
    if values.offsets is None or (values.lengths == lengths).all():
        return values
    kept = np.concatenate(
        [np.arange(start, start + n) for start, n in zip(values.offsets, lengths, strict=False)]
    )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Values(values.values[kept], offsets)


class _Source:
    """What all sources share: labels, their weights, the plan, the lines of the file."""

    def __init__(
        self,
        kind: TaskKind,
        targets: Values,
        lengths: Indices,
        plan: BatchPlan,
        lines: NDArray[Any] | None,
        class_weights: NDArray[Any] | None,
    ) -> None:
        self.targets = truncated(targets, lengths)
        self.lengths = lengths
        self.batches = plan
        self.lines = np.arange(len(targets)) if lines is None else np.asarray(lines)
        self._weights = term_weights(kind, self.targets, class_weights)

    def __len__(self) -> int:
        return len(self.targets)

    def plan(self, epoch: int) -> list[Indices]:
        """Return the micro-batches of an epoch."""
        return self.batches.epoch(epoch)

    def weight(self, indices: Indices) -> float:
        """Return the weight of the loss terms of these samples."""
        return float(self._weights[indices].sum())

    def rows(self, indices: Indices) -> list[int]:
        """Return the lines of the user's file that these samples come from."""
        return [int(line) for line in self.lines[indices]]

    def _targets(self, indices: Indices) -> Tensor:
        """Return labels: ``(batch, …)``, or padded ``(batch, length)`` for residue tasks."""
        values = self.targets.take(indices)
        if values.offsets is None:
            return torch.from_numpy(values.values)
        lengths = values.lengths
        blank = IGNORED if values.values.dtype.kind == "i" else np.nan
        padded = np.full((len(indices), int(lengths.max())), blank, values.values.dtype)
        padded[np.arange(padded.shape[1]) < lengths[:, None]] = values.values
        return torch.from_numpy(padded)


class SequenceSource(_Source):
    """Sequences, tokenised once and kept in little memory.

    Parameters
    ----------
    backbone
        Tokenises and pads.
    sequences
        Cleaned.
    kind, targets
        The task's kind and its encoded labels.
    max_length
        Residues used of each sequence.
    tokens, batch_size
        Limits of a micro-batch: tokens with special tokens and padding, samples.
    seed
        Of the run.
    lines
        Line of the user's file of each sample, for messages.
    class_weights
        As given to the loss.
    extras
        What the model reads of each sample beside; see :mod:`profactory.models.extra_inputs`.
    structures
        Structure strings that go into the tokens.
    """

    def __init__(
        self,
        backbone: Backbone,
        sequences: Sequence[str],
        kind: TaskKind,
        targets: Values,
        *,
        max_length: int,
        tokens: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        lines: NDArray[Any] | None = None,
        class_weights: NDArray[Any] | None = None,
        extras: Sequence[Arrays] | None = None,
        structures: Sequence[str] | None = None,
    ) -> None:
        self.extras = extras
        ids = Values.concat(backbone.tokenize(sequences, max_length, structures), per_residue=True)
        self.ids = Values(ids.values.astype(np.min_scalar_type(ids.values.max(initial=0))), ids.offsets)
        self.backbone = backbone
        residues = np.fromiter((min(len(s), max_length) for s in sequences), np.int64, len(sequences))
        plan = BatchPlan(self.ids.lengths, tokens, batch_size, seed)
        super().__init__(kind, targets, residues, plan, lines, class_weights)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the arguments of :class:`LossModel` for these samples."""
        batch = self.backbone.collate([self.ids[int(i)].astype(np.int64) for i in indices])
        beside = collate_extras([self.extras[int(i)] for i in indices]) if self.extras else {}
        return {**batch.arguments(), **beside, "targets": self._targets(indices)}


class FeatureSource(_Source):
    """Cached embeddings of a frozen backbone.

    Parameters
    ----------
    features
        Of all samples of the data set.
    samples
        Which of them to train on, shape ``(n,)``; `targets` and `lines` are theirs.
    kind, targets, tokens, batch_size, seed, lines, class_weights
        As for :class:`SequenceSource`. With one vector per sample nothing is padded, so batches are wholly
        random; `tokens` then means as many samples as would have that many residues on average.
    """

    def __init__(
        self,
        features: Features,
        samples: Indices,
        kind: TaskKind,
        targets: Values,
        *,
        tokens: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        lines: NDArray[Any] | None = None,
        class_weights: NDArray[Any] | None = None,
    ) -> None:
        self.features = features
        self.samples = np.asarray(samples, np.int64)
        residues = features.lengths[self.samples]
        if features.per_residue:
            plan = BatchPlan(residues, tokens, batch_size, seed)
        else:
            size = max(1, round(tokens / residues.mean())) if tokens else batch_size
            plan = BatchPlan(np.ones_like(residues), None, min(size or 1, batch_size or size or 1), seed)
        super().__init__(kind, targets, residues, plan, lines, class_weights)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the arguments of :class:`LossModel` for these samples."""
        chosen, targets = self.samples[indices], self._targets(indices)
        beside = self.features.beside(chosen)
        if not self.features.per_residue:
            return {"features": self.features.vectors(chosen), "targets": targets, **beside}
        features, mask = self.features.residues(chosen)
        return {"features": features, "mask": mask, "targets": targets, **beside}
