"""What the diagnosis, the verdict, the check and errors say, in the language of the page.

Runs and commands write English sentences beside the numbers that they are made of; in another language the
page says the same with these numbers, and what it has no words for stays as it was written.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from profactory.errors import Problem, shorten
from profactory.evaluation.formats import number
from profactory.evaluation.names import label_of
from profactory.web.words import Words, load_texts

#: Warnings of ``profactory check``; # stands for a number.
_WARNINGS = {
    "in_train": r"(?P<shared>#) of (?P<rows>#) (?P<split>\w+) rows have a sequence that is also in train;.*",
    "contradictory": r"(?P<count>#) sequences? occurs? with more than one label;.*",
    "duplicates": r"(?P<count>#) rows? repeats? a sequence;.*",
    "too_long_residues": r"(?P<count>#) sequences? \w+ more than (?P<most>#) residues:.*labels of residues.*",
    "too_long": r"(?P<count>#) sequences? \w+ more than (?P<most>#) residues:.*",
    "few": r"(?P<count>#) rows? (?:is|are) few:.*",
    "rare": r"(?P<rare>#) of (?P<classes>#) classes have fewer than (?P<least>#) rows: (?P<names>.*)\.",
    "imbalanced": r"The classes are imbalanced;.*",
    "no_labels": r"No label column was found.*",
    "no_task": r"(?P<reason>.+) Name another by --label-column, or predict on these data\.",
}
_NUMBER = r"[\d,]+"
#: Folders in which the page keeps what it gets and makes; visitors know only the names of the files.
_OWN_FOLDERS = re.compile(r"[^\s'\"]*\.(?:uploads|results)/[0-9a-f]{16}/")
_LONGEST = 2000  # characters of a sentence of ours, with a name or two of the user's


def said(text: str, words: Words) -> str:
    """Say what a command or an error said in English; as it was written where there are no words for it."""
    text = _OWN_FOLDERS.sub("", text)
    found = _found(text, words.language)
    if found is None:
        return text
    other, values = found
    if "setting" in values:
        values = values | {"setting": words.setting(values["setting"], "label", values["setting"])}
    return other.format_map(values)


@functools.lru_cache(maxsize=2048)
def _found(text: str, language: str) -> tuple[str, dict[str, str]] | None:
    """Return what is said instead of a sentence, with the values that it holds."""
    for pattern, other in _messages(language) if len(text) <= _LONGEST else []:
        if found := pattern.fullmatch(text):
            return other, found.groupdict()
    return None


def problem_line(problem: Problem, words: Words) -> str:
    """Say one thing that is wrong, and where."""
    line = words("error.line", line=problem.line) if problem.line is not None else ""
    column = words("error.column", column=problem.column) if problem.column else ""
    value = words("error.value", value=shorten(problem.value)) if problem.value else ""
    place = words("error.between").join(part for part in (problem.file, line, column) if part)
    return f"{place}{words('error.after') if place else ''}{said(problem.reason, words)}{value}"


@functools.cache
def _messages(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Return how English sentences are recognised and what is said instead, the longest first."""
    texts = load_texts(f"messages_{language}") if language != "en" else {}
    return [(_pattern(text), texts[text]) for text in sorted(texts, key=len, reverse=True)]


def _pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of a text with ``{name}`` places."""
    parts = re.split(r"\{(\w+)\}", text)
    named = (f"(?P<{part}>.*)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile("".join(named), re.DOTALL)


def finding_sentence(finding: Mapping[str, Any], words: Words) -> str:
    """Say one finding of ``diagnosis.json``."""
    key = f"finding.{finding.get('kind')}.{finding.get('message')}"
    return _filled(words, key, _evidence(finding, words), str(finding.get("sentence", "")))


def remedies_of(finding: Mapping[str, Any], words: Words) -> str:
    """List what would help; options stay as they are typed."""
    return ", ".join(words.maybe(f"remedy.{remedy}", str(remedy)) for remedy in finding.get("remedies", []))


def verdict_sentence(metrics: Mapping[str, Any], words: Words) -> str:
    """Say how the model compares with a baseline, by ``metrics.json``; nothing if it was not compared."""
    found = metrics.get("comparison") or {}
    sentence = str(found.get("sentence", ""))
    if not sentence:
        return ""
    metric, against = found["metric"], found["against"]
    values = {
        "metric": label_of(metric),
        "model": number(metrics[metrics["main_split"]].get(metric, {}).get("value")),
        "other": number(metrics.get("baselines", {}).get(against, {}).get(metric, {}).get("value")),
        "against": words.maybe(f"verdict.against_{baseline_kind(against, metrics)}", against),
        **{name: number(found[name], sign=True) for name in ("difference", "low", "high")},
    }
    return _filled(words, f"verdict.{found['outcome']}", values, sentence)


def baseline_kind(name: str, metrics: Mapping[str, Any]) -> str:
    """Return what a baseline of ``metrics.json`` is in its task.

    Examples
    --------
    >>> baseline_kind("majority", {"task": "regression"})
    'mean'
    >>> baseline_kind("composition", {"task": "residue_classification"})
    'windows'
    """
    task = str(metrics.get("task", ""))
    if name == "majority" and task.endswith("regression"):
        return "mean"
    return "windows" if name == "composition" and task.startswith("residue_") else name


def warning_sentence(warning: str, words: Words) -> str:
    """Say one warning of ``profactory check``."""
    for name, pattern in _WARNINGS.items():
        if found := re.fullmatch(pattern.replace("#", _NUMBER), warning, re.DOTALL):
            values = found.groupdict()
            if "reason" in values:
                values["reason"] = said(values["reason"], words)
            if "split" in values:
                values["split"] = words.maybe(f"result.{values['split']}", values["split"])
            return _filled(words, f"warning.{name}", values, warning)
    return warning


def _filled(words: Words, key: str, values: Mapping[str, Any], default: str) -> str:
    text = words.maybe(key, "") if words.language != "en" else ""
    try:
        return text.format_map(values) if text else default
    except KeyError:
        return default  # a run of an older version, which did not note all of this


def _evidence(finding: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """Return the numbers of a finding as they are read."""
    shown: dict[str, Any] = {}
    for name, value in (finding.get("evidence") or {}).items():
        if name.startswith("share_"):
            shown[name] = f"{value:.0%}"
        elif isinstance(value, Mapping):
            shown[name] = number(value.get("value")) if "value" in value else ""
            shown |= {f"{name}_{inner}": f"{n:,}" for inner, n in value.items() if isinstance(n, int)}
        elif isinstance(value, list):
            shown[name] = len(value)
        elif isinstance(value, str):
            shown[name] = _named(name, value, words)
        else:
            shown[name] = number(value)
    return shown


def _named(name: str, value: str, words: Words) -> str:
    if name == "metric":
        return label_of(value)
    if name == "split":
        return words.maybe(f"result.{value}", value)
    unit, _, place = value.partition(" ")
    return words.maybe(f"at.{unit}", value).format(place=place) if name.endswith("at") else value
