"""The training loop: epochs, evaluation, early stopping."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import nn

from profactory.data.batching import Indices, groups
from profactory.errors import ConfigError, NonFiniteError, RunExistsError, StoppedError
from profactory.progress import Progress
from profactory.runs import Run
from profactory.training.batch_source import BatchSource, FollowsSteps
from profactory.training.checkpoint import checkpoint_path, list_checkpoints
from profactory.training.distributed import agreed, make_accelerator, take_off_wrappers
from profactory.training.history import rewind_events
from profactory.training.keeper import Keeper
from profactory.training.optimizers import make_optimizer, parameter_groups, set_learning_rate
from profactory.training.reporter import Reporter
from profactory.training.schedule import learning_rate_factor, warmup_steps
from profactory.training.sharding import Shards, sharding_wanted
from profactory.training.signals import StopSignals
from profactory.training.state import Best, FitResult, FitSettings, TrainState
from profactory.training.step import StepOutcome, Stepper

Validate = Callable[[], Mapping[str, float]]

#: After a loss that is no number: so often at most it goes back, each time with the rate times the factor.
MOST_ROLLBACKS, ROLLBACK_FACTOR = 3, 0.5

log = logging.getLogger("profactory")


def fit(
    model: nn.Module,
    source: BatchSource,
    validate: Validate,
    run: Run,
    settings: FitSettings,
    *,
    resume: bool = False,
    force: bool = False,
) -> FitResult:
    """Train a model; it ends with its best weights, in evaluation mode.

    Parameters
    ----------
    model
        ``model(**batch)`` returns the summed loss of a micro-batch. Trained is what has ``requires_grad``.
        One that is a :class:`~profactory.training.batch_source.FollowsSteps` is told of every step.
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
    force
        Go on although data or settings are not those of the interrupted run, and say what differs.

    Raises
    ------
    StoppedError
        SIGINT or SIGTERM came; a checkpoint was written.
    NonFiniteError
        A loss or gradient is not finite; the weights were not touched by it. With ``on_nan="rollback"`` only
        when going back has not helped.
    CheckpointError
        On resume: the data or the settings are others than those of the interrupted run.
    RunError
        A checkpoint cannot be written (full disk).
    """
    with StopSignals() as signals:
        return _Fit(model, source, validate, run, settings, signals).train(resume=resume, force=force)


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
        sharded = sharding_wanted(self.accelerator.num_processes)
        self.shards = Shards(model, self.accelerator.device) if sharded else None
        self.module = model if sharded else model.to(self.accelerator.device)
        self.optimizer = make_optimizer(
            settings.optimizer,
            parameter_groups(
                model,
                learning_rate=settings.learning_rate,
                head_learning_rate=settings.head_learning_rate,
                weight_decay=settings.weight_decay,
            ),
        )
        self.group_size = settings.gradient_accumulation * self.accelerator.num_processes
        self.total_steps = count_steps(source, settings, self.group_size)
        self.warmup = warmup_steps(settings.warmup, self.total_steps)
        self.follower = model if isinstance(model, FollowsSteps) else None
        if self.follower:
            self.follower.plan_steps(self.total_steps)
        parts = (self.accelerator, self.module, self.optimizer, source, settings, run)
        self.keeper = Keeper(*parts, sharded=sharded)
        self.report = Reporter(run, settings, self.total_steps, active=self.accelerator.is_main_process)
        self.state = TrainState()

    def train(self, *, resume: bool, force: bool) -> FitResult:
        """Train to the end, or to a signal."""
        started = time.monotonic()
        if not resume:
            self._refuse_used_run()
        resumed_from = self._resume(force) if resume else None
        # Wrapped only now, with the weights in place: DDP copies the main process's to the others.
        model = self.accelerator.prepare_model(self.module, evaluation_mode=self.shards is not None)
        optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.stepper = Stepper(
            self.accelerator,
            model,
            optimizer,
            self.source,
            seed=self.settings.seed,
            max_grad_norm=self.settings.max_grad_norm,
            stop=lambda: self.signals.received is not None,
            after_step=self.follower.after_step if self.follower else None,
        )
        self.stepper.pieces = self.state.pieces
        try:
            self._steps()
            self.keeper.restore_best(self.state)
            if self.shards is not None:
                self.shards.gather()
            self.report.ended(self.state)
        finally:
            self.report.trackers.close()
            take_off_wrappers(self.accelerator, model)
            self.module.eval()
        state, seconds = self.state, time.monotonic() - started
        epochs = state.epoch + (state.micro_batch > 0)
        return FitResult(state.step, epochs, state.best, state.stopped_early, resumed_from, seconds)

    def _refuse_used_run(self) -> None:
        if list_checkpoints(self.run.ckpt_dir):
            raise RunExistsError(
                f"{self.run.path} has checkpoints of an earlier training.",
                fix="`profactory resume` to go on, or --overwrite to begin anew",
            )

    def _resume(self, force: bool) -> int | None:
        """Put the newest checkpoint's state in place; return its step."""
        state = self.keeper.restore_newest(force=force)
        self.state = state or self.state
        if self.accelerator.is_main_process:
            self._rewind()
        self.report.emit("resumed", from_step=self.state.step)
        where = checkpoint_path(self.run.ckpt_dir, state.step) if state else "the beginning"
        log.info("Going on from %s, after optimizer step %d of %d.", where, self.state.step, self.total_steps)
        return state.step if state else None

    def _steps(self) -> None:
        self.module.train()
        self.report.begin(self.state)
        if self.settings.on_nan == "rollback" and not self.state.step:
            self.keeper.save(self.state)  # there is always something to go back to
        with Progress("training", self.total_steps - self.state.step, unit="steps") as progress:
            while not self.state.finished:
                try:
                    self._steps_until_trouble(progress)
                except NonFiniteError as error:
                    self._go_back(error)

    def _steps_until_trouble(self, progress: Progress) -> None:
        for group, last_of_epoch in self._remaining():
            outcome = self._one_step(group)
            if outcome is not None:
                self._after_step(group, last_of_epoch, outcome)
                progress.advance()
            if outcome is None or outcome.stop:
                self._stop()

    def _go_back(self, error: NonFiniteError) -> None:
        """Return to the last checkpoint and go on with a lower learning rate, if that is wanted and new."""
        failed, count = self.state.step + 1, self.state.rollbacks + 1
        if self.settings.on_nan != "rollback" or count > MOST_ROLLBACKS:
            raise error
        log.warning("%s", error.found)
        state = self.keeper.restore_newest()
        if state is None:
            raise error
        self.state = state
        self.state.rollbacks = count
        if self.accelerator.is_main_process:
            self._rewind()
        factor = ROLLBACK_FACTOR**count
        self.report.emit("rollback", step=failed, to_step=state.step, count=count, factor=factor)
        log.warning(
            "Back to step %d with %g times the learning rate (time %d of at most %d).",
            *(state.step, factor, count, MOST_ROLLBACKS),
        )

    def _rewind(self) -> None:
        """Remove the rows of steps that will be done again."""
        state = self.state
        rewind_events(self.run.path / "events.jsonl", state.step, rollbacks=state.rollbacks)

    def _remaining(self) -> Iterator[tuple[Sequence[Indices], bool]]:
        """Yield the micro-batches of each optimizer step to come, and whether it is its epoch's last."""
        while not self.state.finished:
            batches = self.source.plan(self.state.epoch)[self.state.micro_batch :]
            todo = groups(batches, self.group_size)
            for index, group in enumerate(todo):
                if not self.state.finished:  # the one before may have been the last
                    yield group, index == len(todo) - 1

    def _one_step(self, group: Sequence[Indices]) -> StepOutcome | None:
        state, kind = self.state, self.settings.schedule
        factor = learning_rate_factor(state.step, self.total_steps, warmup=self.warmup, kind=kind)
        factor *= ROLLBACK_FACTOR**state.rollbacks
        self.learning_rate = set_learning_rate(self.optimizer, factor)
        return self.stepper.run(group, step=state.step + 1, epoch=state.epoch, first=state.micro_batch)

    def _after_step(self, group: Sequence[Indices], last_of_epoch: bool, outcome: StepOutcome) -> None:
        """Count the step, write its row, evaluate and save if it is time."""
        state, epoch = self.state, self.state.epoch + 1
        state.step += 1
        state.micro_batch += len(group)
        if last_of_epoch:
            state.epoch, state.micro_batch = epoch, 0
        if state.pieces != self.stepper.pieces:
            state.pieces = self.stepper.pieces
            self.report.emit("memory", step=state.step, pieces=state.pieces)
        state.row.add(outcome.loss, outcome.weight)
        state.since_evaluation.add(outcome.loss, outcome.weight)
        state.finished = state.step >= self.total_steps
        self.report.step(state, outcome, epoch, self.learning_rate)
        improved = self._evaluation_due(last_of_epoch) and self._evaluate(epoch)
        if improved or state.finished or self.keeper.due(state.step):
            self.keeper.save(state)

    def _evaluation_due(self, last_of_epoch: bool) -> bool:
        if self.state.finished:
            return True
        if self.settings.eval_steps:
            return self.state.step % self.settings.eval_steps == 0
        return last_of_epoch and self.state.epoch % self.settings.eval_epochs == 0

    def _evaluate(self, epoch: int) -> bool:
        """Evaluate; note whether it is the best so far and whether patience has run out."""
        self.module.eval()
        with torch.no_grad():
            metrics = agreed(self.accelerator, dict(self.validate()))
        self.module.train()
        state, value = self.state, self._monitored(metrics)
        plain = {name: float(v) if math.isfinite(v) else None for name, v in metrics.items()}
        improved = self._is_best(value)
        if improved:
            state.best, state.bad_evaluations = Best(value, state.step, epoch, plain), 0
        else:
            state.bad_evaluations += 1
        if 0 < self.settings.patience <= state.bad_evaluations and not state.finished:
            state.finished = state.stopped_early = True
        self.report.evaluation(state, epoch, plain, improved=improved)
        return improved

    def _monitored(self, metrics: Mapping[str, float]) -> float:
        if self.settings.monitor not in metrics:
            raise ConfigError(
                f"There is no validation metric {self.settings.monitor!r} to choose the best epoch by.",
                expected=", ".join(sorted(metrics)),
                fix="--monitor with one of these",
            )
        return float(metrics[self.settings.monitor])

    def _is_best(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        best = self.state.best
        return best is None or (value > best.value if self.settings.mode == "max" else value < best.value)

    def _stop(self) -> None:
        """Write a checkpoint of the last whole step and leave."""
        self.keeper.save(self.state)
        number = self.signals.received or 15  # another process of the run may have got the signal
        self.report.stopped(self.state, number)
        raise StoppedError(
            f"Stopped by signal {number} after optimizer step {self.state.step:,} of {self.total_steps:,}; "
            "a checkpoint was written.",
            signal=number,
            fix=f"profactory resume {self.run.path}",
        )


def count_steps(source: BatchSource, settings: FitSettings, group_size: int) -> int:
    """Count the optimizer steps of a whole training; exact, though epochs may differ in micro-batches.

    Raises
    ------
    ConfigError
        There is no sample.
    """
    if not len(source):
        raise ConfigError("There is nothing to train on.", expected="at least one training sample")
    total, limit = 0, settings.max_steps
    for epoch in range(settings.epochs):
        total += math.ceil(len(source.plan(epoch)) / group_size)
        if limit is not None and total >= limit:
            return limit
    return total
