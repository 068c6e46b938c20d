"""The training loop: epochs, evaluation, early stopping, checkpoints, events."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from profactory.errors import CheckpointError, ConfigError, Problem, RunExistsError, StoppedError
from profactory.files import fsync_path
from profactory.progress import Progress
from profactory.runs import Run
from profactory.training.batching import Indices, groups
from profactory.training.checkpoint import (
    Checkpoint,
    checkpoint_path,
    list_checkpoints,
    load_checkpoint,
    newest_valid,
    prune_checkpoints,
    save_checkpoint,
)
from profactory.training.distributed import agreed, make_accelerator
from profactory.training.history import rewind_events
from profactory.training.optimizers import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    parameter_groups,
    set_learning_rate,
)
from profactory.training.schedule import learning_rate_factor, warmup_steps
from profactory.training.signals import StopSignals
from profactory.training.state import Best, FitResult, FitSettings, TrainState
from profactory.training.step import BatchSource, StepOutcome, Stepper
from profactory.training.weights import load_trained, shapes, trained_tensors

ROWS = 500  # of the loss curve, about
STEPS_PER_ROW = 50  # at most, so that the curve of a long training moves
STATUS_SECONDS = 2.0

Validate = Callable[[], Mapping[str, float]]

log = logging.getLogger("profactory")


def fit(
    model: nn.Module,
    source: BatchSource,
    validate: Validate,
    run: Run,
    settings: FitSettings,
    *,
    resume: bool = False,
) -> FitResult:
    """Train a model; it ends with its best weights.

    Parameters
    ----------
    model
        ``model(**batch)`` returns the summed loss of a micro-batch. Trained is what has ``requires_grad``.
    source
        Training samples.
    validate
        Computes the validation metrics with the model as it is (in evaluation mode). Called on every process
        (so that it may share the work, see :func:`~profactory.training.distributed.in_shares`); what the main
        process returns counts.
    run
        Where events, status and checkpoints go. The main process must hold its lock.
    settings
        How to train.
    resume
        Go on from the newest intact checkpoint of the run (from the beginning if there is none). The result
        is the same, to the last bit on a CPU, as without the interruption.

    Raises
    ------
    StoppedError
        SIGINT or SIGTERM came; a checkpoint was written.
    NonFiniteError
        A loss or gradient is not finite; the weights were not touched by it.
    CheckpointError
        On resume: the data or the settings are others than those of the interrupted run.
    RunError
        A checkpoint cannot be written (full disk).
    """
    with StopSignals() as signals:
        return _Fit(model, source, validate, run, settings, signals).train(resume)


class _Fit:
    def __init__(
        self,
        model: nn.Module,
        source: BatchSource,
        validate: Validate,
        run: Run,
        settings: FitSettings,
        signals: StopSignals,
    ) -> None:
        self.source, self.validate, self.run, self.settings = source, validate, run, settings
        self.signals = signals
        self.accelerator = make_accelerator(settings.device, settings.precision)
        self.module = model.to(self.accelerator.device)
        parameters = parameter_groups(
            model,
            learning_rate=settings.learning_rate,
            head_learning_rate=settings.head_learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.inner_optimizer = make_optimizer(settings.optimizer, parameters)
        self.group_size = settings.gradient_accumulation * self.accelerator.num_processes
        self.total_steps = self._count_steps()
        self.warmup = warmup_steps(settings.warmup, self.total_steps)
        self.steps_per_row = max(1, min(self.total_steps // ROWS, STEPS_PER_ROW))
        self.state = TrainState()
        self.saved_step: int | None = None
        self.saved_at = self.status_at = self.started = time.monotonic()

    def train(self, resume: bool) -> FitResult:
        """Train to the end, or to a signal."""
        resumed_from = self._begin(resume)
        # Wrapped only now: DDP copies the main process's weights to the others.
        model, optimizer = self.accelerator.prepare(self.module, self.inner_optimizer)
        seed, clip = self.settings.seed, self.settings.max_grad_norm
        stop = self._stop_requested
        self.stepper = Stepper(
            self.accelerator, model, optimizer, self.source, seed=seed, max_grad_norm=clip, stop=stop
        )
        try:
            self._steps(model)
            self._restore_best()
        finally:
            self.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # takes the autocast off again
            self.module.eval()
        seconds = time.monotonic() - self.started
        epochs = self.state.epoch + (self.state.micro_batch > 0)
        return FitResult(
            self.state.step, epochs, self.state.best, self.state.stopped_early, resumed_from, seconds
        )

    # --- where to begin

    def _begin(self, resume: bool) -> int | None:
        if not resume:
            if list_checkpoints(self.run.ckpt_dir):
                raise RunExistsError(
                    f"{self.run.path} has checkpoints of an earlier training.",
                    fix="`profactory resume` to go on, or --overwrite to begin anew",
                )
            return None
        path = agreed(self.accelerator, newest_valid(self.run.ckpt_dir) if self._is_main else None)
        if path is not None:
            self._restore(load_checkpoint(path))
            log.info("Going on from %s (step %d of %d).", path.name, self.state.step, self.total_steps)
        if self._is_main:
            rewind_events(self.run.path / "events.jsonl", self.state.step)
            self.run.emit("resumed", from_step=self.state.step, checkpoint=path.name if path else None)
        return self.state.step if path else None

    def _restore(self, checkpoint: Checkpoint) -> None:
        self._same_training(checkpoint)
        self.state = TrainState.from_dict(checkpoint.state["train"])
        self.saved_step = self.state.step
        load_trained(self.module, checkpoint.tensors["model"])
        load_optimizer_tensors(self.module, self.inner_optimizer, checkpoint.tensors["optimizer"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(self.state.scaler)
        torch.set_rng_state(checkpoint.tensors["rng"]["cpu"])

    def _same_training(self, checkpoint: Checkpoint) -> None:
        """Refuse to go on with other data or settings: the result would be neither the one nor the other."""
        before, now = checkpoint.state["contract"], self._contract()
        changed = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        if changed:
            problems = [
                Problem(f"was {before.get(name)!r}, is {now.get(name)!r}", column=name) for name in changed
            ]
            raise CheckpointError(
                f"{checkpoint.path} belongs to another training: {', '.join(changed)} changed.",
                expected="the data and settings with which the run was started",
                fix="start a new run with `profactory train`",
                problems=problems,
            )

    def _contract(self) -> dict[str, Any]:
        plan = hashlib.sha256()
        for batch in self.source.plan(0):
            plan.update(batch.tobytes() + b"|")
        settings = self.settings.trajectory()
        settings["gradient_accumulation"] = self.group_size  # of all processes: their number may change
        data = {"samples": len(self.source), "batches": plan.hexdigest()}
        return {**settings, **data, "parameters": shapes(self.module)}

    def _count_steps(self) -> int:
        """Count the optimizer steps of the whole training: exact, as the number of batches varies."""
        total, limit = 0, self.settings.max_steps or math.inf
        for epoch in range(self.settings.epochs):
            total += math.ceil(len(self.source.plan(epoch)) / self.group_size)
            if total >= limit:
                return int(limit)
        if not total:
            raise ConfigError("There is nothing to train on.", expected="at least one sample")
        return total

    # --- the steps

    def _steps(self, model: nn.Module) -> None:
        model.train()
        self._report_status()
        with Progress("training", self.total_steps - self.state.step, unit="steps") as progress:
            for group, last_of_epoch in self._remaining():
                outcome = self._one_step(group)
                if outcome is not None:
                    self._after_step(group, last_of_epoch, outcome, model)
                    progress.advance()
                if outcome is None or outcome.stop:
                    self._stop_now()
                if self.state.finished:
                    return

    def _remaining(self) -> Iterator[tuple[Sequence[Indices], bool]]:
        """Yield the micro-batches of each optimizer step to come, and whether it is its epoch's last."""
        while self.state.epoch < self.settings.epochs and not self.state.finished:
            todo = groups(self.source.plan(self.state.epoch)[self.state.micro_batch :], self.group_size)
            for index, group in enumerate(todo):
                yield group, index == len(todo) - 1

    def _one_step(self, group: Sequence[Indices]) -> StepOutcome | None:
        state, kind = self.state, self.settings.schedule
        factor = learning_rate_factor(state.step, self.total_steps, warmup=self.warmup, kind=kind)
        self.learning_rate = set_learning_rate(self.inner_optimizer, factor)
        return self.stepper.run(group, step=state.step + 1, epoch=state.epoch, first=state.micro_batch)

    def _after_step(
        self, group: Sequence[Indices], last_of_epoch: bool, outcome: StepOutcome, model: nn.Module
    ) -> None:
        state, epoch = self.state, self.state.epoch + 1
        state.step += 1
        state.micro_batch += len(group)
        if last_of_epoch:
            state.epoch, state.micro_batch = epoch, 0
        state.row.add(outcome.loss, outcome.weight)
        state.since_evaluation.add(outcome.loss, outcome.weight)
        state.finished = state.step >= self.total_steps
        self._row(outcome, epoch)
        improved = False
        if self._evaluation_due(last_of_epoch):
            improved = self._evaluate(epoch, model)
        if improved or state.finished or self._checkpoint_due():
            self._save()
        if time.monotonic() - self.status_at > STATUS_SECONDS:
            self._report_status()

    def _row(self, outcome: StepOutcome, epoch: int) -> None:
        state = self.state
        if state.step % self.steps_per_row and not state.finished and state.step > 1:
            return
        loss, rate, norm = state.row.take(), self.learning_rate, outcome.gradient_norm
        self._emit("step", step=state.step, epoch=epoch, loss=loss, learning_rate=rate, grad_norm=norm)

    # --- evaluation

    def _evaluation_due(self, last_of_epoch: bool) -> bool:
        if self.state.finished:
            return True
        if self.settings.eval_steps:
            return self.state.step % self.settings.eval_steps == 0
        return last_of_epoch and self.state.epoch % self.settings.eval_epochs == 0

    def _evaluate(self, epoch: int, model: nn.Module) -> bool:
        """Evaluate, note whether it is the best so far and whether patience has run out."""
        model.eval()
        with torch.no_grad():
            metrics = agreed(self.accelerator, dict(self.validate()))
        model.train()
        state, value = self.state, self._monitored(metrics)
        improved = math.isfinite(value) and (state.best is None or self._is_better(value, state.best.value))
        plain = {name: float(v) if math.isfinite(v) else None for name, v in metrics.items()}
        if improved:
            state.best, state.bad_evaluations = Best(value, state.step, epoch, plain), 0
        else:
            state.bad_evaluations += 1
        if self.settings.patience and state.bad_evaluations >= self.settings.patience:
            state.stopped_early = not state.finished
            state.finished = True
        train_loss = state.since_evaluation.take()
        place = {"step": state.step, "epoch": epoch}
        self._emit("evaluation", **place, train_loss=train_loss, metrics=plain, improved=improved)
        if self._is_main:
            shown = f"epoch {epoch}, step {state.step}: train loss {train_loss or 0.0:.4f}"
            log.info("%s, %s %.4f%s", shown, self.settings.monitor, value, " (best)" if improved else "")
        return improved

    def _monitored(self, metrics: Mapping[str, float]) -> float:
        if self.settings.monitor not in metrics:
            raise ConfigError(
                f"There is no validation metric {self.settings.monitor!r} to choose the best epoch by.",
                expected=", ".join(sorted(metrics)),
                fix="--monitor with one of these",
            )
        return float(metrics[self.settings.monitor])

    def _is_better(self, value: float, best: float) -> bool:
        return value > best if self.settings.mode == "max" else value < best

    # --- checkpoints and the end

    def _checkpoint_due(self) -> bool:
        by_step = self.settings.save_steps and self.state.step % self.settings.save_steps == 0
        minutes = self.settings.save_minutes
        return bool(by_step) or (minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes)

    def _save(self) -> None:
        """Write a checkpoint of this very step, announce it, remove older ones."""
        self.saved_at = time.monotonic()
        if not self._is_main or self.saved_step == self.state.step:
            return
        if self.accelerator.scaler is not None:
            self.state.scaler = self.accelerator.scaler.state_dict()
        # On the disk before the checkpoint is: else a power cut could lose rows that are never written again.
        fsync_path(self.run.path / "events.jsonl")
        tensors: dict[str, dict[str, Tensor]] = {
            "model": trained_tensors(self.module),
            "optimizer": optimizer_tensors(self.module, self.inner_optimizer),
            "rng": {"cpu": torch.get_rng_state()},
        }
        state = {"train": self.state.to_dict(), "contract": self._contract()}
        path = save_checkpoint(self.run.ckpt_dir, self.state.step, tensors, state)
        self.saved_step = self.state.step
        self._emit("checkpoint", step=self.state.step, path=path.name)
        best = self.state.best.step if self.state.best else None
        prune_checkpoints(self.run.ckpt_dir, keep=self.settings.keep_checkpoints, best=best)

    def _stop_requested(self) -> bool:
        return self.signals.received is not None

    def _stop_now(self) -> None:
        """Write a checkpoint of the last whole step and leave."""
        self._save()
        number = self.signals.received or 15
        if self._is_main:
            self._emit("stopped", step=self.state.step, signal=number)
            self.run.set_status("stopped", signal=number, **self._position())
        raise StoppedError(
            f"Stopped by signal {number} after optimizer step {self.state.step:,} of {self.total_steps:,}; "
            "a checkpoint was written.",
            signal=number,
            fix=f"profactory resume {self.run.path}",
        )

    def _restore_best(self) -> None:
        """Give the model the weights of the best evaluation."""
        best = self.state.best
        if best is None:
            log.warning("%s was never defined: the last weights are kept.", self.settings.monitor)
        elif best.step != self.state.step:
            try:
                checkpoint = load_checkpoint(checkpoint_path(self.run.ckpt_dir, best.step))
            except CheckpointError as error:
                log.warning("The best weights (step %d) are lost; the last are kept. %s", best.step, error)
                return
            load_trained(self.module, checkpoint.tensors["model"])

    # --- saying what happens

    @property
    def _is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    def _emit(self, event: str, **fields: Any) -> None:
        if self._is_main:
            self.run.emit(event, **fields)

    def _position(self) -> dict[str, Any]:
        state = self.state
        best = {"value": state.best.value, "step": state.best.step} if state.best else None
        place = {"step": state.step, "total_steps": self.total_steps, "epoch": state.epoch}
        return {**place, "epochs": self.settings.epochs, "monitor": self.settings.monitor, "best": best}

    def _report_status(self) -> None:
        self.status_at = time.monotonic()
        if not self._is_main:
            return
        done = self.state.step - (self.resumed_step if hasattr(self, "resumed_step") else 0)
        elapsed = self.status_at - self.started
        left = (self.total_steps - self.state.step) * elapsed / done if done else None
        self.run.set_status("training", **self._position(), eta_seconds=left and round(left, 1))
