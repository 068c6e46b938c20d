"""Puts a training's whole state into checkpoints and back."""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from profactory.errors import CheckpointError, Problem
from profactory.files import fsync_path
from profactory.runs import Run
from profactory.runs.layout import gone
from profactory.training.batch_source import BatchSource
from profactory.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    load_checkpoint,
    newest_valid,
    prune_checkpoints,
    save_checkpoint,
)
from profactory.training.distributed import agreed
from profactory.training.optimizers import load_optimizer_tensors, optimizer_tensors
from profactory.training.sharding import whole
from profactory.training.state import FitSettings, TrainState
from profactory.training.weights import load_trained, shapes, trained_tensors

log = logging.getLogger("profactory")


class Keeper:
    """Writes and reads the checkpoints of one training.

    Parameters
    ----------
    accelerator
        Of the training; only its main process writes.
    module, optimizer
        Not wrapped by accelerate.
    source, settings
        What a resumed training must have in common with the interrupted one.
    run
        Where the checkpoints are.
    sharded
        Whether the processes hold parts of the model, so that all are needed for a checkpoint.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        source: BatchSource,
        settings: FitSettings,
        run: Run,
        *,
        sharded: bool = False,
    ) -> None:
        self.accelerator, self.module, self.optimizer = accelerator, module, optimizer
        self.settings, self.run, self.sharded = settings, run, sharded
        self._contract = contract(source, module, settings, accelerator.num_processes)
        self._saved_step: int | None = None
        self._saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether the settings ask for a checkpoint now."""
        by_step = self.settings.save_steps and step % self.settings.save_steps == 0
        minutes = self.settings.save_minutes
        by_time = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return bool(by_step) or (agreed(self.accelerator, by_time) if self.sharded else by_time)

    def save(self, state: TrainState) -> None:
        """Write a checkpoint of this very step, announce it, then remove older ones."""
        self._saved_at = time.monotonic()
        if self._saved_step == state.step:
            return
        tensors, self._saved_step = self._tensors(), state.step
        if not self.accelerator.is_main_process:
            return
        if not self.run.path.is_dir():
            raise gone(self.run.path)
        # On the disk before the checkpoint is: else a power cut could lose rows that are never written again.
        if (events := self.run.path / "events.jsonl").exists():
            fsync_path(events)
        if self.accelerator.scaler is not None:
            state.scaler = self.accelerator.scaler.state_dict()
        content = {"train": state.to_dict(), "contract": self._contract}
        path = save_checkpoint(self.run.ckpt_dir, state.step, tensors, content)
        self.run.emit("checkpoint", step=state.step, path=path.name)
        best = state.best.step if state.best else None
        prune_checkpoints(self.run.ckpt_dir, keep=self.settings.keep_checkpoints, best=best)

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return what is saved; of a sharded model each process gives its part, and the main one has all."""
        groups = {
            "model": trained_tensors(self.module),
            "optimizer": optimizer_tensors(self.module, self.optimizer),
            "rng": {"cpu": torch.get_rng_state()},
        }
        is_main, found = self.accelerator.is_main_process, {}
        for stem, group in groups.items():
            one_by_one = ((name, whole(tensor.detach())) for name, tensor in group.items())
            found[stem] = {name: tensor.cpu() for name, tensor in one_by_one if is_main}
        return found

    def restore_newest(self, *, force: bool = False) -> TrainState | None:
        """Put back the newest intact checkpoint; None if there is none.

        Parameters
        ----------
        force
            Use one that was written with other data or settings, too, and say what differs.

        Raises
        ------
        CheckpointError
            It was written with other data or settings.
        """
        is_main = self.accelerator.is_main_process
        path = agreed(self.accelerator, newest_valid(self.run.ckpt_dir) if is_main else None)
        if path is None:
            log.warning(
                "There is no intact checkpoint in %s: starting from the beginning.", self.run.ckpt_dir
            )
            return None
        checkpoint = load_checkpoint(path)
        self._refuse_another(checkpoint, force)
        state = TrainState.from_dict(checkpoint.state["train"])
        load_trained(self.module, checkpoint.tensors["model"])
        load_optimizer_tensors(self.module, self.optimizer, checkpoint.tensors["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        torch.set_rng_state(checkpoint.tensors["rng"]["cpu"])
        self._saved_step = state.step
        return state

    def restore_best(self, state: TrainState) -> None:
        """Give the model the weights of the best evaluation."""
        if state.best is None:
            log.warning("%s was never defined: the last weights are kept.", self.settings.monitor)
        elif state.best.step != state.step:
            try:
                checkpoint = load_checkpoint(checkpoint_path(self.run.ckpt_dir, state.best.step))
            except CheckpointError as error:
                log.warning("The weights of the best step are lost and the last are kept. %s", error)
                return
            load_trained(self.module, checkpoint.tensors["model"])

    def _refuse_another(self, checkpoint: Checkpoint, force: bool) -> None:
        """Refuse to go on with other data or settings: the result would be neither the one nor the other."""
        before, now = checkpoint.state["contract"], self._contract
        changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        problems = [
            Problem(f"was {before.get(name)!r}, is {now.get(name)!r}", column=name) for name in changed
        ]
        if force:
            for problem in problems:
                log.warning("Going on although %s", problem)
        elif changed:
            raise CheckpointError(
                f"{checkpoint.path} belongs to another training: {', '.join(changed)} changed.",
                expected="the data and settings with which the run was started",
                fix="start a new run with `profactory train`",
                problems=problems,
            )


def contract(source: BatchSource, module: nn.Module, settings: FitSettings, processes: int) -> dict[str, Any]:
    """Return all that decides the course of a training, as JSON."""
    plan = hashlib.sha256()
    for batch in source.plan(0):
        plan.update(batch.tobytes() + b"|")
    weights = shapes(module)
    asked = settings.trajectory()
    # Micro-batches per step, of all processes together: their number may change if the product does not.
    asked["gradient_accumulation"] = settings.gradient_accumulation * processes
    return {
        **asked,
        "samples": len(source),
        "batches": plan.hexdigest(),
        "parameters": {name: weights[name] for name in sorted(weights)},
    }
