"""A trained model measured on other labelled data."""

from __future__ import annotations

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
    needed = predictor.model.extra_inputs.structures
    structures = match_structure_columns(dataset.table.column_names, needed, file=source)
    say_unread(dataset.table.column_names, structures, labels=dataset.columns.labels)
    check_strings(dataset, structures)
    with Progress("predicting", len(dataset), unit="sequences") as progress:
        outputs = predictor.predict_outputs(dataset.sequences, progress, read_strings(dataset, structures))
    targets = encode_labels(dataset, task)
    targets = truncated(targets, np.minimum(dataset.lengths, predictor.max_length).astype(np.int64))
    if folder is None:
        return {name: measure(task, targets, outputs)[0], "main_split": name, "task": str(task.kind)}
    report = write_report(
        folder,
        task=task,
        splits={name: EvaluatedSplit(targets, outputs, dataset.table)},
        run_info={"title": f"Evaluation of {model}", "model": str(model)},
        calibration=predictor.calibration,
        data_info={"source": source, "rows": len(dataset), "SHA-256 of the rows": dataset.content_hash},
    )
    return report.metrics


def _chosen_rows(dataset: Dataset, split: str | None) -> tuple[Dataset, str]:
    """Return the rows to measure on and what to call them."""
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
