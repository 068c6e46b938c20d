"""What went well and what did not in a training: findings with evidence and the flag that would help.

A pure function of the run's events and metrics; the rules and their thresholds stand in
:mod:`profactory.evaluation.symptoms`. Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from profactory.evaluation import symptoms
from profactory.evaluation.course import Course, read_course
from profactory.evaluation.symptoms import Finding

HEALTHY = "Nothing unusual was found in the course of the training."
CURVES: dict[str, Callable[[Course], Finding | None]] = {
    check.__name__: check
    for check in (
        symptoms.learning_rate_too_high,
        symptoms.unstable_loss,
        symptoms.overfitting,
        symptoms.learning_rate_too_low,
        symptoms.underfitting,
    )
}
#: A finding explains these away: they are not looked for beside it.
EXPLAINS = {
    "learning_rate_too_high": ("unstable_loss", "underfitting", "learning_rate_too_low", "overfitting"),
    "learning_rate_too_low": ("underfitting",),
}


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked for in a training.

    Parameters
    ----------
    findings
        What was found.
    not_checked
        What could not be looked for, with the reason.
    """

    findings: tuple[Finding, ...]
    not_checked: Mapping[str, str]

    @property
    def paragraph(self) -> str:
        """The diagnosis for people, a line for each finding."""
        found = [f"{finding.sentence} Try {', or '.join(finding.remedies)}." for finding in self.findings]
        return "\n".join([*(found or [HEALTHY]), self.skipped]).rstrip()

    @property
    def skipped(self) -> str:
        """What could not be looked for and why; empty if everything could."""
        by_reason: dict[str, list[str]] = {}
        for kind, reason in self.not_checked.items():
            by_reason.setdefault(reason, []).append(kind.replace("_", " "))
        parts = [f"{', '.join(kinds)} ({reason})" for reason, kinds in by_reason.items()]
        return f"Not looked for: {'; '.join(parts)}." if parts else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``diagnosis.json``."""
        return {
            "healthy": not self.findings,
            "paragraph": self.paragraph,
            "findings": [asdict(finding) for finding in self.findings],
            "not_checked": dict(self.not_checked),
        }


def diagnose(
    events: Iterable[Mapping[str, Any]],
    metrics: Mapping[str, Any],
    *,
    reference_loss: float | None = None,
    settings: Mapping[str, Any] | None = None,
    leakage: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """Look for everything that can be seen from the outside of a training.

    Parameters
    ----------
    events
        Of the run's ``events.jsonl``.
    metrics
        Content of ``metrics.json``.
    reference_loss
        Training loss of predicting the same for everything.
    settings
        ``learning_rate``, ``epochs``, ``method``, ``optimizer``, ``dropout`` of the run.
    leakage
        How near test sequences are to training sequences, if that was looked at.
    """
    course = read_course(events, reference_loss=reference_loss, settings=settings or {})
    findings, not_checked = _curves(course)
    if (collapse := _collapse(metrics)) is not None:
        findings.append(collapse)
    if "test" in metrics and "validation" in metrics:
        below = symptoms.test_below_validation(metrics, leakage)
        findings += [below] if below else []
    else:
        not_checked["test_below_validation"] = "there are not both a test and a validation set"
    return Diagnosis(tuple(findings), not_checked)


def _curves(course: Course) -> tuple[list[Finding], dict[str, str]]:
    count = len(course.history)
    if count < symptoms.FEWEST_EVALUATIONS:
        reason = f"there are {count} evaluations; {symptoms.FEWEST_EVALUATIONS} are needed"
        return [], dict.fromkeys(CURVES, reason)
    if not course.readable:
        return [], dict.fromkeys(CURVES, "a loss is not known at every evaluation")
    found: dict[str, Finding] = {}
    for kind, check in CURVES.items():
        if any(kind in EXPLAINS.get(other, ()) for other in found):
            continue
        if (finding := check(course)) is not None:
            found[kind] = finding
    return list(found.values()), {}


def _collapse(metrics: Mapping[str, Any]) -> Finding | None:
    split = next((name for name in ("validation", "test") if name in metrics.get("per_class", {})), None)
    if split is None:
        return None
    table, exclusive = metrics["per_class"][split], "multi_label" not in metrics["task"]
    counts = metrics["counts"][split]
    rows = sum(row["predicted"] for row in table) if exclusive else counts.get("residues", counts["proteins"])
    return symptoms.class_collapse(table, split, rows, exclusive=exclusive)
