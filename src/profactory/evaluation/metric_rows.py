"""The content of ``metrics.json`` as rows for people. Needs nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profactory.evaluation.formats import interval, number
from profactory.evaluation.names import label_of


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per metric: its name, value and interval per split, value per baseline."""
    main = metrics["main_split"]
    rows = []
    for name, entry in metrics[main].items():
        cells = [metrics[split][name] for split in measured_splits(metrics)]
        threshold = entry.get("threshold")
        rows.append(
            {
                "name": label_of(name),
                "key": name,
                "main": name == metrics["main_metric"],
                "cells": [(number(c["value"]), interval(c["low"], c["high"])) for c in cells],
                "baselines": [number(found[name]["value"]) for found in metrics["baselines"].values()],
                "remark": entry.get("reason")
                or (f"at threshold {number(threshold)}" if threshold is not None else ""),
            }
        )
    return rows


def measured_splits(metrics: Mapping[str, Any]) -> list[str]:
    """Return the splits that were measured, the one that the report is about first."""
    main = metrics["main_split"]
    return [main, *(name for name in metrics["counts"] if name != main)]
