"""Did the language model earn its keep? One sentence, from a paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profactory.evaluation.formats import number
from profactory.evaluation.intervals import Interval, paired_difference
from profactory.evaluation.metrics import Scores
from profactory.evaluation.names import label_of
from profactory.tasks import Task, Values

_AGAINST = {
    "composition": "amino-acid composition",
    "majority": "the majority of the training labels",
}


Scored = tuple[Values, Scores]


@dataclass(frozen=True)
class Verdict:
    """A comparison with a baseline.

    Parameters
    ----------
    outcome
        ``better``, ``worse``, ``unclear`` (the interval holds 0) or ``unknown``.
    sentence
        The same for people.
    """

    metric: str
    against: str
    difference: Interval
    outcome: str
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description; undefined numbers are None."""
        parts = {
            "difference": self.difference.value,
            "low": self.difference.low,
            "high": self.difference.high,
        }
        finite = {name: value if value == value else None for name, value in parts.items()}
        return {"metric": self.metric, "against": self.against, **finite, "outcome": self.outcome,
                "sentence": self.sentence}  # fmt: skip


def compare(
    task: Task,
    targets: Values,
    model: Scored,
    baselines: Mapping[str, Scored],
    metric: str,
    *,
    seed: int = 0,
) -> Verdict | None:
    """Compare with the composition baseline, or with the majority if there is no other; None without any.

    `model` and `baselines` are outputs with the scores computed from them.
    """
    against = next((name for name in ("composition", "majority") if name in baselines), None)
    if against is None:
        return None
    other = baselines[against]
    exact = (model[1].values, other[1].values)
    difference = paired_difference(task, targets, model[0], other[0], metric, seed=seed, exact=exact)
    windowed = task.per_residue and against == "composition"
    what = "a linear model on windows of 15 residues" if windowed else _AGAINST[against]
    outcome = _outcome(difference, task.mode_of(metric))
    sentence = _sentence(outcome, metric, [values[metric] for values in exact], difference, what)
    return Verdict(metric, against, difference, outcome, sentence)


def _outcome(difference: Interval, mode: str) -> str:
    low, high = (difference.low, difference.high) if mode == "max" else (-difference.high, -difference.low)
    if low != low or high != high:
        return "unknown"
    return "better" if low > 0 else "worse" if high < 0 else "unclear"


def _sentence(outcome: str, metric: str, values: list[float], difference: Interval, what: str) -> str:
    name = label_of(metric)
    if outcome == "unknown":
        return f"Whether the language model beats {what} cannot be told: {name} is not defined for both."
    model, other = number(values[0]), number(values[1])
    low, high = number(difference.low, sign=True), number(difference.high, sign=True)
    gap = f"{number(difference.value, sign=True)} (95 % interval {low} to {high})"
    if outcome == "better":
        return f"The language model earns its keep: {name} {model} against {other} of {what}, {gap}."
    if outcome == "worse":
        return f"The language model does not earn its keep: {name} {model} against {other} of {what}, {gap}."
    return f"No clear gain over {what}: {name} {model} against {other}, {gap}; more test data would tell."
