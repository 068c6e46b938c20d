"""Tables of measured values, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profactory.cli.terminal import table
from profactory.runs.comparison import Comparison


def metric_table(metrics: Mapping[str, Any]) -> str:
    """Lay out ``report/metrics.json``: one row per metric, the interval beside it, then the baselines.

    Parameters
    ----------
    metrics
        ``{"test": {"mcc": {"value", "low", "high"}}, "baselines": {"majority": {...}}}``, and with folds or
        seeds ``"members": {"metrics": {"mcc": {"mean", "deviation", "low", "high"}}}``.
    """
    split = next((name for name in ("test", "validation", *metrics) if _is_measured(metrics.get(name))), None)
    if split is None:
        return "Nothing was measured."
    baselines = metrics.get("baselines") or {}
    members = (metrics.get("members") or {}).get("metrics") or {}
    called, rows = str(metrics.get("measured_on") or split), []
    for name, entry in metrics[split].items():
        if not _is_number(entry):
            continue
        row: dict[str, object] = {called: name, "value": entry["value"], "95 % interval": _interval(entry)}
        if members:
            row |= _single_models(members.get(name))
        for baseline, values in baselines.items():
            row[baseline] = _value(values.get(name)) if isinstance(values, Mapping) else None
        rows.append(row)
    return table(rows)


def trial_table(sweep: Mapping[str, Any]) -> str:
    """Lay out ``report/sweep.json``: the trials that came to an end, from best to worst, then the others."""
    trials = sweep["trials"]
    winner = next(trial for trial in trials if trial["trial"] == sweep["winner"])
    done = sorted((t for t in trials if t["value"] is not None), key=lambda trial: trial["value"])
    ranked = done if done[0]["value"] == winner["value"] else done[::-1]
    rest = [trial for trial in trials if trial["value"] is None]
    rows = [
        {
            "trial": trial["trial"],
            f"validation {sweep['monitor']}": trial["value"],
            **{name: _text(trial[name]) for name in sweep["tried"]},
            "": trial["reason"] or ("" if trial["state"] == "finished" else trial["state"]),
        }
        for trial in [*ranked, *rest]
    ]
    return table(rows)


def comparison_table(compared: Comparison) -> str:
    """Lay out runs beside each other: one column per run, settings that differ, then metrics."""
    rows = [
        {"": name, **dict(zip(compared.runs, map(_text, row), strict=True))}
        for name, row in compared.settings.items()
    ]
    rows.append({"": "measured on", **dict(zip(compared.runs, compared.splits, strict=True))})
    for name, entries in compared.metrics.items():
        shown = [_measured(entry) if entry else "" for entry in entries]
        rows.append({"": name, **dict(zip(compared.runs, shown, strict=True))})
    return table(rows)


def _measured(entry: Mapping[str, Any]) -> str:
    between = _interval(entry)
    return f"{_value(entry):.3f}" + (f" ({between})" if between else "")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _single_models(summary: Mapping[str, Any] | None) -> dict[str, object]:
    """Say what the members of an ensemble measured one by one."""
    if not summary:
        return {"single models": "", "their mean": ""}
    return {
        "single models": f"{summary['mean']:.3f} ± {summary['deviation']:.3f}",
        "their mean": _interval(summary),
    }


def _is_measured(entry: Any) -> bool:
    return isinstance(entry, Mapping) and any(_is_number(value) for value in entry.values())


def _is_number(entry: Any) -> bool:
    return isinstance(entry, Mapping) and "value" in entry


def _value(entry: Any) -> float | None:
    found = entry.get("value") if isinstance(entry, Mapping) else entry
    return float(found) if isinstance(found, int | float) else None


def _interval(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    return f"{low:.3f} - {high:.3f}" if isinstance(low, float) and isinstance(high, float) else ""
