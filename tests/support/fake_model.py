"""A model whose outputs can be worked out by hand: residue letter n of the alphabet counts n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from profactory.data.domain import Domain
from profactory.models.batch import TokenBatch
from profactory.models.extra_inputs import ExtraInputs, Sample
from profactory.tasks import Calibration, Task

PAD, START, END = 1, 0, 2


class FakeBackbone:
    """Letters become ``ord(letter) - 61``, so that A is 4."""

    def tokenize(self, sequences: Sequence[str], max_length: int) -> list[np.ndarray]:
        return [
            np.array([START, *(ord(letter) - 61 for letter in sequence[:max_length]), END], np.int64)
            for sequence in sequences
        ]

    def collate(self, tokens: Sequence[np.ndarray]) -> TokenBatch:
        widest = max(map(len, tokens))
        ids = torch.full((len(tokens), widest), PAD)
        for row, sequence in enumerate(tokens):
            ids[row, : len(sequence)] = torch.from_numpy(sequence)
        lengths = torch.tensor([len(sequence) - 2 for sequence in tokens])
        return TokenBatch(ids, (ids != PAD).long(), lengths)


class FakeModel(nn.Module):
    """Output c of a residue is ``letter * (c + 1)`` with A = 1; that of a sequence is the mean over residues.

    `seen` holds the shape of every batch. More than `memory` tokens in a batch do not fit into memory.
    """

    def __init__(self, task: Task, max_length: int = 1000, memory: int = 10**9) -> None:
        super().__init__()
        self.task, self.max_length, self.memory = task, max_length, memory
        self.backbone = FakeBackbone()
        self.calibration = Calibration()
        self.domain: Domain | None = None
        self.extra_inputs = ExtraInputs()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[int, int]] = []

    def prepare(self, sequences: Sequence[str], strings: Any = None) -> list[Sample]:
        return [Sample(ids) for ids in self.backbone.tokenize(sequences, self.max_length)]

    def collate(self, samples: Sequence[Sample]) -> TokenBatch:
        return self.backbone.collate([sample.ids for sample in samples])

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        if input_ids.numel() > self.memory:
            raise torch.OutOfMemoryError("no room")
        self.seen.append((input_ids.shape[0], input_ids.shape[1]))
        letters = (input_ids - 3)[:, 1:-1].float() * self.scale  # (batch, length)
        mask = torch.arange(letters.shape[1])[None, :] < lengths[:, None]
        factors = torch.arange(1, self.task.n_outputs + 1).float()
        outputs = (letters * mask)[:, :, None] * factors  # (batch, length, outputs)
        return outputs if self.task.per_residue else outputs.sum(1) / lengths[:, None]
