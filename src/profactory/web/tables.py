"""A look into tables: their first rows, and what a column of predictions holds."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.data.bundled import bundled_path
from profactory.data.reading import open_table
from profactory.data.sources import find_sources
from profactory.web import charts, markup
from profactory.web.words import Words
from profactory.web.workspace import is_public

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PREVIEWED = 6
COUNTED = 100_000
CELL = 48
_BINS = 30


def first_rows(source: str, count: int = PREVIEWED) -> tuple[list[str], list[list[str]]]:
    """Return the column names and the first rows of the first file of a data set.

    Raises
    ------
    DataError
        It cannot be read.
    """
    file = bundled_path(source) or find_sources(source)[0].path
    table = open_table(file)
    rows = (row for chunk in table.chunks() for row in chunk.columns.to_pylist())
    return list(table.columns), [
        [_short(row.get(name) or "") for name in table.columns] for row in itertools.islice(rows, count)
    ]


def _short(text: str) -> str:
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"


def preview(source: str, words: Words) -> str:
    """Show the first rows of a data set; one of the Hub is fetched only when work starts."""
    if is_public(source):
        return markup.note(words("data.public", name=source))
    names, rows = first_rows(source)
    return markup.table(names, rows, caption=words("data.preview", count=len(rows)), kind="pf-preview")


def summary_chart(file: Path, kind: str, words: Words) -> Figure | None:
    """Draw what was predicted: how often each class, or how the numbers are spread.

    Parameters
    ----------
    file
        Table with a column ``prediction``; its first 100,000 rows count.
    kind
        The task; told by the table where it is empty.
    words
        Names of the axes.
    """
    kind = kind or _kind_of(file)
    cells = itertools.islice(_column(file, "prediction"), COUNTED)
    if kind.endswith("regression"):
        return _spread(_numbers(cells), words)
    counts = Counter(itertools.chain.from_iterable(_classes(cell, kind) for cell in cells if cell))
    return charts.bars(counts, words("chart.count")) if counts else None


def _kind_of(file: Path) -> str:
    """Tell by a table of predictions what was predicted."""
    first = next((cell for cell in _column(file, "prediction") if cell), "")
    if any(name.startswith("probability_") for name in open_table(file).columns):
        return "multi_label_classification" if "," in first else "single_label_classification"
    return "regression" if _numbers([first]) else "residue_classification"  # numbers of residues are numbers


def _column(file: Path, name: str) -> Iterable[str]:
    table = open_table(file)
    if name not in table.columns:
        return
    for chunk in table.chunks():
        yield from chunk.columns.column(name).to_pylist()


def _classes(cell: str, kind: str) -> Sequence[str]:
    if kind == "single_label_classification":
        return [cell]
    if kind == "residue_classification" and "," not in cell:
        return list(cell)
    return [part for part in re.split("[,|]" if kind.startswith("residue_") else ",", cell) if part]


def _numbers(cells: Iterable[str | None]) -> list[float]:
    found = []
    for cell in cells:
        for part in (cell or "").split(","):
            try:
                found.append(float(part))
            except ValueError:
                continue  # empty: a row or a residue without a prediction
    return [number for number in found if math.isfinite(number)]


def _spread(numbers: Sequence[float], words: Words) -> Figure | None:
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    width = (high - low) / _BINS or 1.0
    counts = Counter(min(_BINS - 1, int((number - low) / width)) for number in numbers)
    edges = [low + place * width for place in range(_BINS + 1)]
    return charts.histogram(edges, [counts[place] for place in range(_BINS)], words("predict.value"), words)


def probabilities(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the probabilities of a prediction of a whole protein, by class."""
    prefix = "probability_"
    return {
        name.removeprefix(prefix): float(value)
        for name, value in record.items()
        if name.startswith(prefix) and isinstance(value, int | float)
    }
