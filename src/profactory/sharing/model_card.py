"""The card of a model: what it is, on what it was trained, how good it is and what it is not. Torch-free.

Everything in it is read from the model's folder and its run. Names come from data that anybody may have
written, so they cannot become markup.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from profactory.files import atomic_write_text, read_json

CARD = "README.md"
_MARKUP = re.compile(r"([\\`*_{}\[\]|<>~])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PACKAGES = ("torch", "transformers", "peft", "numpy")
_PIPELINES = {"residue": "token-classification", "": "text-classification"}


def write_card(folder: Path, run: Path | None = None, *, place: str = "") -> Path:
    """Write the card of a model into its folder.

    Parameters
    ----------
    folder
        The model.
    run
        The run that it comes from, for what was measured and how the data were divided.
    place
        What others will type to load it; the name of the run if not given, without where it lies here.
    """
    atomic_write_text(folder / CARD, make_card(folder, run, place=place))
    return folder / CARD


def make_card(folder: Path, run: Path | None = None, *, place: str = "") -> str:
    """Return the text of the card; see :func:`write_card`."""
    section = facts_of(folder)
    data = _read(run, "data.json")
    task = section["task"]
    backbone = {"name": "", "revision": None, "licence": "", **section.get("backbone", {})}
    templates = Environment(
        loader=PackageLoader("profactory.sharing"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown; every name goes through the filter below
    )
    templates.filters["md"] = plain_markdown
    return templates.get_template("card.md.j2").render(
        header=_header(task, backbone),
        title=place or (run.name if run else folder.name),
        place=place or (run or folder).name,
        what=_what(task),
        section=section,
        method=section.get("design", {}).get("method", ""),
        task=task,
        max_length=section.get("max_length") or section.get("design", {}).get("max_length", "?"),
        backbone=backbone,
        data=_data(section, data),
        leakage=_leakage(data.get("leakage") or {}),
        metrics=_metrics(_read(run, "report/metrics.json")),
        calibration=_calibration(section.get("calibration", {}), task),
        limits=_limits(data),
        environment=_environment(),
    )


def facts_of(folder: Path) -> dict[str, Any]:
    """Return what a configuration says; of an ensemble, with the backbone of its first member."""
    section: dict[str, Any] = read_json(folder / "config.json")["profactory"]
    if "ensemble" not in section:
        return section
    return {**facts_of(folder / "members" / str(section["ensemble"][0])), **section}


def plain_markdown(value: object) -> str:
    """Return text that Markdown and HTML show as it is, on one line."""
    return _MARKUP.sub(r"\\\1", _CONTROL.sub(" ", str(value))).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _header(task: Mapping[str, Any], backbone: Mapping[str, Any]) -> str:
    """Return the metadata that the Hub reads."""
    residue = "residue" if str(task["kind"]).startswith("residue") else ""
    fields: dict[str, Any] = {
        "library_name": "profactory",
        "pipeline_tag": _PIPELINES[residue],
        "tags": ["biology", "protein", "protein-language-model", str(task["kind"])],
    }
    if backbone.get("source"):
        fields["base_model"] = backbone["source"]
    return "---\n" + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True) + "---"


def _what(task: Mapping[str, Any]) -> str:
    names = task["classes"] or task["targets"]
    unit = "for every residue" if str(task["kind"]).startswith("residue") else "for the whole sequence"
    if task["classes"]:
        return f"one of {len(names)} classes {unit}" if "single" in task["kind"] else f"classes {unit}"
    return f"{', '.join(names)} {unit}"


def _data(section: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    provenance = section.get("provenance", {})
    return {
        "source": Path(str(provenance.get("source", "not noted"))).name,
        "sha256": provenance.get("data_sha256", "not noted"),
        "splits": provenance.get("splits") or data.get("splits") or {},
        "split_note": data.get("split_note", ""),
    }


def _leakage(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what is known of relatives of test sequences in the training data."""
    if not found:
        return []
    exact = found.get("exact_duplicates", {})
    lines = [("test sequences that are in train as well", f"{exact.get('train-test', 0):,}")]
    if "near_duplicates" in found:
        examined = found.get("test_rows_examined", "?")
        lines.append(
            ("near duplicates of training sequences in test", f"{found['near_duplicates']} of {examined}")
        )
    return [*lines, ("how they were looked for", str(found.get("note", "")))]


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measured values of the main split beside those of the baselines."""
    split = metrics.get("main_split")
    if not split or not isinstance(metrics.get(split), dict):
        return {}
    baselines: Mapping[str, Any] = metrics.get("baselines") or {}
    lines = [
        {
            "name": name,
            "value": _number(entry["value"]),
            "interval": f"{_number(entry['low'])} to {_number(entry['high'])}",
            "baselines": [_number(values.get(name, {}).get("value")) for values in baselines.values()],
        }
        for name, entry in metrics[split].items()
        if isinstance(entry, dict) and {"value", "low", "high"} <= entry.keys()
    ]
    counts = metrics.get("counts", {}).get(split, {})
    return {
        "split": split,
        "rows": f"{next(iter(counts.values()), 0):,}",
        "intervals": metrics.get("intervals", ""),
        "baselines": list(baselines),
        "lines": lines,
        "sentence": (metrics.get("comparison") or {}).get("sentence", ""),
    }


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _calibration(calibration: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    coverage = calibration.get("coverage")
    temperature = float(calibration.get("temperature", 1.0))
    said = []
    if task["classes"]:
        said.append(
            f"Probabilities are divided by the temperature {temperature:.3g}, fitted on the validation rows."
            if temperature != 1.0
            else "Probabilities are those of the model, not recalibrated."
        )
    if coverage:
        kind = "Prediction sets" if task["classes"] else "Intervals"
        said.append(f"{kind} are made to hold the truth for {100 * float(coverage):.0f} % of new samples.")
    return " ".join(said) or "Values come without intervals."


def _limits(data: Mapping[str, Any]) -> list[str]:
    """Return what the run noted against its own numbers."""
    found = []
    if not (data.get("splits") or {}).get("test"):
        found.append("No test rows: the numbers are those of the validation rows, and too good.")
    warning = (data.get("leakage") or {}).get("warning")
    return [*found, str(warning)] if warning else found


def _environment() -> str:
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    return ", ".join(
        [f"Python {platform.python_version()}", *versions, f"{platform.system()} {platform.machine()}"]
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _read(run: Path | None, name: str) -> dict[str, Any]:
    """Return a file of the run; nothing if it is not there."""
    if run is None or not (run / name).is_file():
        return {}
    content: dict[str, Any] = read_json(run / name)
    return content
