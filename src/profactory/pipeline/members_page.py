"""The page about several trainings: each one's curve, its metrics, and the way to its files."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from profactory.evaluation.drawing import BLUE, RED, name_axes, new_figure, png_of
from profactory.evaluation.formats import number
from profactory.evaluation.history import History, read_history
from profactory.evaluation.names import label_of
from profactory.files import atomic_write_text
from profactory.runs import Run

PAGE = "members.html"
_SHOWN = ("log.txt", "events.jsonl", "report/metrics.json", "report/diagnosis.json",
          "report/predictions_validation.csv", "report/predictions_test.csv")  # fmt: skip


@dataclass(frozen=True)
class MemberRow:
    """One line of the table.

    Parameters
    ----------
    name
        Of the member.
    place
        Its run directory, as seen from the page.
    kept
        Which weights were kept.
    metrics
        Measured on the split that the table is about; NaN where undefined.
    files
        What can be looked at, as seen from its run directory.
    """

    name: str
    place: str
    kept: str
    metrics: Mapping[str, float]
    files: tuple[str, ...]


def write_members_page(
    folder: Path, places: Mapping[str, Path], metrics: Mapping[str, Mapping[str, float]], split: str
) -> None:
    """Write ``members.html``.

    Parameters
    ----------
    folder
        Of the report of the whole.
    places
        Run directory of each member.
    metrics, split
        What each measured on a split, and its name.
    """
    histories = {name: read_history(Run(place).events()) for name, place in places.items()}
    rows = [_row(folder, name, place, histories[name], metrics[name]) for name, place in places.items()]
    environment = Environment(
        loader=PackageLoader("profactory.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "label": label_of}
    page = environment.get_template("members.html.j2").render(
        rows=rows,
        names=list(rows[0].metrics),
        split=split,
        image=base64.b64encode(_curves(list(histories.values()))).decode("ascii"),
    )
    atomic_write_text(folder / PAGE, page)


def _row(folder: Path, name: str, place: Path, history: History, metrics: Mapping[str, float]) -> MemberRow:
    kept = "the last step" if history.best is None else f"step {history.steps[history.best]:,}"
    files = tuple(file for file in _SHOWN if (place / file).is_file())
    return MemberRow(name, Path(os.path.relpath(place, folder)).as_posix(), kept, metrics, files)


def _curves(histories: Sequence[History]) -> bytes:
    """Draw the validation loss of every member, and where its weights were kept."""
    figure, (axes,) = new_figure(7.0, 3.6)
    for history in histories:
        axes.plot(history.steps, history.validation_loss, color=BLUE, alpha=0.5, linewidth=1.2)
        if history.best is not None and math.isfinite(history.validation_loss[history.best]):
            kept = history.best
            axes.plot([history.steps[kept]], [history.validation_loss[kept]], "o", color=RED, markersize=4)
    name_axes(axes, "optimizer step", "validation loss", "Every model; the dot is what was kept")
    return png_of(figure)
