"""What a masked-language-model training is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from profactory.config.configuration import Configuration
from profactory.config.machine import MachineSettings
from profactory.config.settings import Settings
from profactory.config.training import LoopSettings


class CorpusSettings(Settings):
    """Which sequences, and what is known about them."""

    group: ClassVar[str] = "Sequences"

    validation: Path | None = None
    """Held-out sequences, a file like FASTA; a share of the sequences is held out if not given."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of the sequences to hold out, 2,000 at most; equal sequences stay on one side."""
    annotations: Path | None = None
    """Table of annotation terms (such as GO) to learn beside: id, term_indices."""
    residue_labels: Path | None = None
    """Table of structures to learn beside: sequence, ss8 (DSSP), rsa_decile (0-9)."""
    min_length: int = Field(20, gt=0)
    """Shorter sequences are counted and left out."""
    max_length: int | None = Field(None, ge=8)
    """Residues used at once; longer sequences are cropped, anew in each epoch."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        if self.validation and "validation_share" in self.model_fields_set:
            return ["validation and validation_share were both given; give one"]
        return []


class NetworkSettings(Settings):
    """The model to go on with, or the size of a new one."""

    group: ClassVar[str] = "Model"

    init: str | None = None
    """Model to continue from: a name of `profactory models list`, a Hub id or a folder."""
    revision: str | None = None
    """Commit or tag of a Hub model; the catalogue's if not given."""
    method: Literal["full", "lora"] = "full"
    """full trains every weight, lora small adapters that are merged at the end."""
    lora_rank: int = Field(8, gt=0)
    """Rank of the LoRA matrices."""
    lora_alpha: int = Field(16, gt=0)
    """Scale of the LoRA update, divided by the rank."""
    size: Literal["mini", "8m", "35m", "150m"] | None = None
    """Size of a new model: the bundled one's, or that of an ESM-2; mini if not given."""
    layers: int | None = Field(None, gt=0)
    """Blocks of a new model, instead of those of its size."""
    width: int | None = Field(None, gt=0)
    """Numbers per residue of a new model, instead of those of its size."""
    heads: int | None = Field(None, gt=0)
    """Attention heads of a new model, instead of those of its size."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        shape = [name for name in ("size", "layers", "width", "heads") if getattr(self, name) is not None]
        found = []
        if self.init and shape:
            found.append(f"{', '.join(shape)} describe a new model, and init names one to continue from")
        if self.method == "lora" and not self.init:
            found.append("method lora needs a model to continue from; give init, or take method full")
        if self.revision and not self.init:
            found.append("revision belongs to init, which was not given")
        return found


class ObjectiveSettings(Settings):
    """What is asked of the model, and how much each part counts."""

    group: ClassVar[str] = "Objectives"

    mask_probability: float = Field(0.15, gt=0, lt=1)
    """Share of the residues that are hidden and predicted."""
    terms_weight: float = Field(20.0, ge=0)
    """Factor of the loss of annotation terms, beside 1 for masked residues."""
    ss8_weight: float = Field(1.0, ge=0)
    """Factor of the loss of 8-state secondary structure."""
    accessibility_weight: float = Field(0.5, ge=0)
    """Factor of the loss of solvent accessibility."""
    labelled_share: float = Field(0.25, gt=0, lt=1)
    """Share of each batch that is drawn from the sequences with residue labels."""
    unannotated_share: float = Field(1.0, ge=0, le=1)
    """Share of the sequences without annotation that take part in an epoch."""


class PretrainingSettings(LoopSettings):
    """How the loop trains."""

    max_steps: int | None = Field(None, gt=0)
    """End after so many optimizer steps even if epochs are left."""


# Fields come in the order of the bases from last to first.
class PretrainConfig(
    MachineSettings, PretrainingSettings, ObjectiveSettings, NetworkSettings, CorpusSettings, Configuration
):
    """What to pretrain on, and how."""

    sections: ClassVar[tuple[type[Settings], ...]] = (
        CorpusSettings,
        NetworkSettings,
        ObjectiveSettings,
        PretrainingSettings,
        MachineSettings,
    )
    command: ClassVar[str] = "pretrain"

    @property
    def model_name(self) -> str:
        """What the model is called: the one that is continued, or the size of the new one."""
        return self.init or f"new-{self.size or 'mini'}"
