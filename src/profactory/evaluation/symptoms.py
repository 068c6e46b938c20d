"""What can be wrong with a training: one function per finding, each pure, each with its evidence.

Rises, falls and gaps of losses are measured in shares of the loss that predicting the same for everything
has (``Course.base``), so that one number serves every task and unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from profactory.evaluation.course import Course, peaks
from profactory.evaluation.formats import number
from profactory.evaluation.names import label_of
from profactory.tasks import MINIMISED

#: Overfitting: validation loss rose by this share of the base since its lowest, while training loss fell.
RISE = 0.10
#: Overfitting as well: the kept weights' training loss is so much lower than their validation loss.
GAP = 0.5
#: Underfitting: even the training loss is above this share of the base.
UNLEARNED = 0.9
#: Learning rate too high: training loss climbed to this multiple of the base, or ended RISE above its lowest.
EXPLODED = 1.5
#: Unstable: so many peaks of the validation loss, of the height SWING; one of the training loss is enough.
PEAKS, SWING = 3, 0.15
#: Learning rate too low: the second half of the work still brought this share of the whole fall (a curve that
#: has levelled off brings little, a straight line brings half) …
STRAIGHT = 0.35
#: … or nothing moved (less than STILL of the base) and no weight can have: all learning rates add up to less.
STILL, EFFORT = 0.01, 0.01
#: Class collapse: one class has this share of the predictions, but at most that share of the labels.
COLLAPSED, COMMON = 0.95, 0.8
#: A class with so many labels is forgotten if it is never predicted; more than half of them are too many.
ENOUGH = 5
#: Test far below validation: the intervals do not touch, the values differ by this (errors: by this share).
FAR = 0.05
FEWEST_EVALUATIONS = 4


@dataclass(frozen=True)
class Finding:
    """Something wrong, how one can see it, and what would help.

    Parameters
    ----------
    kind
        ``overfitting``, ``underfitting``, ``learning_rate_too_high``, ``learning_rate_too_low``,
        ``unstable_loss``, ``class_collapse`` or ``test_below_validation``.
    sentence
        For people, with the numbers.
    evidence
        The numbers.
    remedies
        What to try, the most promising first, as it is typed.
    message
        Which of the sentences of its kind it is; with `evidence` enough to say it in another language.
    """

    kind: str
    sentence: str
    evidence: Mapping[str, Any]
    remedies: tuple[str, ...]
    message: str = ""


def overfitting(course: Course) -> Finding | None:
    """Training loss falls while validation loss rises, or the two are far apart."""
    train, validation, kept = course.train, course.validation, course.kept
    lowest = int(validation.argmin())
    rise = float(validation[-1] - validation[lowest]) / course.base
    fell = train[-1] < train[lowest]
    gap = float(validation[kept] - train[kept]) / course.base
    if not (rise >= RISE and fell) and gap < GAP:
        return None
    evidence = {
        "lowest_validation_loss": float(validation[lowest]),
        "at": course.at(lowest),
        "last_validation_loss": float(validation[-1]),
        "last_training_loss": float(train[-1]),
        "training_loss_of_the_kept_weights": float(train[kept]),
        "validation_loss_of_the_kept_weights": float(validation[kept]),
        "kept_at": course.at(kept),
    }
    rising = rise >= RISE and fell
    if rising:
        what = (
            f"the validation loss rose from {number(validation[lowest])} ({course.at(lowest)}) to"
            f" {number(validation[-1])} while the training loss fell to {number(train[-1])};"
            f" the weights of {course.at(kept)} were kept"
        )
    else:
        what = (
            f"the weights that were kept ({course.at(kept)}) have a training loss of {number(train[kept])}"
            f" and a validation loss of {number(validation[kept])}"
        )
    remedies = _against_overfitting(course.settings)
    return Finding(
        "overfitting", f"Overfitting: {what}.", evidence, remedies, "rising" if rising else "apart"
    )


def _against_overfitting(settings: Mapping[str, Any]) -> tuple[str, ...]:
    dropout = float(settings.get("dropout") or 0.0)
    method = {"full": ("--method lora",), "lora": ("--method freeze",)}.get(str(settings.get("method")), ())
    return (f"--dropout {0.3 if dropout < 0.3 else 0.5}", "--weight-decay 0.1", *method, "more training data")


def underfitting(course: Course) -> Finding | None:
    """Both losses stay near that of predicting the same for everything."""
    lowest = float(course.train.min())
    if not math.isfinite(course.reference) or lowest < UNLEARNED * course.reference:
        return None
    evidence = {"lowest_training_loss": lowest, "loss_of_a_constant_prediction": course.reference}
    frozen = course.settings.get("method") == "freeze"
    return Finding(
        "underfitting",
        f"Underfitting: even on the training data the loss never fell below {number(lowest)}; predicting the"
        f" same for every sequence has {number(course.reference)}.",
        evidence,
        ("--method lora" if frozen else "--lora-rank 16", "a larger --model", "--epochs with a higher number",
         "`profactory check` for wrong labels"),
        "constant",
    )  # fmt: skip


def learning_rate_too_high(course: Course) -> Finding | None:
    """The training loss climbs instead of falling, or was no number at all."""
    train, highest = course.train, int(course.train.argmax())
    lowest, last = float(train.min()), float(train[-1])
    exploded = train[highest] > EXPLODED * course.base
    risen = last - lowest > RISE * course.base
    if not (exploded or risen or course.rollbacks):
        return None
    evidence = {
        "highest_training_loss": float(train[highest]),
        "at": course.at(highest),
        "lowest_training_loss": lowest,
        "last_training_loss": last,
        "loss_to_begin_with": course.base,
        "rollbacks": course.rollbacks,
        "learning_rate": course.settings.get("learning_rate"),
    }
    if course.rollbacks:
        what = f"the training had to go back {course.rollbacks} time(s) after a loss that was no number"
    elif exploded:
        what = (
            f"the training loss climbed to {number(train[highest])} at {course.at(highest)};"
            f" it began at about {number(course.base)}"
        )
    else:
        what = f"the training loss ended at {number(last)} after it had been down to {number(lowest)}"
    message = "rolled_back" if course.rollbacks else "exploded" if exploded else "risen"
    remedies = (_rate(course, 0.1), "--warmup-ratio 0.1", "--max-grad-norm 1")
    return Finding("learning_rate_too_high", f"Learning rate too high: {what}.", evidence, remedies, message)


def learning_rate_too_low(course: Course) -> Finding | None:
    """The loss was still falling as fast as ever when the training ended, or never moved."""
    loss, effort = course.validation, course.effort
    late = course.kept >= 0.9 * (len(loss) - 1)
    fall = float(loss[0] - loss[-1])
    if course.stopped_early or (not late and fall > STILL * course.base):
        return None
    evidence = {
        "first_validation_loss": float(loss[0]),
        "last_validation_loss": float(loss[-1]),
        "learning_rate": course.settings.get("learning_rate"),
        "sum_of_learning_rates": float(effort[-1]),
        "epochs": course.settings.get("epochs"),
    }
    remedies = (_rate(course, 10.0), "more --epochs")
    if fall > STILL * course.base:
        middle = float(np.interp((effort[0] + effort[-1]) / 2, effort, loss))
        share = (middle - float(loss[-1])) / fall
        if share < STRAIGHT:
            return None
        what = (
            f"the validation loss was still falling when the training ended ({number(loss[0])} to"
            f" {number(loss[-1])}, {share:.0%} of it in the second half)"
        )
        evidence["share_of_the_fall_in_the_second_half"] = share
        message = "falling"
    elif effort[-1] < EFFORT and course.settings.get("optimizer") != "sgd":
        what = (
            f"the loss did not move ({number(loss[0])} to {number(loss[-1])}), and the learning rates of all"
            f" steps add up to {number(float(effort[-1]))}: no weight can have moved further"
        )
        message = "still"
    else:
        return None
    return Finding("learning_rate_too_low", f"Learning rate too low: {what}.", evidence, remedies, message)


def _rate(course: Course, factor: float) -> str:
    rate = course.settings.get("learning_rate")
    return f"--learning-rate {factor * rate:.2g}" if isinstance(rate, float) else "another --learning-rate"


def unstable_loss(course: Course) -> Finding | None:
    """The curves go up and down."""
    height = SWING * course.base
    train, validation = peaks(course.train, height), peaks(course.validation, height)
    if not train and validation < PEAKS:
        return None
    evidence = {"peaks_of_the_training_loss": train, "peaks_of_the_validation_loss": validation,
                "height_of_a_peak": height, "evaluations": len(course.history)}  # fmt: skip
    return Finding(
        "unstable_loss",
        f"Unstable loss: the training loss has {train} and the validation loss {validation} peaks higher than"
        f" {number(height)} over {len(course.history)} evaluations.",
        evidence,
        (_rate(course, 0.3), "--gradient-accumulation-steps 4", "`profactory check` for wrong labels"),
        "peaks",
    )


def class_collapse(table: list[dict[str, Any]], split: str, rows: int, *, exclusive: bool) -> Finding | None:
    """Nearly everything is predicted as one class, or most classes never are.

    Parameters
    ----------
    table
        One entry per class with ``class``, ``support`` and ``predicted``.
    split
        Whose.
    rows
        Number of proteins (residues) predicted.
    exclusive
        Whether each has one class; False for multi-label tasks.
    """
    known = [row for row in table if row["support"] > 0]
    if len(known) < 2 or not rows:
        return None
    most = max(table, key=lambda row: row["predicted"])
    share, labels = most["predicted"] / rows, most["support"] / rows
    missed = [row["class"] for row in known if row["support"] >= ENOUGH and not row["predicted"]]
    enough = sum(row["support"] >= ENOUGH for row in known)
    collapsed = exclusive and share >= COLLAPSED and labels <= COMMON
    forgotten = enough > 2 and len(missed) > enough / 2
    if not (collapsed or forgotten):
        return None
    evidence = {"split": split, "most_predicted": most["class"], "share_of_predictions": share,
                "share_of_labels": labels, "never_predicted": missed, "classes": enough}  # fmt: skip
    if collapsed:
        what = f"{share:.0%} of the {split} predictions are {most['class']!r}, and {labels:.0%} of the labels"
    else:
        what = f"{len(missed)} of {enough} classes are never predicted on the {split} data"
    remedies = ("--class-weights balanced", "--monitor f1_macro", "a lower --learning-rate")
    message = "one_class" if collapsed else "never"
    return Finding("class_collapse", f"Class collapse: {what}.", evidence, remedies, message)


def test_below_validation(metrics: Mapping[str, Any], leakage: Mapping[str, Any] | None) -> Finding | None:
    """The test result is worse than the validation result by more than chance explains.

    Parameters
    ----------
    metrics
        Content of ``metrics.json``.
    leakage
        How near the test sequences are to the training sequences, if that was looked at.
    """
    name = metrics["main_metric"]
    test, validation = metrics["test"][name], metrics["validation"][name]
    if any(entry[key] is None for entry in (test, validation) for key in ("value", "low", "high")):
        return None
    apart, difference = validation["low"] - test["high"], validation["value"] - test["value"]
    if name in MINIMISED:
        apart, difference = test["low"] - validation["high"], test["value"] / validation["value"] - 1
    if apart <= 0 or difference < FAR:
        return None
    rows = {split: metrics["counts"][split]["proteins"] for split in ("test", "validation")}
    near = (leakage or {}).get("near_duplicates")
    evidence = {"metric": name, "test": test, "validation": validation, "rows": rows, "leakage": leakage}
    return Finding(
        "test_below_validation",
        f"Test far below validation: {label_of(name)} {number(test['value'])} against"
        f" {number(validation['value'])}, and the 95 % intervals do not touch."
        " Either the test data are of another kind (families that training has not seen), or the validation"
        " data are too much like the training data, or too much was chosen by them."
        + ("" if near is None else f" {near:,} test sequences have a relative of 90 % identity in train."),
        evidence,
        ("--split homology", "--seeds 3", "--dropout 0.3"),
        "below" if near is None else "below_near",
    )
