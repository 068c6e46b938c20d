"""The report as one HTML page: images inside, nothing fetched, every text from data escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from profactory.evaluation.diagnosis import HEALTHY, Diagnosis
from profactory.evaluation.formats import MISSING, interval, number
from profactory.evaluation.metric_rows import measured_splits, metric_rows
from profactory.evaluation.names import label_of
from profactory.evaluation.relatives import subset_rows

CAPTIONS = {
    "loss": "Training and validation loss. The dashed line marks the weights that were kept.",
    "validation_metrics": "Metrics on the validation split while training.",
    "perplexity": "Perplexity of hidden residues in held-out sequences, always the same; 0 is the start.",
    "confusion": "Each row is a true class; the colour is the share of its members predicted as each class.",
    "parity": "Predicted against measured values. On the line both are equal.",
    "roc": "True against false positive rate over all thresholds. The dotted line is guessing.",
    "precision_recall": "Precision against recall over all thresholds.",
    "reliability": "How often predictions of a probability are right; on the dotted line, as often as they"
    " say. The numbers are expected calibration errors.",
    "terms": "Ranking quality of the most frequent classes. A class's share is the AUPRC of guessing.",
    "identity": "Test sequences by their identity to the nearest training sequence.",
    "per_protein": "How even the quality is over proteins, and whether it depends on length.",
}
_OUTCOMES = {"better": "good", "worse": "bad", "unclear": "open", "unknown": "open"}
WIDE = 950  # pixels from which a figure gets a line of its own
_RELATIVES = ("identity",)
_TRAINING = ("loss", "validation_metrics", "perplexity")


@dataclass(frozen=True)
class Bar:
    """One line of the headline: a value with its interval, placed in per cent of the scale."""

    name: str
    text: str
    interval: str
    place: float | None
    low: float | None
    high: float | None
    strong: bool


@dataclass
class Section:
    """A table of names and values, folded together."""

    title: str
    lines: list[tuple[str, str]] = field(default_factory=list)


def render_page(
    metrics: Mapping[str, Any],
    images: Mapping[str, bytes],
    files: Sequence[str],
    run_info: Mapping[str, Any],
    data_info: Mapping[str, Any],
    warnings: Sequence[str],
    diagnosis: Diagnosis | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    metrics
        Content of ``metrics.json``.
    images
        Figure name to PNG bytes.
    files
        Names of the files beside the page.
    run_info, data_info, warnings
        As for :func:`~profactory.evaluation.report.write_report`.
    diagnosis
        How the training went, if there was one.
    """
    environment = Environment(
        loader=PackageLoader("profactory.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    main = metrics["main_split"]
    called = str(metrics.get("measured_on") or main)
    per_class = metrics.get("per_class", metrics.get("per_target", {})).get(main, [])
    return environment.get_template("report.html.j2").render(
        title=str(run_info.get("title") or "Report"),
        subtitle=str(run_info.get("subtitle") or ""),
        task=_title(metrics["task"]),
        counts=_counts(metrics["counts"][main]),
        split=called,
        metric=label_of(metrics["main_metric"]),
        bars=headline_bars(metrics),
        comparison=metrics["comparison"],
        tone=_OUTCOMES[metrics["comparison"]["outcome"]] if metrics["comparison"] else "open",
        warnings=list(warnings),
        certainty=(metrics.get("calibration") or {}).get("sentence"),
        diagnosis=diagnosis,
        healthy=HEALTHY,
        table=metric_rows(metrics),
        splits=[called, *measured_splits(metrics)[1:]],
        baselines=[(name, name.capitalize()) for name in metrics["baselines"]],
        training=_images(images, [name for name in images if name in _TRAINING]),
        figures=_images(images, [name for name in images if name not in (*_TRAINING, *_RELATIVES)]),
        relatives=_relatives(metrics, images),
        per_class=per_class,
        class_columns=list(per_class[0]) if per_class else [],
        label_of=label_of,
        notes=[*metrics["notes"].get(main, []), *metrics["notes"]["baselines"], metrics["intervals"]],
        sections=[*sections("Run", run_info), *sections("Data", data_info)],
        files=files,
    )


def headline_bars(metrics: Mapping[str, Any]) -> list[Bar]:
    """Return the main metric of the model and of each baseline, on one scale."""
    name, main = metrics["main_metric"], metrics["main_split"]
    entries = [("This model", metrics[main][name], True)]
    baselines = metrics["baselines"]
    entries += [(key.capitalize(), baselines[key][name], False) for key in sorted(baselines)]
    numbers = [e[key] for _, e, _ in entries for key in ("value", "low", "high") if e[key] is not None]
    start, end = min([0.0, *numbers]), max([1.0, *numbers])

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - start) / (end - start), 2)

    return [
        Bar(who, number(e["value"]), interval(e["low"], e["high"]), place(e["value"]), place(e["low"]),
            place(e["high"]), strong)
        for who, e, strong in entries
    ]  # fmt: skip


def _relatives(metrics: Mapping[str, Any], images: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return what the section on relatives in train shows."""
    found, main = metrics.get("leakage"), metrics["main_split"]
    if found is None:
        return None
    copies = found["exact_duplicates"]["train-test"]
    return {
        "table": subset_rows(found, metrics[main], metrics["main_metric"], found["test_rows"]),
        "images": _images(images, [name for name in _RELATIVES if name in images]),
        "notes": [f"{copies:,} test sequences also stand in train." if copies else
                  "No test sequence stands in train.", found["note"]],
    }  # fmt: skip


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _images(images: Mapping[str, bytes], names: Sequence[str]) -> list[dict[str, str]]:
    return [
        {
            "wide": "wide" if _png_width(images[name]) > WIDE else "",
            "caption": CAPTIONS.get(name, ""),
            "data": base64.b64encode(images[name]).decode("ascii"),
        }
        for name in names
    ]


def _png_width(image: bytes) -> int:
    """Return the width in pixels, which a PNG file holds at its byte 16."""
    return int.from_bytes(image[16:20], "big")


def sections(title: str, info: Mapping[str, Any]) -> list[Section]:
    """Turn nested information into tables: plain values under `title`, a mapping under its own name."""
    own = Section(title)
    found = [own]
    for key, value in info.items():
        if key in ("title", "subtitle"):
            continue
        if isinstance(value, Mapping):
            found.append(Section(f"{title}: {_words(key)}" if title == "Data" else _words(key).capitalize(),
                                 list(_flat(value))))  # fmt: skip
        else:
            own.lines.append((_words(key), _text(value)))
    return [section for section in found if section.lines]


def _flat(info: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, value in info.items():
        name = f"{prefix}{_words(key)}"
        if isinstance(value, Mapping):
            lines += _flat(value, f"{name} · ")
        else:
            lines.append((name, _text(value)))
    return lines


def _words(key: Any) -> str:
    return str(key).replace("_", " ")


def _text(value: Any) -> str:
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "\n".join(_text(item) for item in value) if value else MISSING
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_text(item)}" for key, item in value.items())
    return str(value)


def _title(task: str) -> str:
    """Write the name of a task for people.

    Examples
    --------
    >>> _title("multi_label_classification")
    'Multi-label classification'
    """
    return task.replace("_label", "-label").replace("_", " ").capitalize()
