"""Batches of one length each: what is trained on is a pure function of (seed, epoch, place in the epoch).

Every batch is cropped to a single length, so the network needs no padding and no attention mask; records of
similar length are put together, so little is cropped away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from profactory.data.batching import Indices
from profactory.pretraining.corpus import CLS, EOS, NO_LABEL, Corpus
from profactory.pretraining.masking import Vocabulary, masked_tensors

#: Separate random streams, so that changing one leaves the others as they were.
_STREAM_EPOCH, _STREAM_CHAINS = 1, 2
_LENGTH_STEP = 16
#: Records more than so many times as long as a batch's shortest go into another batch.
_MOST_CROPPED = 1.25
#: Lengths are jittered by up to this share before sorting, so that other neighbours meet in each epoch.
_LENGTH_JITTER = 0.03


@dataclass(frozen=True)
class BatchSettings:
    """How batches are cut.

    Attributes
    ----------
    tokens : int
        Upper limit of rows times length, special tokens included.
    sequences : int, optional
        Upper limit of rows.
    max_length : int
        Tokens; longer records are cropped: half of the time from the start, else at a random place.
    labelled_share : float
        Part of the rows of each batch drawn from the records with residue labels (if there are any).
    unannotated_share : float
        Part of the records without annotation that take part in an epoch (a new choice each epoch).
    """

    tokens: int = 4096
    sequences: int | None = None
    max_length: int = 384
    labelled_share: float = 0.25
    unannotated_share: float = 1.0

    def rows(self, length: int, share: float = 1.0) -> int:
        """Return how many rows of a length make a batch, or a share of one; at least 1."""
        return max(1, min(round(self.tokens * share) // length, self.sequences or self.tokens))


@dataclass(frozen=True)
class Batch:
    """Unmasked tokens of one batch and all labels that are known for them.

    Attributes
    ----------
    tokens : array of int64, (batch, length)
    ss8, accessibility : array of int64, (batch, length)
        `NO_LABEL` at special tokens and where not known.
    terms : array of float32, (batch, terms)
    annotated : array of bool, (batch,)
    """

    tokens: npt.NDArray[np.int64]
    ss8: npt.NDArray[np.int64]
    accessibility: npt.NDArray[np.int64]
    terms: npt.NDArray[np.float32]
    annotated: npt.NDArray[np.bool_]


class Batches:
    """Which records of a corpus go together; a source of the training loop.

    Parameters
    ----------
    corpus : Corpus
    records : array of int64, (n,)
        Those that are trained on.
    seed : int
    settings : BatchSettings, optional
    vocabulary : Vocabulary, optional
        Of the network; ESM-2's if not given.
    mask_probability : float
        Share of the residues that are predicted.
    """

    def __init__(
        self,
        corpus: Corpus,
        records: Indices,
        seed: int,
        settings: BatchSettings | None = None,
        *,
        vocabulary: Vocabulary | None = None,
        mask_probability: float = 0.15,
    ) -> None:
        self.corpus, self.seed = corpus, seed
        self.settings = settings or BatchSettings()
        self.vocabulary = vocabulary or Vocabulary()
        self.mask_probability = mask_probability
        self._all = np.asarray(records, np.int64)
        self._sizes = np.minimum(corpus.lengths + 2, self.settings.max_length)
        labelled = corpus.has_residue_labels[self._all]
        self._plain, chains = self._all[~labelled], self._all[labelled]
        self._chains = chains[np.argsort(self._sizes[chains], kind="stable")]
        if not len(self._plain):
            self._plain, self._chains = self._chains, self._chains[:0]
        self._share = self.settings.labelled_share if len(self._chains) else 0.0

    def __len__(self) -> int:
        return len(self._all)

    def plan(self, epoch: int) -> list[Indices]:
        """Return the records of every batch of an epoch, in the order of training."""
        rng = np.random.default_rng([self.seed, _STREAM_EPOCH, epoch])
        keep = self.corpus.annotated[self._plain]
        keep = keep | (rng.random(len(keep)) < self.settings.unannotated_share)
        # Of a corpus without any annotation all take part: there is nothing to prefer.
        records = self._plain[keep] if keep.any() else self._plain
        jitter = 1 + _LENGTH_JITTER * rng.random(len(records))
        batches = self._cut(records[np.argsort(self._sizes[records] * jitter, kind="stable")])
        order = [batches[i] for i in rng.permutation(len(batches))]
        return [self._with_chains(batch, epoch, place) for place, batch in enumerate(order)]

    def load(self, indices: Indices) -> dict[str, Tensor]:
        """Crop and mask; chance comes from torch's generator, which the loop seeds for every batch."""
        rng = np.random.default_rng(int(torch.randint(2**62, ()).item()))
        batch = crop(self.corpus, indices, self.length(indices), rng)
        tensors = masked_tensors(batch, rng, self.vocabulary, self.mask_probability)
        return {**tensors, "weight": torch.tensor(self.weight(indices))}

    def weight(self, indices: Indices) -> float:
        """Return the tokens that these records have before they are cropped to one length."""
        return float(self._sizes[indices].sum())

    def rows(self, indices: Indices) -> list[int]:
        """Return the lines of the file where these records stand."""
        return [int(line) for line in self.corpus.lines[indices]]

    def length(self, indices: Indices) -> int:
        """Return the one length that these records are cropped to."""
        shortest = int(self._sizes[indices].min())
        return max(shortest // _LENGTH_STEP * _LENGTH_STEP, min(shortest, _LENGTH_STEP))

    def _cut(self, order: Indices) -> list[Indices]:
        """Cut records in order of length into batches, none of which is much shorter than its longest."""
        sizes = np.maximum.accumulate(self._sizes[order])
        batches, start = [], 0
        while start < len(order):
            length = self.length(order[start : start + 1])
            end = int(np.searchsorted(sizes, max(_MOST_CROPPED * length, length + _LENGTH_STEP), "right"))
            end = max(start + 1, min(end, start + self.settings.rows(length, 1 - self._share)))
            batches.append(order[start:end])
            start = end
        return batches

    def _with_chains(self, records: Indices, epoch: int, place: int) -> Indices:
        """Fill a batch up with labelled records at least as long, preferring those not much longer."""
        length = self.length(records)
        count = self.settings.rows(length) - len(records)
        if not self._share or count <= 0:
            return records
        sizes = self._sizes[self._chains]
        first = int(np.searchsorted(sizes, length))
        if first == len(sizes):  # none is that long
            return records
        last = max(int(np.searchsorted(sizes, 2 * length)), min(first + 8 * count, len(sizes)))
        rng = np.random.default_rng([self.seed, _STREAM_CHAINS, epoch, place])
        return np.concatenate([records, self._chains[rng.integers(first, last, size=count)]])


def crop(corpus: Corpus, records: Indices, length: int, rng: np.random.Generator) -> Batch:
    """Cut a piece of `length` tokens out of each record, special tokens only at its true ends."""
    tokens = np.empty((len(records), length), dtype=np.int64)
    ss8 = np.full_like(tokens, NO_LABEL)
    accessibility = np.full_like(tokens, NO_LABEL)
    terms = np.zeros((len(records), corpus.num_terms), dtype=np.float32)
    for i, record in enumerate(records):
        begin, end = int(corpus.offsets[record]), int(corpus.offsets[record + 1])
        full = end - begin + 2
        start = 0 if rng.random() < 0.5 else int(rng.integers(0, full - length + 1))
        # In the frame of the full sequence, 0 is <cls> and full - 1 is <eos>.
        first, last = max(start, 1) - 1, min(start + length, full - 1) - 1
        place = slice(first + 1 - start, last + 1 - start)
        tokens[i, 0], tokens[i, -1] = CLS, EOS
        tokens[i, place] = corpus.tokens[begin + first : begin + last]
        ss8[i, place] = corpus.ss8[begin + first : begin + last]
        accessibility[i, place] = corpus.accessibility[begin + first : begin + last]
        terms[i, corpus.terms[corpus.term_offsets[record] : corpus.term_offsets[record + 1]]] = 1.0
    return Batch(tokens, ss8, accessibility, terms, np.asarray(corpus.annotated[records]))
