"""The one description of a training run: command-line flags, YAML and web form come from here.

Every field's docstring is its help text. Fields left at ``None`` or ``"auto"`` are chosen for the
data and the machine when the run starts, and the choice is printed with its reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from profactory.errors import ConfigError, Problem
from profactory.tasks import TaskKind

Method = Literal["auto", "freeze", "full", "lora"]
Pooling = Literal["mean", "attention", "light-attention", "cls", "max"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
SplitMethod = Literal["auto", "given", "random", "stratified", "homology"]


class TrainConfig(BaseModel):
    """What to train and how."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True)

    # --- data
    sequence_column: str | None = Field(None, json_schema_extra={"group": "Data"})
    """Column with the sequences; found by its name if not given."""
    label_column: list[str] | None = Field(None, json_schema_extra={"group": "Data"})
    """Column with the labels; several for several regression targets."""
    split_column: str | None = Field(None, json_schema_extra={"group": "Data"})
    """Column with train, validation and test; found by its name if not given."""
    task: TaskKind | None = Field(None, json_schema_extra={"group": "Data"})
    """Task; inferred from the labels if not given."""
    split: SplitMethod = Field("auto", json_schema_extra={"group": "Data"})
    """How to divide data that is not divided: auto takes what the data give, else stratified."""
    split_ratios: tuple[float, float, float] = Field((0.8, 0.1, 0.1), json_schema_extra={"group": "Data"})
    """Shares of train, validation and test."""
    split_identity: float = Field(0.3, gt=0, le=1, json_schema_extra={"group": "Data"})
    """Sequence identity above which a homology split keeps two sequences on one side."""
    bad_rows: Literal["error", "drop"] = Field("error", json_schema_extra={"group": "Data"})
    """What to do when rows cannot be used: stop and name them, or drop and list them."""
    limit: int | None = Field(None, gt=0, json_schema_extra={"group": "Data"})
    """Use only the first N rows, for a first try."""
    sample: float | None = Field(None, gt=0, le=1, json_schema_extra={"group": "Data"})
    """Use only this random share of the rows, for a first try."""

    # --- model
    model: str = Field("mini", json_schema_extra={"group": "Model"})
    """Protein language model: a name of `profactory models list`, a Hub id or a folder."""
    revision: str | None = Field(None, json_schema_extra={"group": "Model"})
    """Commit or tag of a Hub model; the catalogue's if not given."""
    trust_remote_code: bool = Field(False, json_schema_extra={"group": "Model"})
    """Run Python code that the model's author put into the repository."""
    method: Method = Field("auto", json_schema_extra={"group": "Model"})
    """freeze trains a head on fixed embeddings, lora small adapters, full every weight."""
    pooling: Pooling = Field("mean", json_schema_extra={"group": "Model"})
    """How residues become one vector (residue tasks: not used)."""
    max_length: int | None = Field(None, gt=0, json_schema_extra={"group": "Model"})
    """Residues used of each sequence; the model's limit if not given."""
    head_hidden: int | None = Field(None, ge=0, json_schema_extra={"group": "Model"})
    """Width of the head's hidden layer; 0 for a linear head; the backbone's width if not given."""
    dropout: float = Field(0.1, ge=0, lt=1, json_schema_extra={"group": "Model"})
    """Dropout in the head."""
    lora_rank: int = Field(8, gt=0, json_schema_extra={"group": "Model"})
    """Rank of the LoRA matrices."""
    lora_alpha: int = Field(16, gt=0, json_schema_extra={"group": "Model"})
    """Scale of the LoRA update, divided by the rank."""
    lora_dropout: float = Field(0.05, ge=0, lt=1, json_schema_extra={"group": "Model"})
    """Dropout in front of the LoRA matrices."""
    lora_target_modules: list[str] | None = Field(None, json_schema_extra={"group": "Model"})
    """Names of the layers to adapt; the family's attention projections if not given."""

    # --- training
    epochs: int | None = Field(None, gt=0, json_schema_extra={"group": "Training"})
    """Passes over the training data at most; early stopping usually ends sooner."""
    batch_size: int | None = Field(None, gt=0, json_schema_extra={"group": "Training"})
    """Sequences per batch."""
    tokens_per_batch: int | None = Field(None, gt=0, json_schema_extra={"group": "Training"})
    """Tokens per batch, padding included; instead of --batch-size."""
    gradient_accumulation_steps: int = Field(1, gt=0, json_schema_extra={"group": "Training"})
    """Batches per optimizer step: the effective batch grows, the memory does not."""
    learning_rate: float | None = Field(None, gt=0, json_schema_extra={"group": "Training"})
    """Peak learning rate."""
    optimizer: Literal["adamw", "adam", "sgd", "adafactor"] = Field(
        "adamw", json_schema_extra={"group": "Training"}
    )
    """Optimizer."""
    weight_decay: float = Field(0.01, ge=0, json_schema_extra={"group": "Training"})
    """Weight decay of matrices; biases and norms have none."""
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "cosine", json_schema_extra={"group": "Training"}
    )
    """Course of the learning rate after the warm-up, counted in optimizer steps."""
    warmup_ratio: float = Field(0.05, ge=0, lt=1, json_schema_extra={"group": "Training"})
    """Share of all optimizer steps in which the learning rate rises."""
    warmup_steps: int | None = Field(None, ge=0, json_schema_extra={"group": "Training"})
    """Optimizer steps of warm-up; instead of --warmup-ratio."""
    max_grad_norm: float = Field(1.0, ge=0, json_schema_extra={"group": "Training"})
    """Clip the gradient to this norm; 0 for no clipping."""
    patience: int | None = Field(None, ge=0, json_schema_extra={"group": "Training"})
    """Stop after this many evaluations without improvement; 0 to never stop early."""
    monitor: str | None = Field(None, json_schema_extra={"group": "Training"})
    """Validation metric that chooses the best epoch: loss or any metric of the task."""
    eval_steps: int | None = Field(None, gt=0, json_schema_extra={"group": "Training"})
    """Evaluate every N optimizer steps instead of after each epoch."""
    precision: Precision = Field("auto", json_schema_extra={"group": "Training"})
    """Number format of the backbone's computation."""
    seed: int = Field(0, ge=0, lt=2**31, json_schema_extra={"group": "Training"})
    """Seed of everything random; the same seed gives the same run."""

    # --- machine
    save_steps: int | None = Field(None, gt=0, json_schema_extra={"group": "Machine"})
    """Write a checkpoint every N optimizer steps as well as by time."""
    save_minutes: float = Field(5.0, gt=0, json_schema_extra={"group": "Machine"})
    """Write a checkpoint at least this often."""
    keep_checkpoints: int = Field(2, gt=0, json_schema_extra={"group": "Machine"})
    """Latest checkpoints to keep beside the best."""
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", json_schema_extra={"group": "Machine"})
    """Where to compute."""
    threads: int | None = Field(None, gt=0, json_schema_extra={"group": "Machine"})
    """Processor threads; the number of physical cores if not given."""

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Make a configuration from plain values, naming everything wrong at once.

        Raises
        ------
        ConfigError
            For unknown names (with the nearest right one), values out of range and options that
            exclude each other.
        """
        try:
            config = cls(**values)
        except ValidationError as error:
            problems = [_problem(item) for item in error.errors()]
            raise _config_error(problems) from None
        config.check()
        return config

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Mapping[str, Any]) -> TrainConfig:
        """Read a YAML file; `overrides` (what was typed) win over it."""
        import yaml

        file = Path(path)
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"The configuration {file} cannot be read: {error.strerror}.") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"The configuration {file} is not valid YAML: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"The configuration {file} is not a list of `name: value` lines.")
        return cls.build({**values, **overrides})

    def check(self) -> None:
        """Refuse options that exclude each other, all of them at once.

        Raises
        ------
        ConfigError
            With one problem per contradiction.
        """
        problems = [Problem(reason) for reason in self._contradictions()]
        if problems:
            raise _config_error(problems)

    def _contradictions(self) -> list[str]:
        found = []
        if self.batch_size and self.tokens_per_batch:
            found.append("batch_size and tokens_per_batch were both given; give one")
        if self.limit and self.sample:
            found.append("limit and sample were both given; give one")
        if self.warmup_steps is not None and "warmup_ratio" in self.model_fields_set:
            found.append("warmup_steps and warmup_ratio were both given; give one")
        if self.lora_target_modules and self.method not in ("auto", "lora"):
            found.append(f"lora_target_modules has no meaning with method {self.method}")
        if any(ratio < 0 for ratio in self.split_ratios) or not 0.999 < sum(self.split_ratios) < 1.001:
            found.append(f"split_ratios must be three shares that add up to 1, not {self.split_ratios}")
        if self.split_ratios[0] <= 0 or self.split_ratios[1] <= 0:
            found.append("split_ratios must leave rows for train and validation")
        if self.precision == "fp16" and self.device == "cpu":
            found.append("precision fp16 needs a GPU; take bf16 or fp32 on a processor")
        return found


def _config_error(problems: list[Problem]) -> ConfigError:
    count = len(problems)
    return ConfigError(
        f"The options cannot be used ({count} problem{'' if count == 1 else 's'}).",
        problems=problems,
        fix="see `profactory train --help`",
    )


def _problem(item: Any) -> Problem:
    """Put one of pydantic's findings into our words."""
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, TrainConfig.model_fields, n=1)
        return Problem(f"no option is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    message = item["msg"][0].lower() + item["msg"][1:]
    return Problem(f"{name}: {message}", value=str(item["input"]))
