"""What a run minimises: labels as the loss sees them, and what makes some of them count more."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from profactory.models.protein_model import ProteinModel
from profactory.pipeline.preparation import Job
from profactory.tasks import Task, Values
from profactory.training.imbalance import balanced_weights, imbalance
from profactory.training.loss_model import LossModel, loss_of_outputs

log = logging.getLogger("profactory")

UNEVEN = 5  # times that the largest class is larger than the smallest from which it is worth a word


@dataclass(frozen=True)
class Objective:
    """The loss of a run.

    Parameters
    ----------
    targets
        The training labels as they are; :attr:`learnt` as the loss sees them.
    class_weights, focal_gamma
        See :func:`profactory.training.losses.loss_sum`.
    scaling
        What counts errors of a regression: ``standardize`` their standard deviation, ``min-max`` their range,
        ``none`` their own unit.
    """

    task: Task
    targets: Values
    class_weights: NDArray[np.float64] | None
    focal_gamma: float
    scaling: str

    @property
    def learnt(self) -> Values:
        """The training labels as the loss sees them."""
        return self.task.transformed(self.targets)

    def module(self, model: ProteinModel) -> LossModel:
        """Return the model with its loss."""
        return LossModel(model, class_weights=self.class_weights, focal_gamma=self.focal_gamma)

    def loss(self, model: ProteinModel, outputs: Values, targets: Values) -> float:
        """Return the mean loss of outputs for labels, both in the unit of the table."""
        return loss_of_outputs(
            self.task.kind,
            self.task.transformed(outputs),
            self.task.transformed(targets),
            None if self.task.is_classification else model.output_scale.cpu().numpy(),
            class_weights=self.class_weights,
            focal_gamma=self.focal_gamma,
        )

    def scale_outputs(self, model: ProteinModel) -> None:
        """Let a regression start at the middle of the labels and count errors in their spread."""
        if self.task.is_classification or self.scaling == "none":
            return
        columns = self.learnt.values.reshape(-1, self.task.n_outputs)
        if self.scaling == "min-max":
            shift = np.nanmin(columns, axis=0)
            spread = np.nanmax(columns, axis=0) - shift
        else:
            shift, spread = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
        model.scale_outputs(
            torch.from_numpy(shift.astype(np.float32)), torch.from_numpy(spread.astype(np.float32))
        )


def make_objective(job: Job) -> Objective:
    """Return the loss of a job."""
    config, targets = job.config, job.targets("train")
    weights = balanced_weights(job.task, targets) if config.class_weights == "balanced" else None
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    scaling = config.label_transform if config.label_transform in ("none", "min-max") else "standardize"
    return Objective(job.task, targets, weights, gamma, scaling)


def announce_balance(job: Job) -> None:
    """Say how uneven the classes are and what is done about it."""
    if not job.task.is_classification:
        return
    times, clause = imbalance(job.task, job.targets("train"))
    if times < UNEVEN:
        return
    weights, loss = job.config.class_weights, job.config.loss
    if weights == "none" and loss != "focal":
        clause += "; --class-weights balanced or --loss focal would let rare ones count more"
    log.info("  class_weights = %s, loss = %s (classes are uneven: %s)", weights, loss, clause)
