"""How the model is trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from profactory.config.settings import Settings

Precision = Literal["auto", "fp32", "bf16", "fp16"]


#: Value of ``tokens_per_batch`` with which it is measured.
AUTO = "auto"


class LoopSettings(Settings):
    """How the loop trains whatever it trains."""

    group: ClassVar[str] = "Training"

    epochs: int | None = Field(None, gt=0)
    """Passes over the training data at most; early stopping usually ends sooner."""
    batch_size: int | None = Field(None, gt=0)
    """Sequences per batch."""
    tokens_per_batch: int | None = Field(None, gt=0)
    """Tokens per batch, padding included; instead of --batch-size."""
    gradient_accumulation_steps: int = Field(1, gt=0)
    """Batches per optimizer step: the effective batch grows, the memory does not."""
    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate."""
    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = "adamw"
    """Optimizer."""
    weight_decay: float = Field(0.01, ge=0)
    """Weight decay of matrices; biases and norms have none."""
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    """Course of the learning rate after the warm-up, counted in optimizer steps."""
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    """Share of all optimizer steps in which the learning rate rises."""
    warmup_steps: int | None = Field(None, ge=0)
    """Optimizer steps of warm-up; instead of --warmup-ratio."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Clip the gradient to this norm; 0 for no clipping."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """When a loss is no number: stop, or go back to the last checkpoint at half the learning rate."""
    patience: int | None = Field(None, ge=0)
    """Stop after this many evaluations without improvement; 0 to never stop early."""
    eval_steps: int | None = Field(None, gt=0)
    """Evaluate every N optimizer steps instead of after each epoch."""
    precision: Precision = "auto"
    """Number format of the computation; auto is bf16 where it is fast, but fp32 for embeddings on a CPU."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of everything random; the same seed gives the same run."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        found = []
        if self.batch_size and self.tokens_per_batch:
            found.append("batch_size and tokens_per_batch were both given; give one")
        if self.warmup_steps is not None and "warmup_ratio" in self.model_fields_set:
            found.append("warmup_steps and warmup_ratio were both given; give one")
        return found


class TrainingSettings(LoopSettings):
    """How the model is trained."""

    tokens_per_batch: Annotated[int, Field(gt=0)] | Literal["auto"] | None = None  # type: ignore[assignment]
    """Tokens per batch, padding included; instead of --batch-size. auto measures before the first step."""

    seeds: int = Field(1, ge=1, le=100)
    """Train N models (in each fold), with seed, seed + 1, …: one command, one run, one ensemble."""
    head_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of head and pooling, if it shall not be that of the backbone."""
    monitor: str | None = None
    """Validation metric that chooses the best epoch: loss or any metric of the task."""
    label_transform: Literal["none", "standardize", "min-max", "log", "rank"] = "standardize"
    """What regression labels become for training; undone in every prediction and metric."""
    loss: Literal["auto", "cross-entropy", "focal"] = "auto"
    """Loss of a classification: cross-entropy, or focal, which lets easy samples count less."""
    focal_gamma: float = Field(2.0, gt=0)
    """How little easy samples count in the focal loss."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced lets rare classes count as much as frequent ones."""
    augment: list[Literal["mask", "substitute", "crop"]] | None = None
    """Change training sequences a little, anew in every epoch: mask substitute crop; for small sets."""
    augment_rate: float = Field(0.1, gt=0, lt=1)
    """Share of the residues that --augment mask hides, or substitute replaces by similar ones (BLOSUM62)."""
    augment_crop: float = Field(0.8, gt=0, lt=1)
    """Share of each sequence that --augment crop keeps at least."""
    coverage: float = Field(0.9, gt=0, lt=1)
    """Share of new proteins whose truth shall lie in the prediction set or interval."""

    def contradictions(self) -> list[str]:
        """Return what cannot be meant together."""
        found = LoopSettings.contradictions(self)
        if "focal_gamma" in self.model_fields_set and self.loss != "focal":
            found.append(f"focal_gamma has no meaning with loss {self.loss}; add --loss focal")
        kinds = self.augment or []
        if "augment_rate" in self.model_fields_set and not {"mask", "substitute"} & set(kinds):
            found.append("augment_rate is for --augment mask or substitute; add one of them")
        if "augment_crop" in self.model_fields_set and "crop" not in kinds:
            found.append("augment_crop is for --augment crop; add it")
        return found
