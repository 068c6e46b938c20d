"""The figures of a report; each function returns a figure, or None where there is nothing to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from profactory.evaluation import drawing as d
from profactory.evaluation.history import History
from profactory.evaluation.metrics import per_protein_means
from profactory.evaluation.names import label_of, positive_class
from profactory.evaluation.ranking import area_precision_recall, area_roc
from profactory.evaluation.rows import Array, Floats, Rows, make_rows
from profactory.tasks import Task, Values

MOST_CLASSES = 30
MOST_CURVES = 8
MOST_TARGETS = 6
DENSE = 1500  # points from which a scatter becomes a density
BOUNDED = ("mcc", "accuracy", "balanced_accuracy", "f1_macro", "auroc", "f1_max", "f1_micro", "auprc",
           "spearman", "pearson", "r2")  # fmt: skip


def make_plots(
    task: Task, targets: Values, outputs: Values, history: History, baselines: Mapping[str, Values]
) -> dict[str, Figure]:
    """Draw everything that fits the task.

    Returns
    -------
    dict
        File name without ending to figure.
    """
    rows = make_rows(task, targets, outputs)
    found: dict[str, Figure | None] = {
        "loss": loss_curves(history),
        "validation_metrics": metric_curves(history, task.default_monitor),
    }
    if not rows.problem:
        reference = baselines.get("composition")
        other = make_rows(task, targets, reference) if reference is not None else None
        found |= _result_plots(task, rows, other)
    return {name: figure for name, figure in found.items() if figure is not None}


def _result_plots(task: Task, rows: Rows, other: Rows | None) -> dict[str, Figure | None]:
    if not task.is_classification:
        return {"parity": parity(task, rows), "per_protein": per_protein(task, rows)}
    if task.is_multi_label:
        return {"terms": top_terms(task, rows), **curves(task, rows, other)}
    return {
        "confusion": confusion(task, rows),
        **curves(task, rows, other),
        "per_protein": per_protein(task, rows),
    }


def loss_curves(history: History) -> Figure | None:
    """Draw training and validation loss per evaluation, the kept one marked."""
    if not len(history):
        return None
    figure, (axes,) = d.new_figure(5.2, 3.4)
    unit, places = history.axis
    _line(axes, places, history.train_loss, d.ORANGE, "training")
    _line(axes, places, history.validation_loss, d.BLUE, "validation")
    _mark_best(axes, history)
    d.name_axes(axes, unit, "loss", "Loss")
    d.show_legend(axes)
    return figure


def metric_curves(history: History, main: str) -> Figure | None:
    """Draw the validation metrics that live between -1 and 1, the monitored one in front."""
    names = [name for name in BOUNDED if any(map(math.isfinite, history.metrics.get(name, [])))]
    if "accuracy" in names:  # of exclusive classes, of which micro-averaged F1 is the same number
        names.remove("f1_micro")
    names = [main, *[n for n in names if n != main]][:6] if main in names else names[:6]
    if not len(history) or not names:
        return None
    figure, (axes,) = d.new_figure(5.2, 3.4)
    unit, places = history.axis
    for i, name in enumerate(names):
        _line(axes, places, history.metrics[name], d.COLOURS[i], label_of(name), strong=name == main)
    _mark_best(axes, history)
    d.name_axes(axes, unit, "value", "Validation metrics")
    d.show_legend(axes, outside=True)
    return figure


def perplexity_curve(history: History) -> Figure | None:
    """Draw the perplexity of held-out sequences, the kept one marked."""
    if "perplexity" not in history.metrics:
        return None
    figure, (axes,) = d.new_figure(5.2, 3.4)
    unit, places = history.axis
    _line(axes, places, history.metrics["perplexity"], d.BLUE, "held-out")
    _mark_best(axes, history)
    d.name_axes(axes, unit, "perplexity", "Perplexity")
    d.show_legend(axes)
    return figure


def _line(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, name: str, *, strong: bool = True
) -> None:
    marker = "o" if len(x) <= 40 else ""
    width = 2.0 if strong else 1.2
    axes.plot(x, y, color=colour, label=name, linewidth=width, marker=marker, markersize=3.2)


def _mark_best(axes: Axes, history: History) -> None:
    if history.best is None:
        return
    unit, places = history.axis
    label = f"kept ({unit} {places[history.best]:g})"
    axes.axvline(places[history.best], color=d.GREY, linestyle="--", linewidth=1.0, label=label, zorder=1)


def confusion(task: Task, rows: Rows) -> Figure | None:
    """Draw the confusion matrix, rows normalised; beyond 30 classes the most frequent 29 and the rest."""
    names, truth, predicted = _most_frequent(task, rows.truth, rows.scores.argmax(axis=1))
    counts = confusion_matrix(truth, predicted, labels=np.arange(len(names)))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2.6 + 0.42 * len(names) if len(names) <= 12 else 3.4 + 0.26 * len(names)
    figure, (axes,) = d.new_figure(max(4.6, side + 0.9), max(3.9, side))
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="equal")
    axes.grid(visible=False)
    size = 9 if len(names) <= 16 else 7.5
    d.label_ticks(axes, names, size=size, limit=20)
    d.label_ticks(axes, names, x=True, size=size, limit=20)
    if len(names) <= 20:
        _write_cells(axes, counts, shares, len(names))
    d.name_axes(axes, "predicted", "true", "Confusion matrix: share of each true class")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    return figure


def _most_frequent(task: Task, truth: Array, predicted: Array) -> tuple[list[str], Array, Array]:
    if task.n_outputs <= MOST_CLASSES:
        return list(task.classes), truth, predicted
    kept = np.argsort(-np.bincount(truth, minlength=task.n_outputs), kind="stable")[: MOST_CLASSES - 1]
    place = np.full(task.n_outputs, MOST_CLASSES - 1)
    place[kept] = np.arange(len(kept))
    names = [task.classes[i] for i in kept] + [f"{task.n_outputs - len(kept)} others"]
    return names, place[truth], place[predicted]


def _write_cells(axes: Axes, counts: Array, shares: Floats, classes: int) -> None:
    size = 9 if classes <= 6 else 7.5 if classes <= 12 else 6
    for i in range(classes):
        for j in range(classes):
            share = shares[i, j]
            if counts[i, j] == 0:
                continue
            lines = f"{share:.0%}\n{counts[i, j]:,}" if classes <= 6 else f"{100 * share:.0f}"
            axes.text(
                j,
                i,
                lines,
                ha="center",
                va="center",
                fontsize=size,
                color="white" if share < 0.55 else "black",
            )


def curves(task: Task, rows: Rows, other: Rows | None) -> dict[str, Figure | None]:
    """Draw ROC and precision-recall curves: the positive class of two, else the most frequent classes."""
    binary = positive_class(task) is not None
    truth = rows.truth if task.is_multi_label else rows.truth[:, None] == np.arange(task.n_outputs)
    defined = [i for i in range(task.n_outputs) if 0 < truth[:, i].sum() < len(truth)]
    if not defined:
        return {}
    shown = [1] if binary else sorted(defined, key=lambda i: -int(truth[:, i].sum()))[:MOST_CURVES]
    entries = [(task.classes[i], truth[:, i], rows.scores[:, i], d.COLOURS[n]) for n, i in enumerate(shown)]
    if binary and other is not None and len(other) == len(rows):
        entries.append(("composition baseline", truth[:, 1], other.scores[:, 1], d.GREY))
    some = f" ({len(shown)} most frequent of {len(defined)} classes)" if len(defined) > len(shown) else ""
    title = f": class {task.classes[1]}" if binary else some
    return {
        "roc": _roc(entries, "ROC" + title),
        "precision_recall": _precision_recall(entries, "Precision and recall" + title),
    }


Entry = tuple[str, Array, Array, str]


def _roc(entries: Sequence[Entry], title: str) -> Figure:
    figure, (axes,) = d.new_figure(5.6, 3.4)
    axes.plot([0, 1], [0, 1], color=d.GREY, linestyle=":", linewidth=1)
    for name, truth, scores, colour in entries:
        x, y, _ = roc_curve(truth, scores)
        _curve(axes, x, y, colour, f"{d.plain(name, 20)}  {area_roc(truth, scores):.3f}")
    d.name_axes(axes, "false positive rate", "true positive rate", title)
    d.show_legend(axes, title="AUROC", outside=True)
    axes.set_box_aspect(1)
    return figure


def _precision_recall(entries: Sequence[Entry], title: str) -> Figure:
    figure, (axes,) = d.new_figure(5.6, 3.4)
    for name, truth, scores, colour in entries:
        y, x, _ = precision_recall_curve(truth, scores)
        _curve(axes, x, y, colour, f"{d.plain(name, 20)}  {area_precision_recall(truth, scores):.3f}")
    if len({colour for *_, colour in entries if colour != d.GREY}) == 1:
        axes.axhline(float(entries[0][1].mean()), color=d.GREY, linestyle=":", linewidth=1)
    axes.set_ylim(0, 1.03)
    d.name_axes(axes, "recall", "precision", title)
    d.show_legend(axes, title="AUPRC", outside=True)
    axes.set_box_aspect(1)
    return figure


def _curve(axes: Axes, x: Array, y: Array, colour: str, name: str) -> None:
    """Draw a curve by at most about 2,000 of its points."""
    step = max(1, len(x) // 2000)
    kept = np.unique(np.append(np.arange(0, len(x), step), len(x) - 1))
    width, style = (1.4, "--") if colour == d.GREY else (1.8, "-")
    axes.plot(x[kept], y[kept], color=colour, label=name, linewidth=width, linestyle=style)


def parity(task: Task, rows: Rows) -> Figure | None:
    """Draw predicted against measured values with the identity line, one panel per target."""
    targets = [i for i in range(task.n_outputs) if np.isfinite(rows.truth[:, i]).sum() > 1][:MOST_TARGETS]
    if not targets:
        return None
    columns = min(len(targets), 3)
    lines = math.ceil(len(targets) / columns)
    size = 4.2 if len(targets) == 1 else 3.2
    figure, all_axes = d.new_figure(size * columns + 0.5, size * lines, columns, lines)
    for axes, i in zip(all_axes, targets, strict=False):
        known = np.isfinite(rows.truth[:, i])
        _parity_panel(figure, axes, rows.truth[known, i], rows.scores[known, i])
        d.name_axes(axes, "measured", "predicted", task.targets[i])
    for axes in all_axes[len(targets) :]:
        axes.set_visible(False)
    return figure


def _parity_panel(figure: Figure, axes: Axes, truth: Floats, values: Floats) -> None:
    low, high = float(min(truth.min(), values.min())), float(max(truth.max(), values.max()))
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    if len(truth) > DENSE:
        image = axes.hexbin(truth, values, gridsize=60, extent=(*limits, *limits), mincnt=1, bins="log",
                            cmap="cividis", linewidths=0.1)  # fmt: skip
        bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
        bar.set_label("number", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    else:
        axes.scatter(truth, values, s=14, color=d.BLUE, alpha=0.55, linewidths=0)
    axes.plot(limits, limits, color=d.RED, linewidth=1.2, label="identity")
    axes.set(xlim=limits, ylim=limits)
    axes.set_aspect("equal")
    d.show_legend(axes)


def top_terms(task: Task, rows: Rows, most: int = 25) -> Figure | None:
    """Draw AUROC and AUPRC of the most frequent classes of a multi-label task."""
    support = rows.truth.sum(axis=0)
    shown = [i for i in np.argsort(-support, kind="stable") if 0 < support[i] < len(rows)][:most][::-1]
    if not shown:
        return None
    figure, (axes,) = d.new_figure(6.8, 1.6 + 0.24 * len(shown))
    places, unit = np.arange(len(shown)), "residues" if task.per_residue else "proteins"
    parts = (("AUROC", area_roc, d.BLUE, "o"), ("AUPRC", area_precision_recall, d.RED, "s"))
    for name, area, colour, marker in parts:
        values = [area(rows.truth[:, i], rows.scores[:, i]) for i in shown]
        axes.plot(values, places, marker, color=colour, markersize=5, label=name)
    axes.plot(support[shown] / len(rows), places, "|", color=d.GREY, markersize=9, label=f"share of {unit}")
    d.label_ticks(axes, [f"{task.classes[i]} ({support[i]:,})" for i in shown], limit=34)
    axes.set(xlim=(0, 1.02), ylim=(-0.7, len(shown) - 0.3))
    d.name_axes(axes, "value", "", f"Most frequent classes (number of {unit})")
    d.show_legend(axes, outside=True)
    return figure


def per_protein(task: Task, rows: Rows) -> Figure | None:
    """Draw accuracy (or mean error) per protein, and how it goes with length; residue tasks only."""
    lengths = np.bincount(rows.owners, minlength=rows.proteins)
    if not task.per_residue or (lengths > 0).sum() < 3:
        return None
    if task.is_classification:
        name, each = "accuracy", rows.truth == rows.scores.argmax(axis=1)
    else:
        name, each = "mean absolute error", np.abs(rows.truth[:, 0] - rows.scores[:, 0])
    values = per_protein_means(rows, each)
    kept = lengths > 0
    figure, (left, right) = d.new_figure(8.0, 3.1, 2)
    left.hist(values[kept], bins=30, color=d.BLUE, edgecolor="white", linewidth=0.4)
    left.axvline(
        float(values[kept].mean()), color=d.RED, linewidth=1.4, label=f"mean {values[kept].mean():.3f}"
    )
    d.name_axes(left, f"{name} of a protein", "proteins", "Per protein")
    d.show_legend(left)
    right.scatter(lengths[kept], values[kept], s=9, color=d.BLUE, alpha=0.4, linewidths=0)
    d.name_axes(right, "labelled residues", name, "By length")
    return figure
