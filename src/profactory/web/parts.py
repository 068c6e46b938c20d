"""Runs of several trainings: their folds, seeds or trials, each a run directory below the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.errors import RunError
from profactory.runs import ACTIVE_STATES, MEMBERS, TRIALS, Run
from profactory.web import charts, markup
from profactory.web.context import Context
from profactory.web.words import Words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: Trainings whose curves are drawn: those that began last.
MOST_DRAWN = 8
_NAME = re.compile(r"(?:fold-(?P<fold>\d+))?-?(?:seed-(?P<seed>\d+))?")


def parts_of(run: Path) -> list[Path]:
    """Return the run directories of the trainings of a run, by name; none if it is one training."""
    found = [path for folder in (MEMBERS, TRIALS) for path in (run / folder).glob("*/status.json")]
    return sorted((path.parent for path in found), key=lambda part: _by_number(part.name))


def part_name(name: str, words: Words) -> str:
    """Say which training it is: ``fold-2-seed-0`` as people write it.

    Examples
    --------
    >>> part_name("fold-2-seed-0", Words("en")), part_name("trial-7", Words("en"))
    ('fold 2 · seed 0', 'trial-7')
    """
    found = _NAME.fullmatch(name)
    parts = found.groupdict() if found and name else {}
    said = [words(f"parts.{key}", number=value) for key, value in parts.items() if value is not None]
    return " · ".join(said) or name


def part_charts(context: Context, parts: list[Path]) -> tuple[Figure | None, Figure | None]:
    """Draw validation loss and metric of the trainings over epochs, one curve each."""
    words = context.words
    drawn = parts if len(parts) <= MOST_DRAWN else sorted(parts, key=_age)[-MOST_DRAWN:]
    events = {part_name(part.name, words): context.logs.of(part).read() for part in drawn}
    monitor = next((name for part in reversed(drawn) if (name := _status(part).get("monitor"))), "loss")
    loss = charts.comparison_chart(events, "loss", words, title=words("chart.loss_of_parts"))
    metric = charts.comparison_chart(events, str(monitor), words) if monitor != "loss" else None
    return loss, metric


def part_progress(status: Mapping[str, Any], parts: list[Path], words: Words) -> tuple[float, str]:
    """Return how far a run of several trainings is, as a share of one and in words.

    Parameters
    ----------
    status
        ``status.json`` of the whole.
    parts
        Its trainings.
    words
        Texts.
    """
    done, total = int(status.get("step") or 0), int(status["total_steps"])
    texts = [words(f"parts.progress_{status['unit']}", done=f"{done:,}", total=f"{total:,}")]
    now = [(part, found) for part in parts if (found := _status(part)).get("state") in ACTIVE_STATES]
    inner = 0.0
    if now:
        part, found = now[-1]
        inner = int(found.get("step") or 0) / int(found.get("total_steps") or 1)
        epochs = {"epoch": found.get("epoch") or 0, "epochs": found.get("epochs") or "?"}
        texts.append(words("parts.now", name=part_name(part.name, words), **epochs))
    return (done + inner) / total, " · ".join(texts)


def part_table(metrics: Mapping[str, Any], words: Words) -> str:
    """Lay out how the metrics vary over the trainings of an ensemble, and what their diagnosis found."""
    members = metrics.get("members") or {}
    spread, names = members.get("metrics") or {}, members.get("names") or []
    if not spread:
        return ""
    head = [words("result.metric"), *(words(f"parts.{key}") for key in ("mean", "deviation", "interval"))]
    head += [part_name(name, words) for name in names]
    rows = [
        [words.metric(key), found["mean"], found["deviation"], _interval(found), *found["values"]]
        for key, found in spread.items()
    ]
    caption = words("parts.caption", count=len(names))
    return _symptoms(members.get("symptoms") or {}, len(names), words) + markup.table(
        head, rows, caption=caption, numbers=range(1, len(head))
    )


def _symptoms(counts: Mapping[str, int], trainings: int, words: Words) -> str:
    if not counts:
        return markup.note(words("runs.healthy"), kind="good")
    found = [
        words("parts.symptom", name=words.maybe(f"symptom.{kind}", kind.replace("_", " ")), count=n)
        for kind, n in counts.items()
    ]
    return markup.note(
        words("parts.symptoms", count=trainings, found=words("error.between").join(found)), kind="warn"
    )


def _interval(found: Mapping[str, Any]) -> str:
    return (
        f"{markup.cell(found['low'])} – {markup.cell(found['high'])}" if found.get("low") is not None else "–"
    )


def _status(part: Path) -> dict[str, Any]:
    try:
        return Run.open(part).status()
    except RunError:
        return {}


def _age(part: Path) -> str:
    return str(_status(part).get("created", ""))


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdigit() else (0, word) for word in re.split(r"(\d+)", name)]
