"""The metrics as a table in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from profactory.evaluation.formats import interval, number
from profactory.evaluation.names import label_of


def summary_table(metrics: Mapping[str, Any]) -> Table:
    """Return metric, value, interval and the baselines' values.

    Parameters
    ----------
    metrics
        Content of ``report/metrics.json``.
    """
    split = metrics["main_split"]
    baselines = metrics.get("baselines") or {}
    table = Table(title=None, header_style="bold", pad_edge=False)
    table.add_column(Text(split))
    for column in ("value", "95 % interval", *baselines):
        table.add_column(Text(column), justify="right")
    for name, entry in metrics[split].items():
        row = [label_of(name), number(entry["value"]), interval(entry["low"], entry["high"])]
        row += [number(found[name]["value"]) for found in baselines.values()]
        style = "bold" if name == metrics["main_metric"] else ""
        table.add_row(*map(Text, row), style=style)
    return table
