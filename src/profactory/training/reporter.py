"""What a training says while it runs: events, status, log. Only the main process speaks."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from profactory.runs import Run
from profactory.training.state import FitSettings, TrainState
from profactory.training.step import StepOutcome
from profactory.training.trackers import Trackers

ROWS = 500  # of the loss curve, about
STEPS_PER_ROW = 50  # at most, so that the curve of a long training moves
STATUS_SECONDS = 2.0

log = logging.getLogger("profactory")


class Reporter:
    """Writes the events and the status of one training.

    Parameters
    ----------
    run
        Where.
    settings, total_steps
        Of the training.
    active
        Whether this is the main process.
    """

    def __init__(self, run: Run, settings: FitSettings, total_steps: int, *, active: bool) -> None:
        self.run, self.settings, self.total_steps, self.active = run, settings, total_steps, active
        # By steps and not by time, so that the rows of a resumed run are those of an uninterrupted one.
        self.steps_per_row = max(1, min(total_steps // ROWS, STEPS_PER_ROW))
        self.trackers = Trackers(settings.report_to if active else (), run.path, asdict(settings))
        self._first_step = 0
        self._started = self._status_at = time.monotonic()

    def begin(self, state: TrainState) -> None:
        """Say that training starts at this state."""
        self._first_step, self._started = state.step, time.monotonic()
        self._write_status(state)

    def emit(self, event: str, **fields: Any) -> None:
        """Write an event."""
        if self.active:
            self.run.emit(event, **fields)
            self.trackers.tell(event, fields)

    def step(self, state: TrainState, outcome: StepOutcome, epoch: int, learning_rate: float) -> None:
        """Write the loss curve's next row if it is due, and the status now and then."""
        if state.step == 1 or state.finished or not state.step % self.steps_per_row:
            self.emit(
                "step",
                step=state.step,
                epoch=epoch,
                loss=state.row.take(),
                learning_rate=learning_rate,
                grad_norm=outcome.gradient_norm if math.isfinite(outcome.gradient_norm) else None,
            )
        if time.monotonic() - self._status_at > STATUS_SECONDS:
            self._write_status(state)

    def evaluation(
        self, state: TrainState, epoch: int, metrics: Mapping[str, float | None], *, improved: bool
    ) -> None:
        """Write an evaluation."""
        train_loss, monitor = state.since_evaluation.take(), self.settings.monitor
        place = {"step": state.step, "epoch": epoch, "train_loss": train_loss}
        self.emit("evaluation", **place, metrics=dict(metrics), improved=improved)
        if self.active:
            value = metrics[monitor]
            log.info(
                "epoch %d, step %d: train loss %.4f, validation %s %s%s",
                epoch,
                state.step,
                math.nan if train_loss is None else train_loss,
                monitor,
                "undefined" if value is None else f"{value:.4f}",
                " (best so far)" if improved else "",
            )

    def stopped(self, state: TrainState, signal: int) -> None:
        """Say that a signal ended the training."""
        self.emit("stopped", step=state.step, signal=signal)
        if self.active:
            self.run.set_status("stopped", signal=signal, eta_seconds=None, **self._position(state))

    def ended(self, state: TrainState) -> None:
        """Say that all steps are done."""
        self.emit("trained", step=state.step, epoch=state.epoch, stopped_early=state.stopped_early)
        self._write_status(state)

    def _write_status(self, state: TrainState) -> None:
        self._status_at = time.monotonic()
        if self.active:
            position = self._position(state)
            self.run.set_status("training", **position, eta_seconds=self._seconds_left(state))

    def _position(self, state: TrainState) -> dict[str, Any]:
        best = {"value": state.best.value, "step": state.best.step} if state.best else None
        return {
            "step": state.step,
            "total_steps": self.total_steps,
            "epoch": state.epoch,
            "epochs": self.settings.epochs,
            "monitor": self.settings.monitor,
            "best": best,
        }

    def _seconds_left(self, state: TrainState) -> float | None:
        done = state.step - self._first_step
        if state.finished or not done:
            return None
        return round((self.total_steps - state.step) * (time.monotonic() - self._started) / done, 1)
