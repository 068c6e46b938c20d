"""Several trainings on one table: which rows each of them learns from, chooses by and is tested on.

With folds, a test set that the data bring stays the test set of all, and each fold is the validation set
once. Without one, each fold is the test set once and the next fold the validation set, so that every row is
predicted by models that never saw it. With seeds alone the rows are divided once, as for a single training.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from profactory.config import TrainConfig
from profactory.data.splitting import Division, folds
from profactory.errors import ConfigError
from profactory.files import sha256_bytes
from profactory.pipeline.choices import Choices
from profactory.pipeline.labels import fit_transform
from profactory.pipeline.preparation import Job

log = logging.getLogger("profactory")

Ints = NDArray[np.int64]
OWN = ("folds", "fold_split", "seeds")  # settings of the whole, not of a member


@dataclass(frozen=True)
class Member:
    """One training among several.

    Parameters
    ----------
    name
        Of its folder: ``fold-2-seed-0``, or ``seed-1`` without folds.
    fold
        Number of its fold from 1; 0 without folds.
    seed
        Of its weights and batches.
    job
        The training, ready to start.
    """

    name: str
    fold: int
    seed: int
    job: Job


@dataclass(frozen=True)
class Plan:
    """All trainings, and what they have in common.

    Parameters
    ----------
    job
        The data as a whole; its test rows are those of all members, if they have the same.
    members
        The trainings, fold by fold.
    folds
        Number of folds; 0 without.
    own_test
        Whether each fold is a test set of its own.
    """

    job: Job
    members: list[Member]
    folds: int
    own_test: bool

    @property
    def held_out(self) -> float:
        """Rows held out in a fold by rows trained on; 0 without folds."""
        return 1 / (self.folds - 2 if self.own_test else self.folds - 1) if self.folds else 0.0

    @property
    def groups(self) -> list[int]:
        """The fold of each member; with seeds alone a number of its own for each."""
        return [member.fold or i for i, member in enumerate(self.members)]

    def with_choices(self, choices: Choices) -> Plan:
        """Return the plan with other choices, the same for all."""
        members = [replace(m, job=replace(m.job, choices=choices)) for m in self.members]
        return replace(self, job=replace(self.job, choices=choices), members=members)

    def sentence(self) -> str:
        """Say what is trained."""
        seeds = len({member.seed for member in self.members})
        parts = [f"{self.folds} folds"] * bool(self.folds) + [f"{seeds} seeds"] * (seeds > 1)
        return f"{len(self.members)} models are trained: {' x '.join(parts)}."


def plan_members(job: Job) -> Plan | None:
    """Return what a configuration with folds or seeds asks for; None without.

    Raises
    ------
    SplitError
        There are fewer separate groups of rows than folds.
    ConfigError
        Two folds, and no test set beside them.
    """
    config = job.config
    seeds = range(config.seed, config.seed + config.seeds)
    if not config.folds:
        if config.seeds == 1:
            return None
        members = [Member(f"seed-{seed}", 0, seed, _with(job, job.division, seed)) for seed in seeds]
        return Plan(job, members, 0, own_test=False)
    test = job.rows("test") if job.division.method == "given" else np.empty(0, np.int64)
    own_test = not len(test)
    if own_test and config.folds < 3:
        raise ConfigError(
            "With 2 folds nothing is left to train on: one is the test set, the other the validation set.",
            expected="at least 3 folds, or data with a test set of their own",
            fix="--folds 5",
        )
    parts = _divide(job, np.setdiff1d(np.arange(len(job.dataset)), test))
    divisions = [_division(job, parts, fold, own_test) for fold in range(config.folds)]
    members = [
        Member(f"fold-{fold + 1}-seed-{seed}", fold + 1, seed, _with(job, division, seed))
        for fold, division in enumerate(divisions)
        for seed in seeds
    ]
    return Plan(replace(job, division=_whole(job, parts, own_test)), members, config.folds, own_test)


def _divide(job: Job, rows: Ints) -> Ints:
    """Return the fold of every row from 0; -1 for rows of the test set."""
    config = job.config
    parts = np.full(len(job.dataset), -1, np.int64)
    parts[rows] = folds(
        job.dataset.select(rows),
        job.task,
        config.folds or 0,
        method=config.fold_split,
        seed=config.seed,
        identity=config.split_identity,
        threads=job.choices.threads,
    )
    return parts


def _division(job: Job, parts: Ints, fold: int, own_test: bool) -> Division:
    count = int(parts.max()) + 1
    validation = (fold + 1) % count if own_test else fold
    test = fold if own_test else -1
    splits = np.full(len(parts), "train", object)
    splits[parts == validation] = "validation"
    splits[parts == test] = "test"
    tested = f"fold {test + 1} is the test set" if own_test else "the test set is that of the data"
    how = f"{count} folds ({job.config.fold_split}, seed {job.config.seed})"
    note = f"Of {how}, {tested} and fold {validation + 1} the validation set."
    return Division(splits, note, job.config.fold_split, {"folds": count, "fold": fold + 1})


def _whole(job: Job, parts: Ints, own_test: bool) -> Division:
    count = int(parts.max()) + 1
    sizes = np.bincount(parts[parts >= 0], minlength=count).tolist()
    turn = "test set once, the next one the validation set" if own_test else "validation set once"
    note = f"{count} folds ({job.config.fold_split}, seed {job.config.seed}); each is the {turn}."
    details = {"folds": count, "rows": sizes, "folds_sha256": sha256_bytes(parts.tobytes())}
    splits = np.array(["train", "test"], object)[(parts < 0).astype(int)]
    return Division(splits, note, job.config.fold_split, details)


def _with(job: Job, division: Division, seed: int) -> Job:
    """Return the training of one member: other rows, another seed, the same choices."""
    asked = job.config.model_dump(exclude_unset=True, exclude=set(OWN))
    task = job.task
    if job.initial is None:  # a trained model keeps its units
        task = fit_transform(job.config, task, job.dataset, division.splits)
    return replace(job, config=TrainConfig.build({**asked, "seed": seed}), division=division, task=task)
