"""Batches of one length each, as a pure function of (seed, step).

Every batch is cropped to a single length, so the network needs no padding and no attention mask; records of
similar length are put together, so little is cropped away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from profactory.pretraining.corpus import CLS, EOS, NO_LABEL, Corpus

#: Separate random streams, so that changing one (say, masking) leaves the others as they were.
_STREAM_EPOCH, _STREAM_CHAINS, _STREAM_CROP = 1, 2, 3
_LENGTH_STEP = 16


@dataclass(frozen=True)
class BatchSettings:
    """How batches are cut.

    Attributes
    ----------
    tokens : int
        Upper limit of rows times length, special tokens included.
    max_length : int
        Longer records are cropped: half of the time from the start, else at a random place.
    labelled_share : float
        Part of the rows of each batch drawn from the records with residue labels (if there are any).
    unannotated_share : float
        Part of the records without annotation that take part in an epoch (a new choice each epoch).
    """

    tokens: int = 4096
    max_length: int = 384
    labelled_share: float = 0.25
    unannotated_share: float = 1.0


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


class BatchSource:
    """Endless batches of a corpus: ``source.batch(step)`` is always the same for the same seed and step."""

    def __init__(self, corpus: Corpus, seed: int, settings: BatchSettings | None = None) -> None:
        self.corpus = corpus
        self.seed = seed
        self.settings = settings or BatchSettings()
        self._sizes = np.minimum(corpus.lengths + 2, self.settings.max_length)
        labelled = corpus.has_residue_labels
        self._records = np.flatnonzero(~labelled)
        chains = np.flatnonzero(labelled)
        self._chains = chains[np.argsort(self._sizes[chains], kind="stable")]
        if not len(self._records):
            self._records, self._chains = self._chains, self._chains[:0]
        self._share = self.settings.labelled_share if len(self._chains) else 0.0
        # (first step, plan) of each epoch met so far; earlier epochs are only counted, never kept.
        self._epochs: list[tuple[int, list[npt.NDArray[np.int64]]]] = []

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
        rows = self._rows(step)
        length = self._crop_length(rows)
        chains = self._draw_chains(step, length, max(1, self.settings.tokens // length) - len(rows))
        return self._crop(np.concatenate([rows, chains]), length, step)

    def _rows(self, step: int) -> npt.NDArray[np.int64]:
        while not self._epochs or step >= self._epochs[-1][0] + len(self._epochs[-1][1]):
            first = self._epochs[-1][0] + len(self._epochs[-1][1]) if self._epochs else 0
            plan = self._plan(len(self._epochs))
            self._epochs.append((first, plan))
        first, plan = next(entry for entry in reversed(self._epochs) if entry[0] <= step)
        return plan[step - first]

    def _plan(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """Record indices of every batch of an epoch, in the order of training."""
        rng = np.random.default_rng([self.seed, _STREAM_EPOCH, epoch])
        keep = self.corpus.annotated[self._records]
        keep = keep | (rng.random(len(keep)) < self.settings.unannotated_share)
        records = self._records[keep]
        # The jitter makes other neighbours meet in each epoch while lengths stay close together.
        order = records[
            np.argsort(self._sizes[records] * (1 + 0.03 * rng.random(len(records))), kind="stable")
        ]
        batches, start = [], 0
        while start < len(order):
            budget = self.settings.tokens * (1 - self._share)
            count = max(1, round(budget / self._crop_length(order[start : start + 1])))
            batches.append(order[start : start + count])
            start += count
        return [batches[i] for i in rng.permutation(len(batches))]

    def _crop_length(self, rows: npt.NDArray[np.int64]) -> int:
        shortest = int(self._sizes[rows].min())
        return max(shortest // _LENGTH_STEP * _LENGTH_STEP, min(shortest, _LENGTH_STEP))

    def _draw_chains(self, step: int, length: int, count: int) -> npt.NDArray[np.int64]:
        """Labelled records at least as long as the crop, preferring those not much longer."""
        if count <= 0 or not self._share:
            return self._chains[:0]
        sizes = self._sizes[self._chains]
        first = int(np.searchsorted(sizes, min(length, int(sizes[-1]))))
        last = max(int(np.searchsorted(sizes, 2 * length)), min(first + 8 * count, len(sizes)))
        if sizes[first] < length:
            return self._chains[:0]
        rng = np.random.default_rng([self.seed, _STREAM_CHAINS, step])
        return self._chains[rng.integers(first, last, size=count)]

    def _crop(self, rows: npt.NDArray[np.int64], length: int, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, _STREAM_CROP, step])
        corpus = self.corpus
        tokens = np.empty((len(rows), length), dtype=np.int64)
        ss8 = np.full_like(tokens, NO_LABEL)
        accessibility = np.full_like(tokens, NO_LABEL)
        terms = np.zeros((len(rows), corpus.num_terms), dtype=np.float32)
        for i, row in enumerate(rows):
            begin, end = int(corpus.offsets[row]), int(corpus.offsets[row + 1])
            full = end - begin + 2
            start = 0 if rng.random() < 0.5 else int(rng.integers(0, full - length + 1))
            # In the frame of the full sequence, 0 is <cls> and full - 1 is <eos>.
            first, last = max(start, 1) - 1, min(start + length, full - 1) - 1
            place = slice(first + 1 - start, last + 1 - start)
            tokens[i, 0], tokens[i, -1] = CLS, EOS
            tokens[i, place] = corpus.tokens[begin + first : begin + last]
            ss8[i, place] = corpus.ss8[begin + first : begin + last]
            accessibility[i, place] = corpus.accessibility[begin + first : begin + last]
            terms[i, corpus.terms[corpus.term_offsets[row] : corpus.term_offsets[row + 1]]] = 1.0
        return Batch(tokens, ss8, accessibility, terms, np.asarray(corpus.annotated[rows]))
