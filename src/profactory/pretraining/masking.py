"""Hiding residues, after Devlin et al. 2019 (https://arxiv.org/abs/1810.04805)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from profactory.pretraining.corpus import FIRST_STANDARD, LAST_STANDARD, MASK, NO_LABEL, PAD, VOCABULARY

if TYPE_CHECKING:
    from profactory.pretraining.batches import Batch

#: Label value that torch losses skip.
IGNORE = -100
#: Of the selected residues: replaced by <mask>, by a random residue, left as they are.
MASK_SPLIT = (0.8, 0.1, 0.1)
#: How other vocabularies spell the special tokens.
_SPECIAL = {"<cls>": "[CLS]", "<pad>": "[PAD]", "<eos>": "[SEP]", "<unk>": "[UNK]", "<mask>": "[MASK]"}


@dataclass(frozen=True)
class Vocabulary:
    """Token ids of a network for the tokens of a corpus.

    Attributes
    ----------
    ids : array of int64, (33,)
        Id of each of the tokens of :data:`~profactory.pretraining.corpus.VOCABULARY`.
    """

    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.arange(len(VOCABULARY)))

    @classmethod
    def of(cls, tokens: Mapping[str, int], replace: Mapping[str, str]) -> Self:
        """Look up the tokens in a network's vocabulary; residues that it lacks are written as `replace` says.

        Tokens that occur in no batch (gaps, for one) count as padding where they are missing.
        """
        names = [replace.get(token, token) for token in VOCABULARY]
        spelled = (name if name in tokens else _SPECIAL.get(name, name) for name in names)
        pad = tokens.get("<pad>", tokens.get("[PAD]", PAD))
        return cls(np.array([tokens.get(name, pad) for name in spelled], np.int64))

    @property
    def residues(self) -> npt.NDArray[np.int64]:
        """Ids of the 20 standard residues, in the order of the corpus."""
        return self.ids[FIRST_STANDARD : LAST_STANDARD + 1]


def mask_tokens(
    tokens: npt.NDArray[np.int64], rng: np.random.Generator, probability: float = 0.15
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Hide standard residues.

    Returns
    -------
    input_ids, labels : array of int64, (batch, length)
        Tokens of the corpus; labels hold the true residue where one was selected, `IGNORE` elsewhere.
    """
    standard = (tokens >= FIRST_STANDARD) & (tokens <= LAST_STANDARD)
    selected = standard & (rng.random(tokens.shape) < probability)
    kind = rng.random(tokens.shape)
    replacement = rng.integers(FIRST_STANDARD, LAST_STANDARD + 1, size=tokens.shape)
    to_mask = selected & (kind < MASK_SPLIT[0])
    to_replace = selected & (kind >= MASK_SPLIT[0]) & (kind < MASK_SPLIT[0] + MASK_SPLIT[1])
    input_ids = np.where(to_mask, MASK, np.where(to_replace, replacement, tokens))
    return input_ids, np.where(selected, tokens, IGNORE)


def masked_tensors(
    batch: Batch, rng: np.random.Generator, vocabulary: Vocabulary, probability: float
) -> dict[str, Tensor]:
    """Mask a batch and turn it into tensors in the network's token ids.

    Returns
    -------
    dict
        ``input_ids``, ``masked_labels``, ``ss8``, ``accessibility``: int64 ``(batch, length)``, labels
        `IGNORE` where nothing is asked. ``is_residue``: bool ``(batch, length)``, False at special tokens.
        ``terms``: float32 ``(batch, terms)``. ``annotated``: bool ``(batch,)``.
    """
    input_ids, labels = mask_tokens(batch.tokens, rng, probability)
    labels = np.where(labels == IGNORE, IGNORE, vocabulary.ids[np.maximum(labels, 0)])
    return {
        "input_ids": torch.from_numpy(vocabulary.ids[input_ids]),
        "masked_labels": torch.from_numpy(labels),
        "ss8": _labels(batch.ss8),
        "accessibility": _labels(batch.accessibility),
        "is_residue": torch.from_numpy(batch.tokens >= FIRST_STANDARD),
        "terms": torch.from_numpy(batch.terms),
        "annotated": torch.from_numpy(batch.annotated),
    }


def _labels(values: npt.NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.where(values == NO_LABEL, IGNORE, values))
