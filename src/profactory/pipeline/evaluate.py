"""A trained model measured on other labelled data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from profactory.data.dataset import Dataset
from profactory.data.labels import encode_labels
from profactory.data.prepare import prepare_dataset
from profactory.data.structure_columns import (
    check_strings,
    match_structure_columns,
    read_strings,
    say_unread,
)
from profactory.errors import RunExistsError, SplitError
from profactory.evaluation.report import EvaluatedSplit, measure, write_report
from profactory.inference.opening import open_predictor
from profactory.progress import Progress
from profactory.structure.joining import StructureJoin
from profactory.training.sources import truncated

log = logging.getLogger("profactory")

#: What rows are called that are measured without regard to their split.
ALL_ROWS = "all rows"


def evaluate_model(
    model: Path,
    source: str,
    *,
    split: str | None,
    out: str | Path | None,
    overwrite: bool,
    join: StructureJoin | None = None,
    **machine: Any,
) -> dict[str, Any]:
    """Measure a saved model; see :func:`profactory.api.evaluate`."""
    folder = Path(out) if out is not None else None
    if folder is not None and folder.exists() and any(folder.iterdir()) and not overwrite:
        raise RunExistsError(
            f"{folder} exists and is not empty.", fix="choose another --out, or type --overwrite"
        )
    predictor = open_predictor(model, **machine)
    task = predictor.task
    dataset = prepare_dataset(source, task=task, join=join).dataset
    dataset, name = _chosen_rows(dataset, split)
    measured_on = split or ALL_ROWS
    warning = "" if split else _warn_of_training_rows(dataset)
    needed = predictor.model.extra_inputs.structures
    structures = match_structure_columns(dataset.table.column_names, needed, file=source)
    say_unread(dataset.table.column_names, structures, labels=dataset.columns.labels)
    check_strings(dataset, structures)
    with Progress("predicting", len(dataset), unit="sequences") as progress:
        outputs = predictor.predict_outputs(dataset.sequences, progress, read_strings(dataset, structures))
    targets = encode_labels(dataset, task)
    targets = truncated(targets, np.minimum(dataset.lengths, predictor.max_length).astype(np.int64))
    if folder is None:
        about = {"main_split": name, "measured_on": measured_on, "task": str(task.kind)}
        return {name: measure(task, targets, outputs)[0], **about}
    report = write_report(
        folder,
        task=task,
        splits={name: EvaluatedSplit(targets, outputs, dataset.table)},
        run_info={"title": f"Evaluation of {model}", "model": str(model)},
        calibration=predictor.calibration,
        data_info={"source": source, "rows": len(dataset), "SHA-256 of the rows": dataset.content_hash},
        warnings=[warning] if warning else [],
        measured_on=measured_on,
    )
    return report.metrics


def _warn_of_training_rows(dataset: Dataset) -> str:
    """Say that rows to measure on are marked as training rows; nothing if none is."""
    marked = int(np.count_nonzero(dataset.splits == "train"))
    if not marked:
        return ""
    warning = (
        f"{marked:,} of the {len(dataset):,} rows are marked train: on rows that the model was trained on, "
        "any score is too high. --split test measures on the others."
    )
    log.warning("%s", warning)
    return warning


def _chosen_rows(dataset: Dataset, split: str | None) -> tuple[Dataset, str]:
    """Return the rows to measure on and their key in ``metrics.json``."""
    if split is None:
        return dataset, "test"
    rows = np.flatnonzero(dataset.splits == split)
    if not len(rows):
        there = sorted({str(s) for s in dataset.splits} - {""})
        raise SplitError(
            f"The data have no {split} rows.",
            expected=f"one of {', '.join(there)}" if there else "data that are divided",
            fix="leave out --split to measure on all rows",
        )
    return dataset.select(rows), split
