"""How far a model's certainty can be believed, measured on labelled rows: reliability, coverage, sizes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from profactory.evaluation import drawing as d
from profactory.evaluation.calibration import log_loss
from profactory.evaluation.formats import number
from profactory.evaluation.rows import Array, Rows, make_rows
from profactory.tasks import Calibration, Task, Values

BINS = 15


def reliability(task: Task, targets: Values, outputs: Values) -> list[dict[str, float]]:
    """Return what probabilities of about the same size turned out to be worth.

    Returns
    -------
    list of dict
        One per bin that is not empty: ``confidence`` (mean probability), ``accuracy`` (share that came true)
        and ``share`` of all. Exclusive classes: of the predicted class; multi-label tasks: of every label.
    """
    rows = make_rows(task, targets, outputs)
    if rows.problem or not task.is_classification:
        return []
    if task.is_multi_label:
        confidence, right = rows.scores.ravel(), rows.truth.ravel()
    else:
        confidence, right = rows.scores.max(axis=1), rows.scores.argmax(axis=1) == rows.truth
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights, minlength=BINS) for weights in (confidence, right)]
    return [
        {
            "confidence": float(sums[0][i] / n),
            "accuracy": float(sums[1][i] / n),
            "share": float(n / len(place)),
        }
        for i, n in enumerate(counts)
        if n
    ]


def calibration_error(bins: list[dict[str, float]]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy."""
    return sum(entry["share"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins)


def measure_certainty(
    task: Task, calibration: Calibration, targets: Values, outputs: Values, raw: Values | None = None
) -> dict[str, Any]:
    """Measure on labelled rows what a calibration promises.

    Parameters
    ----------
    task, calibration
        What was predicted, and what is promised.
    targets, outputs
        Labels and calibrated outputs.
    raw
        Outputs before the calibration.

    Returns
    -------
    dict
        ``rows``; classification: ``calibration_error`` and ``log_loss`` (and the same ``_before``); with a
        coverage: ``coverage`` as it was, and ``set_size`` (classes) or ``width`` of the intervals.
    """
    rows = make_rows(task, targets, outputs)
    found: dict[str, Any] = {"rows": len(rows)}
    if rows.problem:
        return found
    if task.is_classification:
        for suffix, values in (("", outputs), ("_before", raw)):
            if values is not None:
                found[f"calibration_error{suffix}"] = calibration_error(reliability(task, targets, values))
                scores = make_rows(task, targets, values).scores
                found[f"log_loss{suffix}"] = log_loss(task, scores, _hard_labels(task, rows.truth))
    if calibration.coverage is not None:
        found |= _covered(task, calibration, rows)
    return found


def _hard_labels(task: Task, truth: Array) -> Array:
    return truth if task.is_multi_label else np.eye(task.n_outputs)[truth]


def _covered(task: Task, calibration: Calibration, rows: Rows) -> dict[str, float]:
    if not task.is_classification:
        low, high = calibration.bounds(task, Values(rows.scores))
        slack, known = 1e-6 * (high - low), np.isfinite(rows.truth)
        inside = (rows.truth >= low - slack) & (rows.truth <= high + slack)
        return {"coverage": float(inside[known].mean()), "width": float((high - low).mean())}
    members = calibration.members(task, rows.scores.astype(np.float32))
    size = float(members.sum(axis=1).mean())
    if not task.is_multi_label:
        return {"coverage": float(members[np.arange(len(rows)), rows.truth].mean()), "set_size": size}
    some = rows.truth.any(axis=1)
    recall = (members & rows.truth)[some].sum(axis=1) / rows.truth[some].sum(axis=1)
    return {"coverage": float(recall.mean()) if some.any() else math.nan, "set_size": size}


def describe(task: Task, calibration: Calibration, split: str, measured: dict[str, Any]) -> str:
    """Return what was calibrated and how well that held on a split, for people."""
    parts = []
    if "calibration_error" in measured:
        before = measured.get("calibration_error_before")
        error = number(measured["calibration_error"])
        parts.append(
            f"Logits are divided by a temperature of {calibration.temperature:.2f}, fitted on the validation"
            f" rows; expected calibration error on {split}: {error}"
            + (f", before: {number(before)}." if before is not None else ".")
        )
    if calibration.coverage is None:
        parts.append(
            "There are too few validation rows for prediction sets or intervals of the asked coverage."
        )
    elif "coverage" in measured:
        unit = "residues" if task.per_residue else "proteins"
        share, found = f"{calibration.coverage:.0%}", f"{measured['coverage']:.1%}"
        if not task.is_classification:
            what = f"The interval around a prediction is meant to hold the value of {share} of new {unit}"
            size = f"width {number(measured['width'])}"
        elif task.is_multi_label:
            what = f"A prediction set is meant to hold, on average, {share} of a new {unit[:-1]}'s classes"
            size = f"{measured['set_size']:.1f} classes per set"
        else:
            what = f"The prediction set is meant to hold the true class of {share} of new {unit}"
            size = f"{measured['set_size']:.2f} classes per set"
        parts.append(f"{what}; on {split} it was {found} ({size}).")
    return " ".join(parts)


def reliability_diagram(task: Task, targets: Values, outputs: Values, raw: Values | None) -> Figure | None:
    """Draw how often predictions of about the same probability are right, before and after calibration."""
    after = reliability(task, targets, outputs)
    before = reliability(task, targets, raw) if raw is not None else []
    if not after:
        return None
    figure, (axes,) = d.new_figure(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color=d.GREY, linestyle=":", linewidth=1)
    for name, bins, colour in (("before", before, d.ORANGE), ("calibrated", after, d.BLUE)):
        if bins:
            x, y = ([entry[key] for entry in bins] for key in ("confidence", "accuracy"))
            axes.plot(x, y, "o-", color=colour, markersize=4, linewidth=1.4,
                      label=f"{name}  {calibration_error(bins):.3f}")  # fmt: skip
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_box_aspect(1)
    d.name_axes(axes, "probability", "share that is true", "Reliability")
    d.show_legend(axes)
    return figure
