"""The report of a run: metrics.json, prediction files, figures, and one page that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from profactory.evaluation.certainty import describe, measure_certainty, reliability_diagram
from profactory.evaluation.diagnosis import Diagnosis
from profactory.evaluation.drawing import png_of
from profactory.evaluation.history import read_history
from profactory.evaluation.intervals import Interval, Method, with_intervals
from profactory.evaluation.metrics import Scores, score
from profactory.evaluation.names import main_metric
from profactory.evaluation.page import render_page
from profactory.evaluation.plots import make_plots
from profactory.evaluation.predictions import write_predictions
from profactory.evaluation.relatives import Relatives, identity_histogram, score_relatives
from profactory.evaluation.verdict import Scored, compare
from profactory.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from profactory.runs.layout import plain
from profactory.tasks import Calibration, Task, Values

SAMPLES = 1000


@dataclass(frozen=True)
class EvaluatedSplit:
    """Labels and predictions of one split.

    Parameters
    ----------
    targets
        Labels.
    outputs
        Outputs of the model; residues beyond its maximum length may be missing at the ends.
    table
        The rows as they were read, all columns as text, in the same order.
    baselines
        Outputs of each baseline for the same rows.
    predictions
        Columns for the prediction file; made from the outputs if not given.
    raw
        Outputs before the calibration, if they are known.
    """

    targets: Values
    outputs: Values
    table: pa.Table
    baselines: Mapping[str, Values] = field(default_factory=dict)
    predictions: Mapping[str, Any] | None = None
    raw: Values | None = None


@dataclass(frozen=True)
class Report:
    """What was written.

    Parameters
    ----------
    folder
        The report folder.
    metrics
        The content of ``metrics.json``.
    files
        Names of the files in the folder.
    diagnosis
        How the training went, if there was one.
    """

    folder: Path
    metrics: dict[str, Any]
    files: tuple[str, ...]
    diagnosis: Diagnosis | None = None

    @property
    def page(self) -> Path:
        """The page for people."""
        return self.folder / "report.html"


def write_report(
    folder: str | Path,
    *,
    task: Task,
    splits: Mapping[str, EvaluatedSplit],
    baseline_notes: Sequence[str] = (),
    history: Iterable[Mapping[str, Any]] = (),
    diagnose: Callable[[Mapping[str, Any]], Diagnosis] | None = None,
    run_info: Mapping[str, Any] | None = None,
    data_info: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    relatives: Relatives | None = None,
    calibration: Calibration | None = None,
    seed: int = 0,
    beside: Sequence[str] = (),
    measured_on: str = "",
) -> Report:
    """Measure every split and write the whole report.

    Parameters
    ----------
    folder
        Where to write; made if missing, files of the same name are replaced.
    task
        The task.
    splits
        Split name to labels and predictions. The report is about ``test``, else ``validation``,
        else the first.
    baseline_notes
        How the baselines were fitted.
    history
        Evaluation events of the training; see :func:`~profactory.evaluation.history.read_history`.
    diagnose
        Given the content of ``metrics.json``, says how the training went; there is no ``diagnosis.json``
        without it.
    run_info
        Anything about the run: ``title`` and ``subtitle`` head the page; a mapping becomes a
        section of its own, everything else a line of the section "Run".
    data_info
        Anything about the data.
    warnings
        Sentences to be seen first.
    relatives
        Nearest training sequences of the split that the report is about.
    calibration
        How the outputs were calibrated; adds sets or intervals to the predictions, and how far they hold.
    seed
        Of the bootstrap.
    beside
        Names of files that others write into the folder; the page lists them, too.
    measured_on
        What the rows that the report is about are called; the name of their split if not given.

    Returns
    -------
    Report
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    main = _main_split(splits)
    metrics = _measure(task, splits, main, baseline_notes, seed) | {"measured_on": measured_on or main}
    if relatives is not None:
        metrics["leakage"] = _measure_subsets(task, splits[main], relatives, metrics, seed)
        warnings = [*warnings, *filter(None, [metrics["leakage"]["warning"]])]
    if calibration is not None:
        metrics["calibration"] = _measure_certainty(task, calibration, splits, main)
    files = ["metrics.json"]
    for name, split in splits.items():
        files.append(f"predictions_{name}.csv")
        write_predictions(target / files[-1], split.table, _columns(task, split, calibration))
    chosen = splits[main]
    figures: dict[str, Figure | None] = {
        **make_plots(task, chosen.targets, chosen.outputs, read_history(history), chosen.baselines),
        "reliability": reliability_diagram(task, chosen.targets, chosen.outputs, chosen.raw),
        "identity": identity_histogram(relatives) if relatives is not None else None,
    }
    images = {name: png_of(figure) for name, figure in figures.items() if figure is not None}
    for name, image in images.items():
        files.append(f"{name}.png")
        atomic_write_bytes(target / files[-1], image)
    diagnosis = diagnose(metrics) if diagnose is not None else None
    if diagnosis is not None:
        files.append("diagnosis.json")
        atomic_write_json(target / files[-1], plain(diagnosis.to_dict()))
    listed = [*files, *beside, "report.html"]
    page = render_page(metrics, images, listed, run_info or {}, data_info or {}, warnings, diagnosis)
    atomic_write_text(target / "report.html", page)
    atomic_write_json(target / "metrics.json", metrics)
    return Report(target, metrics, (*files, "report.html"), diagnosis)


def _columns(task: Task, split: EvaluatedSplit, calibration: Calibration | None) -> Mapping[str, Any]:
    if split.predictions is not None:
        return split.predictions
    return {**task.decode(split.outputs), **(calibration or Calibration()).columns(task, split.outputs)}


def _measure_certainty(
    task: Task, calibration: Calibration, splits: Mapping[str, EvaluatedSplit], main: str
) -> dict[str, Any]:
    measured = {
        name: _finite(measure_certainty(task, calibration, split.targets, split.outputs, split.raw))
        for name, split in splits.items()
    }
    sentence = describe(task, calibration, main, measured[main])
    return {**calibration.to_dict(), "measured": measured, "sentence": sentence}


def measure(
    task: Task, targets: Values, outputs: Values, *, seed: int = 0, only: Collection[str] | None = None
) -> tuple[dict[str, Any], Scores]:
    """Return each metric as in ``metrics.json`` (``value``, ``low``, ``high``), and the scores behind it.

    `only` names the metrics that get an interval; all of them if None.
    """
    scores = score(task, targets, outputs)
    found = with_intervals(task, targets, outputs, samples=SAMPLES, seed=seed, scores=scores, only=only)
    return {name: _entry(name, interval, scores) for name, interval in found.items()}, scores


def measure_splits(
    task: Task,
    splits: Mapping[str, EvaluatedSplit],
    *,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Return what ``metrics.json`` says of every split, and the scores behind it; `only` as for measure."""
    measured = {
        name: measure(task, split.targets, split.outputs, seed=seed, only=only)
        for name, split in splits.items()
    }
    scores = {name: found for name, (_, found) in measured.items()}
    return {
        **{name: entries for name, (entries, _) in measured.items()},
        "task": str(task.kind),
        "main_split": _main_split(splits),
        "main_metric": main_metric(task),
        "counts": {name: _counts(task, split) for name, split in splits.items()},
        "per_class" if task.is_classification else "per_target": {
            name: [_finite(row) for row in found.table] for name, found in scores.items()
        },
    }, scores


def _measure(
    task: Task, splits: Mapping[str, EvaluatedSplit], main: str, baseline_notes: Sequence[str], seed: int
) -> dict[str, Any]:
    """Return the content of ``metrics.json``."""
    metrics, measured = measure_splits(task, splits, seed=seed)
    chosen = splits[main]
    metrics["baselines"] = {}
    floors: dict[str, Scored] = {}
    for name, outputs in chosen.baselines.items():
        metrics["baselines"][name], scores = measure(task, chosen.targets, outputs, seed=seed)
        floors[name] = (outputs, scores)
    model = (chosen.outputs, measured[main])
    verdict = compare(task, chosen.targets, model, floors, main_metric(task), seed=seed)
    notes = {name: scores.notes for name, scores in measured.items()}
    return metrics | {
        "comparison": verdict.to_dict() if verdict is not None else None,
        "notes": {**notes, "baselines": list(baseline_notes)},
        "intervals": Method(0.95, SAMPLES, seed).sentence(),
    }


def _measure_subsets(
    task: Task, split: EvaluatedSplit, relatives: Relatives, metrics: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    def score_rows(rows: NDArray[np.int64]) -> dict[str, Any]:
        return measure(task, split.targets.take(rows), split.outputs.take(rows), seed=seed)[0]

    return score_relatives(relatives, metrics[metrics["main_split"]], metrics["main_metric"], score_rows)


def _counts(task: Task, split: EvaluatedSplit) -> dict[str, int]:
    counts = {"proteins": len(split.targets)}
    return counts | ({"residues": int(split.targets.lengths.sum())} if task.per_residue else {})


def _entry(name: str, interval: Interval, scores: Scores) -> dict[str, Any]:
    entry: dict[str, Any] = _finite({"value": interval.value, "low": interval.low, "high": interval.high})
    entry["samples"] = interval.samples
    if name in scores.thresholds and math.isfinite(scores.thresholds[name]):
        entry["threshold"] = scores.thresholds[name]
    if name in scores.reasons:
        entry["reason"] = scores.reasons[name]
    return entry


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace NaN by None: JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _main_split(splits: Mapping[str, EvaluatedSplit]) -> str:
    return next(name for name in ("test", "validation", *splits) if name in splits)
