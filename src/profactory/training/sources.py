"""Where the training loop's batches come from: sequences, or cached embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profactory.data.batching import BatchPlan, Indices
from profactory.data.integers import small_type
from profactory.models.backbone import Backbone
from profactory.models.extra_inputs import Arrays, collate_extras
from profactory.tasks import TaskKind, Values
from profactory.tasks.task import IGNORED
from profactory.training.augmentation import Augmentation
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
        self.kind, self.class_weights = kind, class_weights
        weights = term_weights(kind, self.targets, class_weights)
        same = len(weights) > 0 and bool((weights == weights[0]).all())  # then one number says it
        self._weights = np.broadcast_to(weights[0], weights.shape) if same else weights

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
        """Return labels: ``(batch, …)``, or padded ``(batch, length, …)`` for residue tasks."""
        return _padded(self.targets.take(indices))


def _padded(values: Values) -> Tensor:
    if values.offsets is None:
        return torch.from_numpy(values.values)
    lengths = values.lengths
    blank = IGNORED if values.values.dtype.kind == "i" else np.nan
    shape = (len(values), int(lengths.max()), *values.values.shape[1:])
    padded = np.full(shape, blank, values.values.dtype)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = values.values
    return torch.from_numpy(padded)


class SequenceSource(_Source):
    """Sequences, read and tokenised when they are loaded: nothing of them is held.

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
        self.backbone, self.max_length = backbone, max_length
        self.sequences, self.structures, self.extras = sequences, structures, extras
        residues = np.fromiter(map(len, sequences), np.int32, len(sequences)).clip(max=max_length)
        plan = BatchPlan(backbone.count_tokens(sequences, max_length), tokens, batch_size, seed)
        super().__init__(kind, targets, residues, plan, lines, class_weights)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the arguments of :class:`LossModel` for these samples."""
        structures = None if self.structures is None else [self.structures[int(i)] for i in indices]
        ids = self.backbone.tokenize([self.sequences[int(i)] for i in indices], self.max_length, structures)
        return {**self._arguments(ids, indices), "targets": self._targets(indices)}

    def _arguments(self, ids: Sequence[NDArray[np.int64]], indices: Indices) -> dict[str, Tensor]:
        """Return what the model reads: tokens, and what is beside them."""
        beside = collate_extras([self.extras[int(i)] for i in indices]) if self.extras else {}
        return {**self.backbone.collate(ids).arguments(), **beside}


class AugmentedSource(SequenceSource):
    """Sequences that are changed a little each time they are read.

    Chance is that of the micro-batch: the seed that torch's generator was given last.

    Parameters
    ----------
    augmentation
        What is done.
    *args, **options
        As for :class:`SequenceSource`. Vectors beside a sequence (``extras``) stay those of the whole.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.augmentation = augmentation
        self.draws_weights = augmentation.crops and self.targets.offsets is not None

    def weight(self, indices: Indices) -> float:
        """Return the weight of the loss terms of these samples, in the micro-batch that was seeded last."""
        if not self.draws_weights:
            return super().weight(indices)
        return float(term_weights(self.kind, self._cropped(indices), self.class_weights).sum())

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the arguments of :class:`LossModel` for these samples."""
        seed = torch.initial_seed()
        read = [self.sequences[int(i)][: self.max_length].upper() for i in indices]
        views = [self.augmentation.view(text, seed, int(i)) for text, i in zip(read, indices, strict=True)]
        structures = self.structures and [
            self.structures[int(i)][view.start : view.stop] for i, view in zip(indices, views, strict=True)
        ]
        ids = self.backbone.tokenize_masked(
            [view.sequence for view in views], [view.hidden for view in views], structures
        )
        targets = _padded(self._cropped(indices)) if self.draws_weights else self._targets(indices)
        return {**self._arguments(ids, indices), "targets": targets}

    def _cropped(self, indices: Indices) -> Values:
        """Return labels of residues, those that are read."""
        seed = torch.initial_seed()
        spans = [self.augmentation.span(int(self.lengths[i]), seed, int(i)) for i in indices]
        found = [self.targets[int(i)][a:b] for i, (a, b) in zip(indices, spans, strict=True)]
        return Values.concat(found, per_residue=True)


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
        self.samples = np.asarray(samples, small_type(len(features)))
        residues = features.lengths[self.samples]
        if features.per_residue:
            plan = BatchPlan(residues, tokens, batch_size, seed)
        else:
            size = max(1, round(tokens / residues.mean())) if tokens else batch_size
            ones = np.broadcast_to(np.int32(1), residues.shape)
            plan = BatchPlan(ones, None, min(size or 1, batch_size or size or 1), seed)
        super().__init__(kind, targets, residues, plan, lines, class_weights)

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Return the arguments of :class:`LossModel` for these samples."""
        chosen, targets = self.samples[indices], self._targets(indices)
        beside = self.features.beside(chosen)
        if not self.features.per_residue:
            return {"features": self.features.vectors(chosen), "targets": targets, **beside}
        features, mask = self.features.residues(chosen)
        return {"features": features, "mask": mask, "targets": targets, **beside}
