"""Several models that predict as one: the mean of their outputs, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from profactory.data.structure_strings import Strings
from profactory.inference.decoding import fill_unread
from profactory.inference.engines.torch_engine import TorchEngine, as_array
from profactory.inference.novelty import attach, embedding_domains
from profactory.inference.predictor import Predictor, Row
from profactory.inference.spread import EnsembleValues, combine, separate, spread_columns
from profactory.models.batch import TokenBatch
from profactory.models.extra_inputs import Sample
from profactory.models.protein_model import ProteinModel
from profactory.progress import Progress
from profactory.tasks import Calibration, Task, Values


class EnsembleEngine(TorchEngine):
    """Members that read one batch; a backbone that all of them share is run once.

    Parameters
    ----------
    members
        Models of one task and maximum length.
    device, precision
        As for :class:`TorchEngine`.
    """

    def __init__(
        self, members: Sequence[ProteinModel], device: str = "auto", precision: str = "fp32"
    ) -> None:
        super().__init__(members[0], device, precision)
        self.members = [member.to(self.device).eval() for member in members]
        self.shared = all(member.backbone is members[0].backbone for member in members)

    def describe(self) -> str:
        """Return what computes, for people."""
        return f"{super().describe()}, {len(self.members)} models"

    @torch.inference_mode()
    def run_members(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Return the heads' outputs: ``(members, batch, outputs)``; per residue a length before the last."""
        return as_array(torch.stack([outputs for outputs, _ in self._run_each(batch)]))

    @torch.inference_mode()
    def run_members_embedded(self, batch: TokenBatch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the heads' outputs, and every member's embeddings ``(members, batch, width)``."""
        outputs, embeddings = zip(*self._run_each(batch), strict=True)
        return as_array(torch.stack(outputs)), as_array(torch.stack(embeddings))

    def _run_each(self, batch: TokenBatch) -> list[tuple[Tensor, Tensor]]:
        here = batch.to(self.device)
        inputs = (here.input_ids, here.attention_mask, here.lengths)
        with self._autocast():
            if not self.shared:
                return [member.forward_embedded(*inputs, **here.extras) for member in self.members]
            features = self.model.features(*inputs)  # (batch, width) or (batch, length, width)
            length = int(here.lengths.max())
            mask = torch.arange(length, device=self.device) < here.lengths[:, None]
            return [
                member.forward_features_embedded(features, mask, **here.extras) for member in self.members
            ]


class Ensemble(Predictor):
    """Several models of one task as one predictor.

    Outputs are the mean of the members' (probabilities, or values in the user's units), each member with its
    own temperature (Lakshminarayanan et al. 2017, https://arxiv.org/abs/1612.01474). Beside a prediction
    stands how far the members are apart; see :func:`profactory.inference.spread.spread_columns`.

    Parameters
    ----------
    members
        The models.
    task, calibration
        Of the ensemble: its threshold, sets and intervals are not those of a member.
    device, precision
        As for :class:`EnsembleEngine`.
    **options
        As for :class:`Predictor`.
    """

    def __init__(
        self,
        members: Sequence[ProteinModel],
        task: Task,
        calibration: Calibration,
        *,
        device: str = "auto",
        precision: str = "fp32",
        **options: Any,
    ) -> None:
        self.members = EnsembleEngine(members, device, precision)
        super().__init__(members[0], engine=self.members, **options)
        self.task, self.calibration = task, calibration
        self.domains = [member.domain for member in members if member.domain]

    def predict_outputs(
        self, sequences: Sequence[str], progress: Progress | None = None, strings: Strings | None = None
    ) -> EnsembleValues:
        """Predict for clean sequences; see :meth:`Predictor.predict_outputs`."""
        return separate(super().predict_outputs(sequences, progress, strings))

    def columns(
        self, sequences: Sequence[str], outputs: Values, *, probabilities: bool = True
    ) -> dict[str, list[Any]]:
        """Return all that is said of each sequence; see :meth:`Predictor.columns`."""
        columns = super().columns(sequences, outputs, probabilities=probabilities)
        spread = fill_unread(self.task, sequences, outputs, spread_columns(self.task, outputs))
        predictions = {name: cells for name, cells in columns.items() if name.startswith("prediction")}
        return {**predictions, **spread, **columns}

    def _run(self, samples: list[Sample]) -> list[Row]:
        """Return mean, standard deviation and votes of each sequence side by side."""
        batch = self.model.collate(samples)
        members, known = self.members.members, embedding_domains(self.domains)
        logits, embeddings = (
            self.members.run_members_embedded(batch) if known else (self.members.run_members(batch), None)
        )
        outputs = [
            member.calibration.apply(member.task, Values(member.task.probabilities(one))).values
            for member, one in zip(members, logits, strict=True)
        ]
        rows = self._rows(combine(np.stack(outputs)), batch)
        if embeddings is None:
            return rows
        distances = [
            member.domain.embedding.distance(own)
            for member, own in zip(members, embeddings, strict=True)
            if member.domain is not None and member.domain.embedding is not None
        ]
        return attach(rows, np.stack(distances, axis=1))
