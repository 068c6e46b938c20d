"""Curves and bars for the page; plotly is imported when the first one is drawn.

Colours are Okabe & Ito's (https://jfly.uni-koeln.de/color/), told apart with any colour vision; each curve
also has its own dash.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profactory.web.markup import safe
from profactory.web.words import Words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4d4d4d", "#8c6d00")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MOST_POINTS = 600
MOST_CURVES = 5
MOST_BARS = 30
HEIGHT = 300
_GREY = "#6b7280"
_SMALL = {"size": 11}
#: Metrics with a common scale, which may share a figure.
_BOUNDED = ("mcc", "accuracy", "balanced_accuracy", "f1_macro", "auroc", "f1_max", "f1_micro", "auprc",
            "spearman", "pearson", "r2")  # fmt: skip

Events = Sequence[Mapping[str, Any]]


def loss_chart(events: Events, words: Words) -> Figure | None:
    """Draw training and validation loss over optimizer steps; None before there is any."""
    steps = [event for event in events if event.get("event") == "step"]
    rows = _evaluations(events)
    training = _points((row.get("step"), row.get("loss")) for row in steps)
    validation = _points((row.get("step"), (row.get("metrics") or {}).get("loss")) for row in rows)
    curves = [
        _curve(training, words("chart.training"), 1, mode="lines", width=1.0),
        _curve(validation, words("chart.validation"), 0, mode="lines+markers"),
    ]
    return _figure(curves, words("chart.step"), "", title=words("chart.loss"), best=_best_step(rows))


def metric_chart(events: Events, monitor: str, words: Words) -> Figure | None:
    """Draw the validation metrics, the one that chooses the best epoch first; None before there are any."""
    rows = _evaluations(events)
    names = list(dict.fromkeys(name for row in rows for name in row.get("metrics") or {} if name != "loss"))
    first = [monitor] if monitor in names else names[:1]
    shown = [*first, *(n for n in _BOUNDED if n in names and n not in first)] if first[:1] != [] else []
    if first and first[0] not in _BOUNDED:
        shown = first  # an error in the label's units has no scale in common with the others
    curves = [
        _curve(
            _points((row.get("step"), (row.get("metrics") or {}).get(name)) for row in rows),
            _short(words.metric(name)),
            place,
            mode="lines+markers",
            width=2.5 if place == 0 else 1.5,
        )
        for place, name in enumerate(shown[:MOST_CURVES])
    ]
    return _figure(curves, words("chart.step"), "", title=words("chart.metrics"), best=_best_step(rows))


def comparison_chart(
    runs: Mapping[str, Events], metric: str, words: Words, *, title: str = ""
) -> Figure | None:
    """Draw one validation metric (or ``loss``) of several runs over epochs."""
    curves = [
        _curve(
            _points(
                (row.get("epoch"), (row.get("metrics") or {}).get(metric)) for row in _evaluations(events)
            ),
            name,
            place,
            mode="lines+markers",
        )
        for place, (name, events) in enumerate(runs.items())
    ]
    return _figure(curves, words("chart.epoch"), "", title=title or words.metric(metric))


def bars(counts: Mapping[str, float], axis: str) -> Figure:
    """Draw counts by name, the largest on top; beyond thirty the rest is one bar."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rest = sum(count for _, count in ordered[MOST_BARS:])
    shown = ordered[:MOST_BARS] + ([(f"… {len(ordered) - MOST_BARS}", rest)] if rest else [])
    names, values = [safe(name)[:60] for name, _ in shown], [count for _, count in shown]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": list(range(len(values))),
        "marker": {"color": COLOURS[0]},
        "text": [f"{value:,}" if value == int(value) else f"{value:.4g}" for value in values],
        "textposition": "auto",
        "hovertext": names,
        "hoverinfo": "text+x",
    }
    layout = _layout(axis, "", height=90 + 26 * len(values))
    layout["yaxis"] |= {
        "tickvals": trace["y"],
        "ticktext": names,
        "autorange": "reversed",
        "automargin": True,
    }
    return _make([trace], layout)


def histogram(edges: Sequence[float], counts: Sequence[int], axis: str, words: Words) -> Figure:
    """Draw counts between edges."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    trace = {
        "type": "bar",
        "x": middles,
        "y": list(counts),
        "width": [high - low for low, high in itertools.pairwise(edges)],
        "marker": {"color": COLOURS[0], "line": {"color": "white", "width": 1}},
        "hovertext": [f"{low:g} – {high:g}" for low, high in itertools.pairwise(edges)],
        "hoverinfo": "text+y",
    }
    return _make([trace], _layout(axis, words("chart.count")))


def _short(name: str) -> str:
    """Return the name of a metric without the English term behind it: legends are narrow."""
    return re.sub(r"（[A-Z][A-Za-z0-9² -]*）$", "", name)


def _evaluations(events: Events) -> list[Mapping[str, Any]]:
    return [event for event in events if event.get("event") == "evaluation"]


def _best_step(rows: Events) -> float | None:
    improved = [row.get("step") for row in rows if row.get("improved")]
    return float(improved[-1]) if improved and isinstance(improved[-1], int | float) else None


def _points(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[float, float]]:
    """Return the pairs that are numbers, thinned out evenly to a number that a browser draws at once."""
    found = [(float(x), float(y)) for x, y in pairs if _is_number(x) and _is_number(y)]
    step = math.ceil(len(found) / MOST_POINTS) if found else 1
    return found[::step] + (found[-1:] if (len(found) - 1) % step else [])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _curve(
    points: Sequence[tuple[float, float]], name: str, place: int, *, mode: str, width: float = 2.0
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": mode,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "name": safe(name),
        "line": {
            "color": COLOURS[place % len(COLOURS)],
            "dash": "solid" if mode == "lines" else DASHES[place % len(DASHES)],
            "width": width,
        },
        "marker": {"size": 6},
    }


def _figure(
    curves: Sequence[dict[str, Any]], x: str, y: str, *, title: str, best: float | None = None
) -> Figure | None:
    if not any(curve["x"] for curve in curves):
        return None
    layout = _layout(x, y, title=title)
    if best is not None:
        line = {"color": _GREY, "width": 1, "dash": "dash"}
        layout["shapes"] = [
            {"type": "line", "x0": best, "x1": best, "yref": "paper", "y0": 0, "y1": 1, "line": line}
        ]
    return _make([curve for curve in curves if curve["x"]], layout)


def _layout(x: str, y: str, *, title: str = "", height: int = HEIGHT) -> dict[str, Any]:
    axis = {"gridcolor": "rgba(138,143,152,.25)", "zeroline": False, "fixedrange": True, "automargin": True}
    return {
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 40 if title else 14, "b": 10},
        "title": {
            "text": f"<b>{safe(title)}</b>",
            "font": {"size": 14},
            "x": 0.01,
            "y": 0.98,
            "yanchor": "top",
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 12, "color": _GREY},
        "xaxis": {**axis, "title": {"text": safe(x)}, **({"rangemode": "tozero"} if title else {})},
        "yaxis": {**axis, "title": {"text": safe(y)}},
        # Below the axis: on a narrow screen its lines would cover a title.
        "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "font": _SMALL},
        "hovermode": "closest",
        "showlegend": True,
        "uirevision": "same",
    }


def _make(traces: list[dict[str, Any]], layout: dict[str, Any]) -> Figure:
    from plotly.graph_objects import Figure

    layout["showlegend"] = any("name" in trace for trace in traces)
    return Figure(data=traces, layout=layout)
