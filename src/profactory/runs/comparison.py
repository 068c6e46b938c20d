"""Runs beside each other: in what they differ, and what they measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profactory.config import TrainConfig
from profactory.runs.layout import read_object
from profactory.runs.run import Run


@dataclass(frozen=True)
class Comparison:
    """What differs among runs and what was measured.

    Parameters
    ----------
    runs
        Names, in the order given.
    settings
        Setting to its value in each run; only those that are not the same in all of them.
    metrics
        Metric to ``{"value", "low", "high"}`` in each run (None where it was not measured).
    splits
        The rows that each run's metrics are about: test, or validation if it had no test rows.
    """

    runs: list[str]
    settings: dict[str, list[Any]]
    metrics: dict[str, list[Mapping[str, Any] | None]]
    splits: list[str]

    def by_run(self) -> list[dict[str, Any]]:
        """Return one object per run as JSON-ready values."""
        return [
            {
                "run": name,
                "split": self.splits[i],
                "settings": {key: values[i] for key, values in self.settings.items()},
                "metrics": {key: entries[i] for key, entries in self.metrics.items() if entries[i]},
            }
            for i, name in enumerate(self.runs)
        ]


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs by the settings that took effect and by their reports.

    Raises
    ------
    RunError
        A file of a run is damaged.
    """
    settings = [_settings(run) for run in runs]
    names = list(dict.fromkeys(name for entry in settings for name in entry))
    values = {name: [entry.get(name) for entry in settings] for name in names}
    measured = [_measured(run) for run in runs]
    metrics = list(dict.fromkeys(name for _, entries in measured for name in entries))
    short = [run.path.name for run in runs]
    return Comparison(
        short if len(set(short)) == len(runs) else [str(run.path) for run in runs],
        {name: row for name, row in values.items() if any(value != row[0] for value in row)},
        {name: [entries.get(name) for _, entries in measured] for name in metrics},
        [split for split, _ in measured],
    )


def metrics_of(run: Run) -> dict[str, Any]:
    """Return ``report/metrics.json``; empty if nothing was measured yet."""
    path = run.report_dir / "metrics.json"
    return read_object(path) if path.is_file() else {}


def _settings(run: Run) -> dict[str, Any]:
    """Return what was asked, the defaults, and over both of them what was chosen when it began."""
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    noted = run.path / "data.json"
    chosen = read_object(noted).get("choices") if noted.is_file() else None
    choices = {k: v for k, v in chosen.items() if k != "reasons"} if isinstance(chosen, dict) else {}
    found = {**defaults, **run.config(), **choices}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def _measured(run: Run) -> tuple[str, dict[str, Any]]:
    metrics = metrics_of(run)
    split = next((name for name in ("test", "validation") if isinstance(metrics.get(name), dict)), "")
    entries = metrics[split] if split else {}
    return split, {
        name: entry
        for name, entry in entries.items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), int | float)
    }
