"""What the run does to the machine: checkpoints, device, threads."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from profactory.config.settings import Settings


class MachineSettings(Settings):
    """What the run does to the machine: checkpoints, device, threads."""

    group: ClassVar[str] = "Machine"

    save_steps: int | None = Field(None, gt=0)
    """Write a checkpoint every N optimizer steps as well as by time."""
    save_minutes: float = Field(5.0, gt=0)
    """Write a checkpoint at least this often."""
    keep_checkpoints: int = Field(2, gt=0)
    """Latest checkpoints to keep beside the best."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    report_to: list[Literal["tensorboard", "wandb", "trackio", "mlflow"]] | None = None
    """Trackers that are told what is measured, beside events.jsonl."""
    threads: int | None = Field(None, gt=0)
    """Processor threads; the number of physical cores if not given."""
