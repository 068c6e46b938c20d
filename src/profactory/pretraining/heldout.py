"""How well a language model predicts hidden residues of sequences that it was not trained on.

The masks are fixed: the same residues are hidden at every evaluation, before and after training, so that a
difference is the model's. Few sequences are masked several times, each time elsewhere.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from profactory.data.batching import Indices
from profactory.pretraining.batches import Batches, crop
from profactory.pretraining.corpus import FIRST_STANDARD, LAST_STANDARD, VOCABULARY, Corpus
from profactory.pretraining.masking import IGNORE, masked_tensors
from profactory.pretraining.network import encode, masked_head

RESIDUES = VOCABULARY[FIRST_STANDARD : LAST_STANDARD + 1]
_STREAM = 5
#: Predicted residues from which one mask of each sequence is enough.
_ENOUGH = 20_000
_MOST_ROUNDS = 16

Autocast = Callable[[], contextlib.AbstractContextManager[object]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predicted:
    """Predictions of hidden residues, one entry each.

    Attributes
    ----------
    record : array of int64, (predicted,)
        Which record of the corpus the residue belongs to.
    residue : array of int64, (predicted,)
        The true residue, an index into `RESIDUES`.
    loss : array of float64, (predicted,)
        Negative log-probability of the true residue, in nats.
    correct : array of bool, (predicted,)
        Whether the most probable of the 20 residues is the true one.
    """

    record: npt.NDArray[np.int64]
    residue: npt.NDArray[np.int64]
    loss: Floats
    correct: npt.NDArray[np.bool_]

    @classmethod
    def together(cls, parts: Iterable[Predicted]) -> Self:
        """Join the predictions of several batches."""
        found = list(parts)
        names = ("record", "residue", "loss", "correct")
        return cls(*(np.concatenate([getattr(part, name) for part in found]) for name in names))

    @property
    def mean_loss(self) -> float:
        """Mean negative log-probability of the true residue, in nats."""
        return float(self.loss.mean())

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss: among how many residues the model hesitates."""
        return math.exp(self.mean_loss)

    @property
    def accuracy(self) -> float:
        """Share of the hidden residues that the model would guess."""
        return float(self.correct.mean())


class HeldOut:
    """Held-out records under fixed masks.

    Parameters
    ----------
    batches : Batches
        Of the records; its seed decides the masks.
    limit : int
        Tokens looked at in all, about; of more, a random part of the batches is taken.
    """

    def __init__(self, batches: Batches, limit: int = 600_000) -> None:
        self.batches = batches
        plan = batches.plan(0)
        tokens = sum(self._tokens(batch) for batch in plan)
        rounds = math.ceil(_ENOUGH / (batches.mask_probability * tokens))
        for epoch in range(1, min(rounds, _MOST_ROUNDS)):
            plan += batches.plan(epoch)
        ends = np.cumsum([self._tokens(batch) for batch in plan])
        self.plan = plan[: max(1, int(np.searchsorted(ends, limit, side="right")))]

    def __len__(self) -> int:
        return len(self.plan)

    @torch.no_grad()
    def predict(
        self, model: nn.Module, batches: Sequence[int] | Indices, autocast: Autocast = contextlib.nullcontext
    ) -> list[Predicted]:
        """Predict the hidden residues of some batches.

        Parameters
        ----------
        model
            With a masked-language-model head, in evaluation mode.
        batches
            Which batches of the plan; the result is in this order.
        autocast
            Gives the context in which to compute.
        """
        device = next(model.parameters()).device
        return [self._predict(model, int(index), device, autocast) for index in batches]

    def _predict(self, model: nn.Module, index: int, device: torch.device, autocast: Autocast) -> Predicted:
        records, vocabulary = self.plan[index], self.batches.vocabulary
        rng = np.random.default_rng([self.batches.seed, _STREAM, index])
        batch = crop(self.batches.corpus, records, self.batches.length(records), rng)
        tensors = masked_tensors(batch, rng, vocabulary, self.batches.mask_probability)
        rows, columns = torch.nonzero(tensors["masked_labels"] != IGNORE, as_tuple=True)
        with autocast():
            states = encode(model, tensors["input_ids"].to(device))  # (batch, length, dim)
            chosen = states[rows.to(device), columns.to(device)]  # (predicted, dim)
            logits = masked_head(model)(chosen).float().cpu()  # (predicted, tokens)
        labels = tensors["masked_labels"][rows, columns]  # (predicted,)
        loss = cross_entropy(logits, labels, reduction="none")
        guess = logits[:, torch.from_numpy(vocabulary.residues)].argmax(1)  # (predicted,)
        truth = batch.tokens[rows.numpy(), columns.numpy()] - FIRST_STANDARD
        return Predicted(records[rows.numpy()], truth, loss.double().numpy(), guess.numpy() == truth)

    def _tokens(self, records: Indices) -> int:
        return len(records) * self.batches.length(records)


def by_composition(predicted: Predicted, corpus: Corpus, records: Indices) -> Predicted:
    """Predict the same residues from how frequent each is in some records, blind to their surroundings."""
    counts = np.zeros(len(RESIDUES))
    for record in records:
        tokens = corpus.tokens[corpus.offsets[record] : corpus.offsets[record + 1]].astype(np.int64)
        standard = tokens[(tokens >= FIRST_STANDARD) & (tokens <= LAST_STANDARD)] - FIRST_STANDARD
        counts += np.bincount(standard, minlength=len(RESIDUES))
    loss = -np.log((counts + 1) / (counts.sum() + len(RESIDUES)))
    correct = predicted.residue == counts.argmax()
    return Predicted(predicted.record, predicted.residue, loss[predicted.residue], correct)
