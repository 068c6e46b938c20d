"""Everything that can be refused is refused here: before a model is loaded, before a file is written."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.config import TrainConfig
from profactory.data.dataset import Dataset
from profactory.data.labels import encode_labels
from profactory.data.prepare import Prepared, prepare_dataset
from profactory.data.sources import settings_of
from profactory.data.splitting import Division, assign_splits, count_splits
from profactory.data.structure_columns import read_strings
from profactory.data.texts import BLOCK, Texts
from profactory.errors import ConfigError, SplitError
from profactory.evaluation.metrics import known_metrics
from profactory.models.pooling import choose_pooling
from profactory.models.zoo import ModelSpec, resolve
from profactory.pipeline.choices import Choices, choose
from profactory.pipeline.extras import check_features, check_layers, check_packages
from profactory.pipeline.initial import Initial, find_initial
from profactory.pipeline.labels import check_objective, fit_transform
from profactory.pipeline.structures import check_structure_settings, find_structures, known_family
from profactory.structure.joining import StructureJoin
from profactory.tasks import Task, Values
from profactory.training.sources import truncated

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class Job:
    """A training run that can start: data read, task known, rows divided, settings complete.

    Parameters
    ----------
    division
        Which rows are for training, validation and test, and how that came about.
    """

    source: str
    config: TrainConfig
    prepared: Prepared
    task: Task
    spec: ModelSpec
    division: Division
    choices: Choices
    structures: Mapping[str, str] = field(default_factory=dict)
    initial: Initial | None = None

    @property
    def dataset(self) -> Dataset:
        """The validated table."""
        return self.prepared.dataset

    @property
    def splits(self) -> NDArray[Any]:
        """The split of every row of the data set; shape ``(n,)``."""
        return self.division.splits

    @cached_property
    def splits_hash(self) -> str:
        """SHA-256 of the split of every row."""
        digest = hashlib.sha256()
        for start in range(0, len(self.splits), BLOCK):
            names = self.splits[start : start + BLOCK].tolist()
            digest.update(("\n" * bool(start) + "\n".join(names)).encode())
        return digest.hexdigest()

    @property
    def truncated(self) -> int:
        """Number of sequences longer than what the model reads."""
        return int((self.dataset.lengths > self.choices.max_length).sum())

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the indices of a split's rows."""
        return np.flatnonzero(self.splits == split)

    def sequences(self, split: str) -> Texts:
        """Return a split's sequences, in the order of its rows."""
        return self.dataset.select(self.rows(split)).sequences

    def strings(self, rows: NDArray[np.int64] | None = None) -> dict[str, Texts]:
        """Return the structure strings of rows, or of all; empty for models that read none."""
        return read_strings(self.dataset, self.structures, rows)

    def targets(self, split: str) -> Values:
        """Return a split's labels as arrays, cut to the residues that the model reads."""
        rows = self.rows(split)
        lengths = self.dataset.lengths[rows]
        encoded = encode_labels(self.dataset, self.task, rows)
        return truncated(encoded, np.minimum(lengths, self.choices.max_length).astype(np.int64))

    def describe_data(self) -> dict[str, Any]:
        """Return ``data.json``: what the run was trained on."""
        return {
            "source": self.source,
            "files": self.dataset.sources,
            "content_sha256": self.dataset.content_hash,
            "columns": self.dataset.columns.to_dict(),
            "counts": self.prepared.counts,
            "task": self.task.to_dict(),
            "task_reason": self.prepared.task_reason,
            "splits": count_splits(self.splits),
            "split_note": self.division.note,
            "split_details": self.division.details,
            "splits_sha256": self.splits_hash,
            "truncated": self.truncated,
        }


def with_settings_of(source: str, config: TrainConfig) -> TrainConfig:
    """Fill in what a data set description or an entry of the catalogue says; what was typed stays."""
    typed = config.model_dump(exclude_unset=True)
    known = {name: value for name, value in settings_of(source).items() if name in TrainConfig.model_fields}
    brought = {name: value for name, value in known.items() if name not in typed}
    if not brought:
        return config
    log.info("%s says: %s", source, ", ".join(f"{name} = {value}" for name, value in brought.items()))
    return TrainConfig.build({**brought, **typed})


def prepare_job(source: str, config: TrainConfig, *, like: Job | None = None) -> Job:
    """Read and check everything that a run needs.

    Parameters
    ----------
    source, config
        Data and settings.
    like
        Another job on the same data; its rows and their division are taken over.

    Raises
    ------
    ProFactoryError
        For unusable data, an unknown model, or options that do not go together.
    """
    asked = with_settings_of(source, config)
    check_packages(asked)
    initial = find_initial(asked)
    config = asked if initial is None else initial.settings(asked)
    spec = resolve(config.model, revision=config.revision) if initial is None else initial.spec
    check_layers(config, spec)
    if initial is None:
        spec = known_family(config, spec)
        check_structure_settings(config, spec)
    prepared = like.prepared if like else _read(source, config, initial.task if initial else None)
    task = prepared.task
    if task is None:
        raise ConfigError(
            "The data have no labels.",
            fix="name their column with --label-column; see `profactory check DATA`",
        )
    # Refused before the rows are divided, which may take long:
    choose_pooling(config.pooling, task, spec)
    check_features(config, task)
    check_objective(config, task)
    if initial is None:
        spec = known_family(config, spec, prepared.dataset.table.column_names)
    structures = find_structures(config, prepared.dataset, spec, initial.structures if initial else None)
    division = like.division if like else divide(prepared.dataset, task, config)
    if initial is None:  # a trained model keeps its units
        task = fit_transform(config, task, prepared.dataset, division.splits)
    choices = choose(config, task, spec, train_rows=count_splits(division.splits)["train"])
    _check_monitor(choices.monitor, task)
    if initial is not None:
        choices = replace(choices, init=initial.fingerprint)
    return Job(source, asked, prepared, task, spec, division, choices, structures, initial)


def _read(source: str, config: TrainConfig, task: Task | None) -> Prepared:
    return prepare_dataset(
        source,
        sequence_column=config.sequence_column,
        label_column=config.label_column,
        split_column=config.split_column,
        header_pattern=config.header_pattern,
        task=task or config.task,
        bad_rows=config.bad_rows,
        limit=config.limit,
        sample=config.sample,
        seed=config.seed,
        join=StructureJoin.open(
            config.structures,
            missing=config.missing_structure,
            sequence_column=config.sequence_column,
            id_column=config.id_column,
        ),
    )


def divide(dataset: Dataset, task: Task, config: TrainConfig) -> Division:
    """Assign every row to train, validation or test.

    Splits given in the data are kept. A missing validation set is cut off the training set (never
    copied from it), a missing test set is said to be missing.
    """
    result = assign_splits(
        dataset,
        task,
        method=config.split,
        ratios=config.split_ratios,
        seed=config.seed,
        identity=config.split_identity,
    )
    counts = count_splits(result.splits)
    for name in ("train", "validation"):
        if not counts[name]:
            raise SplitError(
                f"No row is in the {name} split.",
                expected="rows to train on and others to choose the best epoch by",
                fix="leave out the split column with --split stratified, or add rows",
            )
    return result


def _check_monitor(monitor: str, task: Task) -> None:
    known = ["loss", *known_metrics(task)]
    if monitor not in known:
        raise ConfigError(
            f"The monitor {monitor!r} is no metric of {task.kind}.",
            expected=f"one of {', '.join(known)}",
            fix="choose another --monitor",
        )
