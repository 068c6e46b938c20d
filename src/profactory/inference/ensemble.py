"""Several models that predict as one: the mean of their outputs, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.data.structure_strings import Strings
from profactory.inference.decoding import fill_unread
from profactory.inference.engines.torch_engine import TorchEngine
from profactory.inference.predictor import Predictor, Row
from profactory.inference.spread import EnsembleValues, combine, separate, spread_columns
from profactory.models.backbone import TokenBatch
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
        here = batch.to(self.device)
        inputs = (here.input_ids, here.attention_mask, here.lengths)
        with self._autocast():
            if self.shared:
                features = self.model.features(*inputs)  # (batch, width) or (batch, length, width)
                length = int(here.lengths.max())
                mask = torch.arange(length, device=self.device) < here.lengths[:, None]
                outputs = [member.forward_features(features, mask, **here.extras) for member in self.members]
            else:
                outputs = [member(*inputs, **here.extras) for member in self.members]
        return np.asarray(torch.stack(outputs).float().cpu().numpy())


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
        logits = self.members.run_members(batch)
        outputs = [
            member.calibration.apply(member.task, Values(member.task.probabilities(one))).values
            for member, one in zip(self.members.members, logits, strict=True)
        ]
        rows = combine(np.stack(outputs))
        if not self.task.per_residue:
            return list(rows)
        return [row[:length] for row, length in zip(rows, batch.lengths.tolist(), strict=True)]
