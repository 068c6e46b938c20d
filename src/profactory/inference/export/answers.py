"""A model, or several, with all that comes behind the heads, as one module: what becomes a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from profactory.tasks import Task
from profactory.tasks.transforms import LARGEST, LabelTransform

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel


class Inverted(nn.Module):
    """What brings outputs back into the unit of the labels; :meth:`LabelTransform.invert` for graphs.

    Parameters
    ----------
    transform
        Of the labels.
    """

    def __init__(self, transform: LabelTransform) -> None:
        super().__init__()
        self.is_log = transform.kind == "log"
        for i, column in enumerate(transform.knots):
            labels, quantiles = torch.tensor(column, dtype=torch.float64).T
            self.register_buffer(f"labels_{i}", labels.float(), persistent=False)
            self.register_buffer(f"quantiles_{i}", quantiles.float(), persistent=False)
        self.targets = len(transform.knots)

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the shape that came, ``(…, targets)``."""
        if self.is_log:
            return values.clamp(max=LARGEST).exp()
        columns = [self._of_target(values[..., i], i) for i in range(self.targets)]
        return torch.stack(columns, dim=-1)

    def _of_target(self, values: Tensor, target: int) -> Tensor:
        x, y = self.get_buffer(f"quantiles_{target}"), self.get_buffer(f"labels_{target}")
        if len(x) == 1:
            return torch.zeros_like(values) + y[0]
        right = (values[..., None] >= x).sum(-1).clamp(1, len(x) - 1)  # the knot behind each value
        share = ((values - x[right - 1]) / (x[right] - x[right - 1])).clamp(0.0, 1.0)
        return y[right - 1] + share * (y[right] - y[right - 1])


class Finished(nn.Module):
    """A model and what makes an answer of its head's outputs.

    Parameters
    ----------
    model
        The model, its adapter merged.
    """

    def __init__(self, model: ProteinModel) -> None:
        super().__init__()
        self.model = model
        self.temperature = model.calibration.temperature
        self.inverted = Inverted(model.task.transform) if model.task.transform else None

    def forward(self, outputs: Tensor) -> Tensor:
        """Return calibrated probabilities, or values in the user's units, of the shape that came."""
        if self.model.task.is_classification:
            return _squashed(self.model.task, outputs / self.temperature)
        return outputs if self.inverted is None else self.inverted(outputs)


class Answer(nn.Module):
    """What a model or an ensemble answers; a frozen backbone that members share is computed once.

    Parameters
    ----------
    members
        One model, or those of an ensemble, their adapters merged.
    task
        Of the whole: an ensemble's differs from that of its members.
    """

    def __init__(self, members: Sequence[ProteinModel], task: Task) -> None:
        super().__init__()
        self.members = [Finished(member) for member in members]
        self.kept = nn.ModuleList(self.members)  # the list that torch knows
        self.names = extra_names(members[0])
        self.shared = len(members) > 1 and all(m.backbone is members[0].backbone for m in members)
        self.task = task

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor, *extras: Tensor) -> Tensor:
        """Return ``(batch, outputs)``, or ``(batch, length, outputs)`` for residue tasks."""
        inputs = (input_ids, attention_mask, lengths)
        named = dict(zip(self.names, extras, strict=True))
        answers = (
            self._on_shared(inputs, named)
            if self.shared
            else [member(member.model(*inputs, **named)) for member in self.members]
        )
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)

    def _on_shared(self, inputs: tuple[Tensor, Tensor, Tensor], named: Mapping[str, Tensor]) -> list[Tensor]:
        first = self.members[0].model
        features = first.features(*inputs)  # (batch, width) or (batch, length, width)
        mask = None
        if not first.design.pooled_features:
            mask = torch.arange(features.shape[1], device=features.device) < inputs[2][:, None]
        return [member(member.model.forward_features(features, mask, **named)) for member in self.members]


def extra_names(model: ProteinModel) -> list[str]:
    """Return the names of what the model's graph reads beside tokens, in the order of its inputs."""
    return list(model.collate(model.prepare(["ACD"], unknown_strings(model, ["ACD"]))).extras)


def unknown_strings(model: ProteinModel, sequences: Sequence[str]) -> dict[str, list[str]]:
    """Return structure strings that say nothing, for a model that reads some."""
    return {kind: ["X" * len(text) for text in sequences] for kind in model.extra_inputs.structures}


def _squashed(task: Task, logits: Tensor) -> Tensor:
    return logits.sigmoid() if task.is_multi_label else logits.softmax(-1)
