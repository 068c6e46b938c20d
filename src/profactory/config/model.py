"""The pre-trained model and what is put on it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from profactory.config.methods import MethodName, misplaced
from profactory.config.settings import Settings

Pooling = Literal["mean", "attention", "light-attention", "cls", "max"]


class ModelSettings(Settings):
    """The pre-trained model and what is put on it."""

    group: ClassVar[str] = "Model"

    model: str = "mini"
    """Protein language model: a name of `profactory models list`, a Hub id or a folder."""
    init: str | None = None
    """Run, or its model folder, to go on from: the whole model with adapter and head; instead of --model."""
    revision: str | None = None
    """Commit or tag of a Hub model; the catalogue's if not given."""
    trust_remote_code: bool = False
    """Run Python code that the model's author put into the repository."""
    method: MethodName = "auto"
    """What is trained: freeze only a head, lora and its kin small adapters as well, full every weight."""
    pooling: Pooling | None = None
    """How residues become one vector; mean if not given. Residue tasks have none."""
    layer: int | Literal["mix"] = -1
    """Layer whose output is used: -1 the last, 0 the embedding; mix for a learned mix of all."""
    max_length: int | None = Field(None, gt=0)
    """Residues used of each sequence; the model's limit if not given."""
    head_hidden: int | None = Field(None, ge=0)
    """Width of the head's hidden layer; 0 for a linear head; the backbone's width if not given."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout in the head."""
    features: list[str] | None = None
    """Physico-chemical numbers beside the pooled embedding: hydrophobicity charge length aaindex …"""
    structure_columns: list[str] | None = None
    """Columns that ses-adapter (SaProt, ProstT5: 3di) reads: 3di=COLUMN ss8=COLUMN; else found by name."""
    gradient_checkpointing: bool = False
    """Compute the backbone twice in each step instead of keeping what is inside: less memory, slower."""
    unfreeze_layers: int = Field(2, gt=0)
    """Layers that the method last-layers trains, counted from the end."""
    lora_rank: int = Field(8, gt=0)
    """Rank of the LoRA matrices (lora, dora; adalora: on average, at the end)."""
    lora_alpha: int = Field(16, gt=0)
    """Scale of the LoRA update, divided by the rank."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout in front of the LoRA matrices."""
    lora_target_modules: list[str] | None = None
    """Names of the layers that an adapter changes; the family's usual ones if not given."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        # Whether the model's tokens hold structure is not known yet; see pipeline/structures.py.
        return misplaced(self.method, self.given, structure_tokens=True)
