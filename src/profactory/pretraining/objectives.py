"""The objectives of pretraining: masked residues, annotation terms, secondary structure, accessibility.

Masked language modelling after Devlin et al. 2019 (https://arxiv.org/abs/1810.04805) and Rives et al. 2021
(https://doi.org/10.1073/pnas.2016239118); supervised objectives beside it in the manner of ProteinBERT
(https://doi.org/10.1093/bioinformatics/btac020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from profactory.pretraining.batches import Batch
from profactory.pretraining.corpus import (
    ACCESSIBILITY_LEVELS,
    FIRST_STANDARD,
    LAST_STANDARD,
    MASK,
    NO_LABEL,
    SS8_STATES,
    Corpus,
)

#: Label value that torch losses skip.
IGNORE = -100
_STREAM_MASK = 4
#: Of the selected residues: replaced by <mask>, by a random residue, left as they are.
MASK_SPLIT = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class ObjectiveWeights:
    """Factor of each loss; the losses are nats per predicted residue, or per (record, term) for terms."""

    masked: float = 1.0
    terms: float = 20.0
    ss8: float = 1.0
    accessibility: float = 0.5


@dataclass(frozen=True)
class MaskedBatch:
    """A batch ready for the network.

    Attributes
    ----------
    input_ids, masked_labels, ss8, accessibility : Tensor of int64, (batch, length)
        Labels are `IGNORE` where nothing is asked.
    is_residue : Tensor of bool, (batch, length)
        False at <cls> and <eos>; mean pooling goes over residues.
    terms : Tensor of float32, (batch, terms)
    annotated : Tensor of bool, (batch,)
    """

    input_ids: Tensor
    masked_labels: Tensor
    ss8: Tensor
    accessibility: Tensor
    is_residue: Tensor
    terms: Tensor
    annotated: Tensor


def mask_tokens(
    tokens: npt.NDArray[np.int64], seed: int, step: int, probability: float = 0.15
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Hide standard residues; a pure function of its arguments.

    Returns
    -------
    input_ids, labels : array of int64, (batch, length)
        Labels hold the true residue where one was selected, `IGNORE` elsewhere.
    """
    rng = np.random.default_rng([seed, _STREAM_MASK, step])
    standard = (tokens >= FIRST_STANDARD) & (tokens <= LAST_STANDARD)
    selected = standard & (rng.random(tokens.shape) < probability)
    kind = rng.random(tokens.shape)
    replacement = rng.integers(FIRST_STANDARD, LAST_STANDARD + 1, size=tokens.shape)
    to_mask = selected & (kind < MASK_SPLIT[0])
    to_replace = selected & (kind >= MASK_SPLIT[0]) & (kind < MASK_SPLIT[0] + MASK_SPLIT[1])
    input_ids = np.where(to_mask, MASK, np.where(to_replace, replacement, tokens))
    return input_ids, np.where(selected, tokens, IGNORE)


def to_masked_batch(batch: Batch, seed: int, step: int, probability: float = 0.15) -> MaskedBatch:
    """Mask a batch and turn it into tensors."""
    input_ids, labels = mask_tokens(batch.tokens, seed, step, probability)
    return MaskedBatch(
        input_ids=torch.from_numpy(input_ids),
        masked_labels=torch.from_numpy(labels),
        ss8=_labels(batch.ss8),
        accessibility=_labels(batch.accessibility),
        is_residue=torch.from_numpy(batch.tokens >= FIRST_STANDARD),
        terms=torch.from_numpy(batch.terms),
        annotated=torch.from_numpy(batch.annotated),
    )


def mean_pool(states: Tensor, is_residue: Tensor) -> Tensor:
    """Mean over the residues: (batch, length, dim), (batch, length) -> (batch, dim)."""
    weight = is_residue.to(torch.float32).unsqueeze(-1)  # (batch, length, 1)
    return (states.float() * weight).sum(1) / weight.sum(1).clamp(min=1.0)


class PretrainingModel(nn.Module):
    """A masked language model and the heads of the supervised objectives.

    Parameters
    ----------
    language_model : nn.Module
        As `transformers.EsmForMaskedLM`: attributes ``esm`` (trunk) and ``lm_head``.
    num_terms : int
        0 leaves out the annotation head.
    residue_heads : bool
        Whether there are secondary structure and accessibility labels.
    encoder : callable, optional
        ``encoder(language_model, input_ids)`` gives the last hidden states; by default the trunk's own
        forward. `profactory.pretraining.model.fast_encode`, compiled or not, is faster on unpadded batches.
    """

    def __init__(
        self,
        language_model: nn.Module,
        num_terms: int = 0,
        residue_heads: bool = False,
        encoder: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.encoder = encoder or _stock_encode
        dim = int(cast("Any", language_model).config.hidden_size)
        heads: dict[str, nn.Module] = {}
        if num_terms:
            heads["terms"] = nn.Linear(dim, num_terms)
        if residue_heads:
            heads["ss8"] = nn.Linear(dim, len(SS8_STATES))
            heads["accessibility"] = nn.Linear(dim, ACCESSIBILITY_LEVELS)
        for head in heads.values():
            # Starting at zero, a head asks nothing of the trunk before it has learnt a direction.
            nn.init.zeros_(cast("nn.Linear", head).weight)
            nn.init.zeros_(cast("nn.Linear", head).bias)
        self.heads = nn.ModuleDict(heads)

    @torch.no_grad()
    def set_term_frequencies(self, corpus: Corpus) -> None:
        """Start the annotation head at the base rates, so that no step is spent on learning them."""
        count = np.bincount(corpus.terms, minlength=corpus.num_terms).astype(np.float64)
        rate = (count + 1) / (int(corpus.annotated.sum()) + 2)
        cast("nn.Linear", self.heads["terms"]).bias.copy_(torch.from_numpy(np.log(rate / (1 - rate))))

    def forward(self, batch: MaskedBatch) -> dict[str, tuple[Tensor, int]]:
        """Sum of each loss and the number of predictions in it, so that batches can be added up exactly."""
        states = self.encoder(self.language_model, batch.input_ids)  # (batch, length, dim)
        lm_head = cast("nn.Module", self.language_model.lm_head)
        losses = {"masked": _token_loss(lm_head, states, batch.masked_labels)}
        for name in ("ss8", "accessibility"):
            if name in self.heads:
                losses[name] = _token_loss(self.heads[name], states, getattr(batch, name))
        if "terms" in self.heads:
            losses["terms"] = self._term_loss(states, batch)
        return losses

    def _term_loss(self, states: Tensor, batch: MaskedBatch) -> tuple[Tensor, int]:
        pooled = mean_pool(states, batch.is_residue)[batch.annotated]  # (annotated, dim)
        logits = self.heads["terms"](pooled).float()  # (annotated, terms)
        target = batch.terms[batch.annotated]
        return F.binary_cross_entropy_with_logits(logits, target, reduction="sum"), target.numel()


def total_loss(losses: dict[str, tuple[Tensor, int]], weights: ObjectiveWeights) -> Tensor:
    """Weighted sum of the mean losses; an objective without a prediction in this batch counts zero."""
    terms = [getattr(weights, name) * value / max(count, 1) for name, (value, count) in losses.items()]
    return torch.stack(terms).sum()


def _stock_encode(language_model: Any, input_ids: Tensor) -> Tensor:
    return cast("Tensor", language_model.esm(input_ids=input_ids).last_hidden_state)


def _labels(values: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.where(values == NO_LABEL, IGNORE, values))


def _token_loss(head: nn.Module, states: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Cross entropy of the labelled positions only: the head never runs on the others."""
    chosen = labels != IGNORE  # (batch, length)
    target = labels[chosen]  # (labelled,)
    logits = head(states[chosen]).float()  # (labelled, classes)
    return F.cross_entropy(logits, target, reduction="sum"), target.numel()
