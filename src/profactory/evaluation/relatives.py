"""How much of a score rests on relatives of the test sequences in train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from profactory.evaluation import drawing as d
from profactory.evaluation.formats import MISSING, interval, number
from profactory.evaluation.names import label_of

ENOUGH = 10  # sequences of which a score says something
RELATED = 0.5  # identity from which two sequences are taken for relatives
MANY = 0.1  # share of the test sequences with relatives from which a lower score without them is a warning

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Relatives:
    """The nearest training sequences of a report's main split.

    Parameters
    ----------
    identity
        Of sequences of the split to their nearest training sequence, 0 where none was found; shape ``(m,)``.
    subsets
        Positions in the split of the sequences below each limit, by ``"below_30"`` etc., lowest first.
    summary
        What goes to ``metrics.json`` beside the scores; has ``note``, ``warning``, ``exact_duplicates``.
    """

    identity: NDArray[np.float32]
    subsets: Mapping[str, NDArray[np.int64]]
    summary: Mapping[str, Any]


def score_relatives(
    relatives: Relatives,
    whole: Entries,
    metric: str,
    score_rows: Callable[[NDArray[np.int64]], Entries],
) -> dict[str, Any]:
    """Measure the subsets and say what is at stake.

    Parameters
    ----------
    relatives
        Of the split.
    whole
        Its metrics, as in ``metrics.json``.
    metric
        The main one.
    score_rows
        Returns the metrics of some rows of the split.

    Returns
    -------
    dict
        The summary, and ``scores``: by subset the number of ``rows`` and, of at least 10, their ``metrics``;
        ``at_stake`` with the difference between all and the least related; ``warning``.
    """
    scores = {
        name: {"rows": len(rows), "metrics": score_rows(rows) if len(rows) >= ENOUGH else {}}
        for name, rows in relatives.subsets.items()
    }
    stake = _at_stake(whole[metric], scores, metric)
    reason = _reason(relatives, stake)
    warning = f"{reason} {_stake_sentence(stake)}".strip() if reason else ""
    return {**relatives.summary, "scores": scores, "at_stake": stake, "warning": warning}


def _at_stake(whole: Mapping[str, Any], scores: Entries, metric: str) -> dict[str, Any] | None:
    """Compare all with the least related sequences that are enough; None if there are none."""
    for name, found in scores.items():
        entry = found["metrics"].get(metric, {"value": None})
        if whole["value"] is not None and entry["value"] is not None:
            known = {key: entry[key] for key in ("value", "low", "high")}
            difference = whole["value"] - entry["value"]
            return {"metric": metric, "subset": name, "rows": found["rows"], **known,
                    "all": whole["value"], "all_low": whole["low"], "difference": difference}  # fmt: skip
    return None


def _reason(relatives: Relatives, stake: Mapping[str, Any] | None) -> str:
    """Return why to warn: near duplicates, or a score that is surely lower without relatives."""
    if relatives.summary["warning"]:
        return str(relatives.summary["warning"])
    related = float((relatives.identity >= RELATED).mean()) if len(relatives.identity) else 0.0
    if stake is None or related < MANY or stake["high"] is None or stake["all_low"] is None:
        return ""
    if stake["high"] >= stake["all_low"]:
        return ""
    return f"{100 * related:.0f} % of the test sequences have a relative of at least 50 % identity in train."


def _stake_sentence(stake: Mapping[str, Any] | None) -> str:
    if stake is None:
        return ""  # too few are less alike
    name, limit = label_of(stake["metric"]), stake["subset"].removeprefix("below_")
    found = f"{number(stake['value'])} ({interval(stake['low'], stake['high'])})"
    start = f"On the {stake['rows']:,} test sequences below {limit} % identity to train, {name} is {found}"
    if stake["difference"] <= 0:
        return f"{start}, no lower than the {number(stake['all'])} of all."
    return (
        f"{start} instead of {number(stake['all'])}:"
        f" {number(stake['difference'])} of the score rests on relatives in train."
    )


def subset_rows(leakage: Mapping[str, Any], whole: Entries, metric: str, rows: int) -> list[dict[str, Any]]:
    """Return the lines of the report's table: how many sequences, and the main metric on them."""
    lines = [_line("any", rows, whole[metric])]
    for name, found in reversed(leakage["scores"].items()):
        entry = found["metrics"].get(metric)
        lines.append(_line(f"below {name.removeprefix('below_')} %", found["rows"], entry))
    return lines


def _line(name: str, rows: int, entry: Mapping[str, Any] | None) -> dict[str, Any]:
    if entry is None:
        return {"name": name, "rows": rows, "value": "too few" if rows else MISSING, "range": ""}
    return {"name": name, "rows": rows, "value": number(entry["value"]),
            "range": interval(entry["low"], entry["high"])}  # fmt: skip


def identity_histogram(relatives: Relatives) -> Figure | None:
    """Draw how alike the test sequences are to their nearest training sequence."""
    if not len(relatives.identity):
        return None
    figure, (axes,) = d.new_figure(5.2, 3.2)
    found = relatives.identity[relatives.identity > 0]
    nothing = len(relatives.identity) - len(found)
    axes.hist(100 * found, bins=list(range(0, 101, 5)), color=d.BLUE, edgecolor="white", linewidth=0.4)
    if nothing:
        axes.bar(0, nothing, width=5, align="edge", color=d.GREY, label=f"no relative found ({nothing:,})")
        d.show_legend(axes)
    axes.set_xlim(0, 100)
    d.name_axes(axes, "identity to the nearest training sequence (%)", "test sequences", "Relatives in train")
    return figure
