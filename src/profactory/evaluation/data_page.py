"""The data report as one HTML page: figures inside, nothing fetched, every text from data escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from profactory.data.checking import DataReport
from profactory.data.checking_text import estimate_sentences, residue_notes
from profactory.errors import SHOWN_PROBLEMS, shorten
from profactory.evaluation import drawing as d
from profactory.evaluation.page import sections

MOST_CLASSES = 30
MOST_TARGETS = 6
SHOWN_VALUE = 32


def render_data_page(report: DataReport) -> str:
    """Return the page of a data report."""
    environment = Environment(
        loader=PackageLoader("profactory.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    counts = report.counts
    rows, used, rejected = (f"{counts[key]:,}" for key in ("rows_read", "used", "rejected"))
    return environment.get_template("data.html.j2").render(
        title=Path(report.source).name or report.source,
        task=f"{report.task['kind']}: {report.task_reason}" if report.task else "no labels",
        verdict=f"{rows} rows read = {used} used + {rejected} rejected",
        tone="bad" if counts["rejected"] else "good",
        warnings=report.warnings,
        figures=[
            {"caption": caption, "data": base64.b64encode(d.png_of(figure)).decode("ascii")}
            for caption, figure in draw_data(report)
        ],
        residues=residue_notes(counts["residues"]),
        problems=[
            {**problem.to_dict(), "value": shorten(problem.value, SHOWN_VALUE)}
            for problem in report.problems[:SHOWN_PROBLEMS]
        ],
        rejected=rejected,
        estimate=estimate_sentences(report.estimate),
        command=report.next_command,
        sections=sections("Counts", _numbers(report)),
    )


def draw_data(report: DataReport) -> list[tuple[str, Figure]]:
    """Draw lengths, labels and splits; each with its caption."""
    if not report.lengths:
        return []  # not one row can be used
    shape = report.lengths["histogram"]
    caption = "Residues per sequence."
    if report.too_long:
        caption += f" The model reads {report.model_length:,} (dashed); {report.too_long:,} are longer."
    if _has_outliers(shape):
        caption += f" The last bar holds all from {shape['edges'][-2]:,} to {report.lengths['longest']:,}."
    figures = [(caption, _histogram(shape, "residues", report.model_length if report.too_long else None))]
    if report.labels and report.labels.classes:
        largest = dict(sorted(report.labels.classes.items(), key=lambda item: -item[1])[:MOST_CLASSES])
        left = len(report.labels.classes) - len(largest)
        more = f"; {left:,} smaller classes are not shown" if left else ""
        figures.append(
            (f"Classes, counted by {report.labels.unit}{more}.", _bars(largest, report.labels.unit))
        )
    for target, numbers in list(report.labels.numbers.items() if report.labels else ())[:MOST_TARGETS]:
        if numbers["count"]:
            figures.append((f"{numbers['count']:,} labels.", _histogram(numbers["histogram"], target, None)))
    splits = {name: count for name, count in report.counts["splits"].items() if count}
    if splits:
        figures.append(("Rows by split, as the data give it.", _bars(splits, "rows")))
    return figures


def _histogram(shape: Mapping[str, Any], name: str, mark: float | None) -> Figure:
    figure, (axes,) = d.new_figure(5.2, 3.2)
    edges = np.asarray(shape["edges"], float)
    if _has_outliers(shape):
        edges[-1] = edges[-2] + (edges[1] - edges[0])  # drawn as wide as the others
    axes.bar(edges[:-1], shape["counts"], np.diff(edges), align="edge", color=d.BLUE, edgecolor="white")
    if mark is not None and edges[0] <= mark <= edges[-1]:
        axes.axvline(mark, color=d.RED, linestyle="--", linewidth=1.2)
    d.name_axes(axes, name, "count")
    return figure


def _has_outliers(shape: Mapping[str, Any]) -> bool:
    """Whether the last bin is wider than the first: it holds all that are far longer than the others."""
    edges = shape["edges"]
    return len(edges) > 2 and edges[-1] - edges[-2] > 1.01 * (edges[1] - edges[0])


def _bars(counts: Mapping[str, int], unit: str) -> Figure:
    figure, (axes,) = d.new_figure(5.2, max(1.4, 0.6 + 0.22 * len(counts)))
    axes.barh(range(len(counts)), list(counts.values()), color=d.BLUE)
    axes.invert_yaxis()
    d.label_ticks(axes, list(counts))
    d.name_axes(axes, unit, "")
    return figure


def _numbers(report: DataReport) -> dict[str, Any]:
    lengths = {key: value for key, value in report.lengths.items() if key != "histogram"}
    files = {file["path"]: f"{file['size']:,} bytes {file['split']}".strip() for file in report.files}
    known = {key: value for key, value in report.columns.items() if value}
    keys = ("rows_read", "used", "rejected", "duplicates", "contradictory", "total_residues")
    found = {key: report.counts[key] for key in keys}
    return {
        **found,
        "columns": known,
        "lengths": lengths,
        "empty cells": report.counts["empty_cells"],
        "files": files,
    }
