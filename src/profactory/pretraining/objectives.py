"""The objectives of pretraining: masked residues, annotation terms, secondary structure, accessibility.

Masked language modelling after Devlin et al. 2019 (https://arxiv.org/abs/1810.04805) and Rives et al. 2021
(https://doi.org/10.1073/pnas.2016239118); supervised objectives beside it in the manner of ProteinBERT
(https://doi.org/10.1093/bioinformatics/btac020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from profactory.pretraining.corpus import ACCESSIBILITY_LEVELS, SS8_STATES, Corpus
from profactory.pretraining.masking import IGNORE
from profactory.pretraining.network import encode, masked_head


@dataclass(frozen=True)
class ObjectiveWeights:
    """Factor of each loss; the losses are nats per predicted residue, or per (record, term) for terms."""

    masked: float = 1.0
    terms: float = 20.0
    ss8: float = 1.0
    accessibility: float = 0.5


def mean_pool(states: Tensor, is_residue: Tensor) -> Tensor:
    """Mean over the residues: (batch, length, dim), (batch, length) -> (batch, dim)."""
    weight = is_residue.to(torch.float32).unsqueeze(-1)  # (batch, length, 1)
    return (states.float() * weight).sum(1) / weight.sum(1).clamp(min=1.0)


class PretrainingModel(nn.Module):
    """What the loop trains: a masked language model and the heads of the supervised objectives.

    Parameters
    ----------
    language_model : nn.Module
        With a masked-language-model head, as :func:`~profactory.pretraining.network.load_network` gives it.
    num_terms : int
        0 leaves out the annotation head.
    residue_heads : bool
        Whether there are secondary structure and accessibility labels.
    weights : ObjectiveWeights, optional
        An objective of weight 0 has no head.
    """

    def __init__(
        self,
        language_model: nn.Module,
        num_terms: int = 0,
        residue_heads: bool = False,
        weights: ObjectiveWeights | None = None,
    ) -> None:
        super().__init__()
        self.language_model = language_model
        self.weights = weights or ObjectiveWeights()
        sizes = {"terms": num_terms}
        if residue_heads:
            sizes |= {"ss8": len(SS8_STATES), "accessibility": ACCESSIBILITY_LEVELS}
        dim = int(cast("Any", language_model).config.hidden_size)
        wanted = {name: size for name, size in sizes.items() if size and getattr(self.weights, name)}
        self.heads = nn.ModuleDict({name: nn.Linear(dim, size) for name, size in wanted.items()})
        for parameter in self.heads.parameters():
            # Starting at zero, a head asks nothing of the trunk before it has learnt a direction.
            nn.init.zeros_(parameter)

    @torch.no_grad()
    def set_term_frequencies(self, corpus: Corpus) -> None:
        """Start the annotation head at the base rates, so that no step is spent on learning them."""
        if "terms" not in self.heads:
            return
        count = np.bincount(corpus.terms, minlength=corpus.num_terms).astype(np.float64)
        rate = (count + 1) / (int(corpus.annotated.sum()) + 2)
        cast("nn.Linear", self.heads["terms"]).bias.copy_(torch.from_numpy(np.log(rate / (1 - rate))))

    def forward(self, weight: Tensor, **batch: Tensor) -> Tensor:
        """Return the weighted sum of the mean losses of a batch, times the batch's weight in its step."""
        return total_loss(self.losses(**batch), self.weights) * weight

    def losses(
        self,
        input_ids: Tensor,
        masked_labels: Tensor,
        ss8: Tensor,
        accessibility: Tensor,
        is_residue: Tensor,
        terms: Tensor,
        annotated: Tensor,
    ) -> dict[str, tuple[Tensor, int]]:
        """Return the sum of each loss and the number of predictions in it.

        Parameters
        ----------
        input_ids, masked_labels, ss8, accessibility, is_residue, terms, annotated
            See :func:`~profactory.pretraining.masking.masked_tensors`.
        """
        states = encode(self.language_model, input_ids)  # (batch, length, dim)
        losses = {"masked": _token_loss(masked_head(self.language_model), states, masked_labels)}
        for name, labels in (("ss8", ss8), ("accessibility", accessibility)):
            if name in self.heads:
                losses[name] = _token_loss(self.heads[name], states, labels)
        if "terms" in self.heads:
            pooled = mean_pool(states, is_residue)[annotated]  # (annotated, dim)
            logits, target = self.heads["terms"](pooled).float(), terms[annotated]  # (annotated, terms)
            loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
            losses["terms"] = loss, target.numel()
        return losses


def total_loss(losses: dict[str, tuple[Tensor, int]], weights: ObjectiveWeights) -> Tensor:
    """Weighted sum of the mean losses; an objective without a prediction in this batch counts zero."""
    terms = [getattr(weights, name) * value / max(count, 1) for name, (value, count) in losses.items()]
    return torch.stack(terms).sum()


def _token_loss(head: nn.Module, states: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Cross entropy of the labelled positions only: the head never runs on the others."""
    chosen = labels != IGNORE  # (batch, length)
    target = labels[chosen]  # (labelled,)
    logits = head(states[chosen]).float()  # (labelled, classes)
    return F.cross_entropy(logits, target, reduction="sum"), target.numel()
