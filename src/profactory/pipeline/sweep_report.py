"""The trials of a sweep for people and programs: table, plot, page."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from profactory.config.search import Search
from profactory.data.writing import open_writer
from profactory.evaluation.drawing import BLUE, GREY, RED, name_axes, new_figure, png_of
from profactory.evaluation.formats import number
from profactory.evaluation.names import label_of
from profactory.files import atomic_write_bytes, atomic_write_json, atomic_write_text

_PANELS = 3  # side by side


@dataclass(frozen=True)
class TrialRow:
    """One line of the table.

    Parameters
    ----------
    name
        Of its folder.
    state
        ``finished``, ``ended early`` (others did better) or ``failed``.
    value
        Best validation value; None unless finished.
    tried
        What it tried; None where a setting had no meaning.
    reason
        Why it failed.
    path
        Its run directory.
    """

    name: str
    state: str
    value: float | None
    tried: dict[str, Any]
    reason: str
    path: Path


def report_trials(folder: Path, rows: Sequence[TrialRow], search: Search, monitor: str, winner: str) -> None:
    """Write ``trials.csv``, ``sweep.json``, ``sweep.png`` and ``sweep.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {
        "trial": [row.name for row in rows],
        "state": [row.state for row in rows],
        f"validation_{monitor}": [row.value for row in rows],
        **{name: [row.tried[name] for row in rows] for name in search.tried},
        "reason": [row.reason for row in rows],
    }
    with open_writer(folder / "trials.csv", list(columns)) as writer:
        writer.write(columns)
    plain = [
        {"trial": row.name, "state": row.state, "value": row.value, **row.tried, "reason": row.reason}
        for row in rows
    ]
    about = {"monitor": monitor, "tried": search.tried, "fixed": search.fixed, "winner": winner}
    atomic_write_json(folder / "sweep.json", {**about, "trials": plain})
    image = _figure(rows, search, monitor, winner)
    atomic_write_bytes(folder / "sweep.png", image)
    atomic_write_text(folder / "sweep.html", _page(folder, rows, search, monitor, winner, image))


def _figure(rows: Sequence[TrialRow], search: Search, monitor: str, winner: str) -> bytes:
    """Draw the value of every finished trial, by number and against everything that was tried."""
    panels = 1 + len(search.tried)
    across = min(panels, _PANELS)
    down = -(-panels // across)
    figure, axes = new_figure(4.2 * across, 3.2 * down, across, down)
    numbers = [int(row.name.rpartition("-")[2]) for row in rows]
    _scatter(axes[0], rows, numbers, winner)
    name_axes(axes[0], "trial", label_of(monitor), "validation")
    for one, name in zip(axes[1:], search.tried, strict=False):
        values = [row.tried[name] for row in rows]
        span = search.ranges.get(name)
        _scatter(
            one, rows, values if span else ["-" if value is None else str(value) for value in values], winner
        )
        if span and span.log:
            one.set_xscale("log")
            one.xaxis.set_minor_formatter(NullFormatter())
        name_axes(one, name, label_of(monitor))
    for one in axes[panels:]:
        one.set_visible(False)
    return png_of(figure)


def _scatter(axes: Axes, rows: Sequence[TrialRow], places: Sequence[Any], winner: str) -> None:
    for row, place in zip(rows, places, strict=True):
        if row.value is not None and place is not None:
            best = row.name == winner
            axes.plot([place], [row.value], "o", color=RED if best else BLUE, alpha=1 if best else 0.6)
    if isinstance(places[0], str):
        axes.tick_params(axis="x", rotation=20, colors=GREY)


def _page(
    folder: Path, rows: Sequence[TrialRow], search: Search, monitor: str, winner: str, image: bytes
) -> str:
    environment = Environment(
        loader=PackageLoader("profactory.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    return environment.get_template("sweep.html.j2").render(
        rows=ranked(rows, winner),
        places={row.name: Path(os.path.relpath(row.path, folder)).as_posix() for row in rows},
        tried=search.tried,
        fixed=search.fixed,
        metric=label_of(monitor),
        winner=winner,
        image=base64.b64encode(image).decode("ascii"),
    )


def ranked(rows: Sequence[TrialRow], winner: str) -> list[TrialRow]:
    """Return the trials from best to worst, those without a value last."""
    done = sorted((row for row in rows if row.value is not None), key=lambda row: row.value or 0.0)
    if done and done[0].name != winner:
        done.reverse()
    return [*done, *(row for row in rows if row.value is None)]
