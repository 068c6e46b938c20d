"""Backbone, pooling and head for a task as one module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from profactory.config.methods import METHODS
from profactory.errors import ConfigError, ModelLoadError
from profactory.models.adapters import merge_adapter
from profactory.models.backbone import Backbone
from profactory.models.heads import Head
from profactory.models.pooling import Pooling, choose_pooling, make_pooling, without_cls
from profactory.models.tuning import Tuning, apply_method
from profactory.models.zoo import ModelSpec
from profactory.tasks import Calibration, Task

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Design:
    """Everything that decides the architecture around the backbone; saved with the model.

    Parameters
    ----------
    method, tuning
        See :func:`profactory.models.tuning.apply_method`.
    pooling
        See :func:`profactory.models.pooling.choose_pooling`; None for residue tasks.
    max_length
        Residues read of each sequence; the backbone's usual length if None.
    dropout, head_hidden
        Of the head; its hidden layer is as wide as the backbone if None, and 0 means none.
    layer
        See :class:`profactory.models.backbone.Backbone`.
    """

    method: str = "freeze"
    tuning: Tuning = field(default_factory=Tuning)
    pooling: str | None = None
    max_length: int | None = None
    dropout: float = 0.1
    head_hidden: int | None = None
    layer: int = -1

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Design:
        """Rebuild from :meth:`to_dict`."""
        names = {item.name for item in fields(cls)}
        if missing := names ^ values.keys():
            raise KeyError(", ".join(sorted(missing)))
        return cls(**{**values, "tuning": Tuning.from_dict(values["tuning"])})


class ProteinModel(nn.Module):
    """A protein language model made into a predictor of one task.

    Made by :meth:`build` or :meth:`load`.

    Attributes
    ----------
    backbone, pooling, head
        The parts; ``pooling`` is None for residue tasks.
    task : Task
        What is predicted.
    calibration : Calibration
        How sure it may claim to be; neutral until it is fitted after training.
    method : str
        How the backbone is tuned.
    max_length : int
        Residues read of each sequence.
    output_shift, output_scale : Tensor
        ``(n_outputs,)``: the head works in units of `output_scale` around `output_shift`; 0 and 1 unless
        :meth:`scale_outputs` was called. :meth:`forward` yields the user's units.
    """

    output_shift: Tensor
    output_scale: Tensor

    def __init__(self, backbone: Backbone, task: Task, design: Design) -> None:
        super().__init__()
        self.backbone = backbone
        self.task = task
        self.calibration = Calibration()
        self.design = design
        self.pooling: Pooling | None = None
        if design.pooling is not None:
            self.pooling = make_pooling(design.pooling, backbone.width)
        width = backbone.width if self.pooling is None else self.pooling.out_width
        self.head = Head(width, task.n_outputs, design.head_hidden or 0, design.dropout)
        self.register_buffer("output_shift", torch.zeros(task.n_outputs))
        self.register_buffer("output_scale", torch.ones(task.n_outputs))

    @classmethod
    def build(
        cls,
        spec: ModelSpec,
        task: Task,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        attention: str = "auto",
        trust_remote_code: bool = False,
        **design: Any,
    ) -> ProteinModel:
        """Load a backbone and put new parts around it.

        Parameters
        ----------
        spec
            From :func:`profactory.models.zoo.resolve`.
        task
            What to predict.
        seed
            Of the new weights.
        dtype, attention, trust_remote_code
            See :meth:`profactory.models.backbone.Backbone.load`.
        **design
            Fields of :class:`Design`.

        Raises
        ------
        ConfigError
            If options contradict each other, before anything is loaded where possible.
        ModelLoadError
            If the backbone cannot be loaded.
        """
        wanted = Design(**design)
        wanted = replace(wanted, pooling=choose_pooling(wanted.pooling, task, spec))
        backbone = Backbone.load(
            spec, dtype=dtype, attention=attention, trust_remote_code=trust_remote_code, layer=wanted.layer
        )
        length = backbone.max_length if wanted.max_length is None else wanted.max_length
        backbone.check_max_length(length)
        hidden = backbone.width if wanted.head_hidden is None else wanted.head_hidden
        return cls.assemble(backbone, task, replace(wanted, max_length=length, head_hidden=hidden), seed=seed)

    @classmethod
    def assemble(cls, backbone: Backbone, task: Task, design: Design, *, seed: int = 0) -> ProteinModel:
        """Put new parts around a backbone that was just loaded; their weights depend on `seed` alone."""
        if design.pooling == "cls" and not backbone.has_cls:
            raise without_cls(backbone.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(backbone, task, design)
            apply_method(backbone, design.method, design.tuning)
        return model

    @property
    def method(self) -> str:
        """How the backbone is tuned."""
        return self.design.method

    @property
    def max_length(self) -> int:
        """Residues read of each sequence."""
        return self.design.max_length or self.backbone.max_length

    def scale_outputs(self, shift: Tensor, scale: Tensor) -> None:
        """Let a regression head work in units of `scale` around `shift`, both ``(n_outputs,)``.

        With the mean and standard deviation of the training labels the head starts at a sensible
        prediction whatever the unit; outputs stay in the user's units.
        """
        if self.task.is_classification:
            raise ConfigError("Only regression outputs can be scaled.")
        usable = torch.isfinite(scale) & (scale > 0)
        self.output_shift.copy_(torch.nan_to_num(shift))
        self.output_scale.copy_(torch.where(usable, scale, torch.ones_like(scale)))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> Tensor:
        """Return logits, or values in the user's units.

        Parameters
        ----------
        input_ids, attention_mask, lengths
            See :class:`profactory.models.backbone.TokenBatch`.

        Returns
        -------
        Tensor
            ``(batch, n_outputs)``, or ``(batch, length, n_outputs)`` for residue tasks.
        """
        output = self.backbone(input_ids, attention_mask, lengths)
        if self.pooling is None:
            return self._outputs(output.residues)
        return self._outputs(self.pooling(output.residues, output.mask, output.cls))

    def features(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> Tensor:
        """Return what a frozen backbone yields: the part of :meth:`forward` that never changes.

        Returns
        -------
        Tensor
            ``(batch, width)`` if the pooling has no parameters, else ``(batch, length, width)``.
        """
        output = self.backbone(input_ids, attention_mask, lengths)
        if self.pooling is not None and self.pooling.parameter_free:
            pooled: Tensor = self.pooling(output.residues, output.mask, output.cls)
            return pooled
        residues: Tensor = output.residues
        return residues

    def forward_features(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what :meth:`forward` would, from what :meth:`features` gave.

        Parameters
        ----------
        features
            ``(batch, width)`` or ``(batch, length, width)``.
        mask
            ``(batch, length)`` bool; needed for a pooling with parameters.
        """
        if self.pooling is None or self.pooling.parameter_free:
            return self._outputs(features)
        if mask is None:
            raise ConfigError("This pooling needs the mask of the residues.")
        return self._outputs(self.pooling(features, mask, None))

    def trainable_state(self) -> dict[str, Tensor]:
        """Return what training changes: trained parameters and the scale of the outputs, as copies."""
        return {name: tensor.detach().clone() for name, tensor in self._trained().items()}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`trainable_state` gave.

        Raises
        ------
        ModelLoadError
            If names or shapes are not those of this model.
        """
        own = self._trained()
        wrong = sorted(own.keys() ^ state.keys())
        wrong += [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
        if wrong:
            raise ModelLoadError(
                f"The saved weights do not fit this model; {len(wrong)} differ, such as {wrong[0]!r}.",
                expected="weights of a model with the same backbone, method, pooling and task",
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def merge(self) -> ProteinModel:
        """Put the adapter into the weights, for models that have one; outputs stay as they are.

        What is left is a plain network: it predicts faster, needs no PEFT, and is saved with its weights.

        Returns
        -------
        ProteinModel
            This model, changed in place.
        """
        if METHODS[self.method].adapter:
            merge_adapter(self.backbone)
            self.design = replace(self.design, method=self.backbone.method, tuning=Tuning())
        return self

    def save(self, directory: str | Path, *, provenance: Mapping[str, Any] | None = None) -> Path:
        """Write the model; see :func:`profactory.models.saving.save_model`."""
        from profactory.models.saving import save_model

        return save_model(self, Path(directory), provenance or {})

    @classmethod
    def load(
        cls, directory: str | Path, *, attention: str = "auto", trust_remote_code: bool = False
    ) -> ProteinModel:
        """Read what :meth:`save` wrote; see :func:`profactory.models.saving.load_model`."""
        from profactory.models.saving import load_model

        return load_model(Path(directory), attention=attention, trust_remote_code=trust_remote_code)

    def _outputs(self, vectors: Tensor) -> Tensor:
        outputs: Tensor = self.head(vectors)
        if self.task.is_classification:
            return outputs
        return outputs * self.output_scale + self.output_shift

    def _trained(self) -> dict[str, Tensor]:
        parameters = {name: p for name, p in self.named_parameters() if p.requires_grad}
        return {**parameters, "output_shift": self.output_shift, "output_scale": self.output_scale}
