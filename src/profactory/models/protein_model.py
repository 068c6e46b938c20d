"""Backbone, pooling and head for a task as one module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from profactory.config.methods import METHODS
from profactory.data.domain import Domain
from profactory.data.structure_strings import Strings
from profactory.errors import ConfigError, ModelLoadError
from profactory.models.adapters import merge_adapter
from profactory.models.backbone import Backbone, without_structure
from profactory.models.batch import TokenBatch
from profactory.models.descriptors import Beside
from profactory.models.design import Design
from profactory.models.extra_inputs import DESCRIPTORS, Sample, collate_extras
from profactory.models.heads import Head
from profactory.models.layer_mix import LayerMix
from profactory.models.pooling import MeanPooling, Pooling, choose_pooling, make_pooling, without_cls
from profactory.models.ses_adapter import StructureAdapter
from profactory.models.tuning import Tuning, apply_method
from profactory.models.zoo import ModelSpec
from profactory.tasks import Calibration, Task

Batch = tuple[Tensor, Tensor, Tensor]


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
    domain : Domain or None
        What the training sequences were like; None until it is fitted after training.
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
        self.domain: Domain | None = None
        self.design = design
        self.extra_inputs = design.extra_inputs
        self.mix = LayerMix(backbone.n_layers + 1) if backbone.mixed else None
        self.structure: StructureAdapter | None = None
        if design.method == "ses-adapter":
            self.structure = StructureAdapter(backbone.width, list(design.structures))
        self.pooling: Pooling | None = None
        if design.pooling is not None:
            self.pooling = make_pooling(design.pooling, backbone.width)
        width = backbone.width if self.pooling is None else self.pooling.out_width
        self.beside = Beside(width, design.descriptors) if design.descriptors else None
        width = width if self.beside is None else self.beside.out_width
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
        if METHODS[design.method].per_residue and not design.structures:
            raise ConfigError(
                f"The method {design.method} needs structure strings.", fix="see --structure-columns"
            )
        if design.extra_inputs.in_tokens and design.structures.keys() - {backbone.family.spelling.structure}:
            raise without_structure(backbone.spec)
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

    def prepare(self, sequences: Sequence[str], strings: Strings | None = None) -> list[Sample]:
        """Turn sequences, and what is read beside them, into numbers.

        Parameters
        ----------
        sequences
            Clean residue letters.
        strings
            For models that read them: structure strings, checked, one for each sequence.

        Raises
        ------
        ConfigError
            The model reads strings that are not there.
        """
        in_tokens = self.extra_inputs.for_tokens(strings)
        ids = self.backbone.tokenize(sequences, self.max_length, in_tokens)
        if not self.extra_inputs:
            return [Sample(one) for one in ids]
        extras = self.extra_inputs.encode(sequences, strings, self.max_length)
        return [Sample(one, more) for one, more in zip(ids, extras, strict=True)]

    def collate(self, samples: Sequence[Sample]) -> TokenBatch:
        """Pad and stack what :meth:`prepare` gave."""
        batch = self.backbone.collate([sample.ids for sample in samples])
        return replace(batch, extras=collate_extras([sample.extras for sample in samples]))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor, **extras: Tensor) -> Tensor:
        """Return logits, or values in the user's units.

        Parameters
        ----------
        input_ids, attention_mask, lengths, **extras
            See :class:`profactory.models.backbone.TokenBatch`.

        Returns
        -------
        Tensor
            ``(batch, n_outputs)``, or ``(batch, length, n_outputs)`` for residue tasks.
        """
        vectors, _ = self._read(input_ids, attention_mask, lengths, extras)
        return self._outputs(vectors, extras)

    def forward_embedded(
        self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor, **extras: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward` returns, and the embeddings ``(batch, embedding_width)``.

        The embedding of a sequence is the vector that the head reads, without what is put beside it; for
        residue tasks the mean over the residues.
        """
        vectors, mask = self._read(input_ids, attention_mask, lengths, extras)
        return self._outputs(vectors, extras), self._embedding(vectors, mask)

    @property
    def embedding_width(self) -> int:
        """Numbers per sequence of :meth:`forward_embedded`."""
        return self.backbone.width if self.pooling is None else self.pooling.out_width

    @property
    def feature_width(self) -> int:
        """Numbers per row of :meth:`features`."""
        of_layer = (
            self.pooling.out_width if self.design.pooled_features and self.pooling else self.backbone.width
        )
        return of_layer * (1 if self.mix is None else self.mix.layers)

    def features(self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor) -> Tensor:
        """Return what a frozen backbone yields: the part of :meth:`forward` that never changes.

        Returns
        -------
        Tensor
            ``(batch, feature_width)`` if the design's ``pooled_features``, else
            ``(batch, length, feature_width)``.
        """
        output = self.backbone(input_ids, attention_mask, lengths)
        if self.design.pooled_features and self.pooling is not None:
            pooled: Tensor = self.pooling(output.residues, output.mask, output.cls)
            return pooled
        residues: Tensor = output.residues
        return residues

    def forward_features(self, features: Tensor, mask: Tensor | None = None, **extras: Tensor) -> Tensor:
        """Return what :meth:`forward` would, from what :meth:`features` gave.

        Parameters
        ----------
        features
            ``(batch, feature_width)`` or ``(batch, length, feature_width)``.
        mask
            ``(batch, length)`` bool; needed where there is a vector per residue and something attends to it.
        **extras
            See :class:`profactory.models.backbone.TokenBatch`.
        """
        return self._outputs(self._read_features(features, mask, extras), extras)

    def forward_features_embedded(
        self, features: Tensor, mask: Tensor | None = None, **extras: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what :meth:`forward_embedded` would, from what :meth:`features` gave."""
        vectors = self._read_features(features, mask, extras)
        return self._outputs(vectors, extras), self._embedding(vectors, mask)

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

    def save(
        self,
        directory: str | Path,
        *,
        provenance: Mapping[str, Any] | None = None,
        self_contained: bool = False,
    ) -> Path:
        """Write the model; see :func:`profactory.models.saving.save_model`."""
        from profactory.models.saving import save_model

        return save_model(self, Path(directory), provenance or {}, self_contained=self_contained)

    @classmethod
    def load(
        cls, directory: str | Path, *, attention: str = "auto", trust_remote_code: bool = False
    ) -> ProteinModel:
        """Read what :meth:`save` wrote; see :func:`profactory.models.saving.load_model`."""
        from profactory.models.saving import load_model

        return load_model(Path(directory), attention=attention, trust_remote_code=trust_remote_code)

    def _read(
        self, input_ids: Tensor, attention_mask: Tensor, lengths: Tensor, extras: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return what the head reads of sequences, and the mask of their residues."""
        output = self.backbone(input_ids, attention_mask, lengths)
        residues, cls = output.residues, output.cls
        if self.mix is not None:
            residues, cls = self.mix(residues), None if cls is None else self.mix(cls)
        return self._pooled(residues, output.mask, cls, extras), output.mask

    def _read_features(self, features: Tensor, mask: Tensor | None, extras: Mapping[str, Tensor]) -> Tensor:
        mixed: Tensor = features if self.mix is None else self.mix(features)
        if self.design.pooled_features:
            return mixed
        if mask is None and (self.pooling is not None or self.structure is not None):
            raise ConfigError("This model needs the mask of the residues.")
        return self._pooled(mixed, mask, None, extras)

    def _pooled(
        self, residues: Tensor, mask: Tensor | None, cls: Tensor | None, extras: Mapping[str, Tensor]
    ) -> Tensor:
        """Return ``(batch, width)``, or for residue tasks ``(batch, length, width)``, of residues."""
        if self.structure is not None:
            residues = self.structure(residues, mask, self._given(extras, self.extra_inputs.structures))
        if self.pooling is None:
            return residues
        pooled: Tensor = self.pooling(residues, mask, cls)
        return pooled

    def _embedding(self, vectors: Tensor, mask: Tensor | None) -> Tensor:
        """Return one vector per sequence ``(batch, width)`` of what the head reads."""
        if self.pooling is not None:
            return vectors
        if mask is None:
            raise ConfigError("The embedding of a sequence needs the mask of its residues.")
        mean: Tensor = MeanPooling(vectors.shape[-1])(vectors, mask)
        return mean

    def _given(self, extras: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """Return extra inputs, all of which must be there."""
        missing = [name for name in names if name not in extras]
        if missing:
            raise ConfigError(f"The model reads {', '.join(missing)} beside the sequence.", fix="use prepare")
        return {name: extras[name] for name in names}

    def _outputs(self, vectors: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        if self.beside is not None:
            vectors = self.beside(vectors, self._given(extras, [DESCRIPTORS])[DESCRIPTORS])
        outputs: Tensor = self.head(vectors)
        if self.task.is_classification:
            return outputs
        return outputs * self.output_scale + self.output_shift

    def _trained(self) -> dict[str, Tensor]:
        parameters = {name: p for name, p in self.named_parameters() if p.requires_grad}
        return {**parameters, "output_shift": self.output_shift, "output_scale": self.output_scale}
