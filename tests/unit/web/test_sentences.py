"""Diagnosis, verdict and warnings in Chinese, with the numbers of the English sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import profactory
from profactory import api
from profactory.data.bundled import list_bundled
from profactory.data.catalog import list_catalog
from profactory.errors import Problem
from profactory.evaluation.diagnosis import diagnose
from profactory.evaluation.names import LABELS
from profactory.evaluation.symptoms import Finding
from profactory.web.sentences import (
    _pattern,
    finding_sentence,
    problem_line,
    remedies_of,
    said,
    verdict_sentence,
    warning_sentence,
)
from profactory.web.words import Words, load_texts

ENGLISH, CHINESE = Words("en"), Words("zh")
METRICS: dict[str, Any] = {"task": "regression", "counts": {}}


def _events(
    train: Sequence[float], validation: Sequence[float], rate: float = 0.001, *, best: int = 0
) -> list[dict[str, Any]]:
    """Return the events of a training with these losses, one optimizer step for an epoch."""
    rows: list[dict[str, Any]] = []
    for place, (one, other) in enumerate(zip(train, validation, strict=True), 1):
        rows.append({"event": "step", "step": place, "epoch": place, "loss": one, "learning_rate": rate})
        rows.append(
            {"event": "evaluation", "step": place, "epoch": place, "train_loss": one,
             "metrics": {"loss": other}, "improved": place <= best + 1}
        )  # fmt: skip
    return rows


def _interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def _classes(predicted: list[int], support: list[int]) -> dict[str, Any]:
    rows = [
        {"class": name, "predicted": p, "support": s}
        for name, p, s in zip("abcdef", predicted, support, strict=False)
    ]
    return {
        "task": "single_label_classification",
        "counts": {"validation": {"proteins": sum(support)}},
        "per_class": {"validation": rows},
    }


BELOW = {
    "task": "regression",
    "main_metric": "spearman",
    "counts": {"test": {"proteins": 50}, "validation": {"proteins": 60}},
    "test": {"spearman": _interval(0.5)},
    "validation": {"spearman": _interval(0.8)},
}
FALL = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "overfitting.rising": (_events(FALL, [1.0, 0.8, 0.75, 0.8, 0.9, 1.0], best=2), METRICS, {}),
    "overfitting.apart": (_events([1.0, 0.5, 0.2, 0.1], [1.0, 0.9, 0.85, 0.85], best=3), METRICS, {}),
    "underfitting.constant": (
        _events([1.0, 0.99, 0.98, 0.97], [1.0, 0.95, 0.99, 0.99], rate=0.1),
        METRICS,
        {"settings": {"method": "freeze"}},
    ),
    "learning_rate_too_high.exploded": (_events([1.0, 3.0, 2.9, 2.8], [1, 1, 1, 1]), METRICS, {}),
    "learning_rate_too_high.risen": (_events([1.0, 0.5, 0.6, 0.9], [1, 1, 1, 1]), METRICS, {}),
    "learning_rate_too_high.rolled_back": (
        [*_events(FALL, FALL), {"event": "rollback", "step": 3}],
        METRICS,
        {},
    ),
    "learning_rate_too_low.falling": (_events(FALL, FALL, best=5), METRICS, {}),
    "learning_rate_too_low.still": (_events([1.0] * 5, [1.0] * 5, rate=1e-6, best=4), METRICS, {}),
    "unstable_loss.peaks": (
        _events([1.0, 0.3, 0.9, 0.3, 0.9, 0.3], [1.0, 0.3, 0.9, 0.3, 0.9, 0.3], rate=0.1, best=1),
        METRICS,
        {},
    ),
    "class_collapse.one_class": ([], _classes([98, 2], [70, 30]), {}),
    "class_collapse.never": ([], _classes([50, 50, 0, 0, 0], [20] * 5), {}),
    "test_below_validation.below": ([], BELOW, {}),
    "test_below_validation.below_near": ([], BELOW, {"leakage": {"near_duplicates": 3}}),
}


def _found(name: str) -> dict[str, Any]:
    events, metrics, more = CASES[name]
    found = diagnose(events, metrics, reference_loss=1.0, **more)
    findings = {f"{each['kind']}.{each['message']}": each for each in found.to_dict()["findings"]}
    assert name in findings, list(findings)
    return findings[name]


@pytest.mark.parametrize("name", CASES)
def test_every_finding_is_said_in_chinese_with_its_numbers(name: str) -> None:
    finding = _found(name)
    assert finding_sentence(finding, ENGLISH) == finding["sentence"]
    said = finding_sentence(finding, CHINESE)
    assert re.search(r"[\u4e00-\u9fff]", said)
    wanted = set(re.findall(r"\d+\.\d+", finding["sentence"])) - {"1.5"}
    assert wanted <= set(re.findall(r"\d+\.\d+", said))
    assert re.search(r"[\u4e00-\u9fff]|^--", remedies_of(finding, CHINESE))


def test_all_messages_of_the_diagnosis_are_tried() -> None:
    texts = [key.removeprefix("finding.") for key in CHINESE._texts if key.startswith("finding.")]
    assert sorted(texts) == sorted(CASES)


def test_a_run_of_an_older_version_keeps_its_sentence() -> None:
    old = {"kind": "overfitting", "sentence": "Overfitting: …", "evidence": {}, "remedies": ["--dropout 0.3"]}
    assert finding_sentence(old, CHINESE) == "Overfitting: …"
    assert finding_sentence({**old, "message": "rising"}, CHINESE) == "Overfitting: …"
    assert Finding("x", "y", {}, ()).message == ""


@pytest.mark.parametrize("outcome", ["better", "worse", "unclear", "unknown"])
@pytest.mark.parametrize("against", ["composition", "majority"])
def test_the_verdict_is_said_in_chinese(outcome: str, against: str) -> None:
    comparison = {"metric": "mcc", "against": against, "difference": 0.25, "low": 0.1, "high": 0.4,
                  "outcome": outcome, "sentence": "English"}  # fmt: skip
    metrics = {
        "task": "single_label_classification", "main_split": "test", "comparison": comparison,
        "test": {"mcc": {"value": 0.75}}, "baselines": {against: {"mcc": {"value": 0.5}}},
    }  # fmt: skip
    assert verdict_sentence(metrics, ENGLISH) == "English"
    said = verdict_sentence(metrics, CHINESE)
    assert "English" not in said
    if outcome != "unknown":
        assert all(part in said for part in ("0.750", "0.500", "+0.250", "+0.100", "+0.400"))
    assert verdict_sentence({"main_split": "test"}, CHINESE) == ""


def _warned(folder: Path, text: str, **options: Any) -> list[str]:
    table = folder / "table.csv"
    table.write_text(text, encoding="utf-8")
    return list(api.check(table, **options).warnings)


def test_every_warning_of_the_check_is_said_in_chinese(tmp_path: Path) -> None:
    one, two, three = "MKTAYIAKQRQISFVK", "MSTNPKPQRKTKRNTNRRPQD", "ACDEFGHIKLMNPQRSTVWY"
    rows = [(one, "a", "train"), (one, "a", "test"), (one, "b", "train"), (two, "b", "test")]
    rows += [(three[i % 20 :] + three * (1 + i // 20), "a", "train") for i in range(40)]
    shared = _warned(
        tmp_path, "sequence,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows), max_length=30
    )
    residues = _warned(
        tmp_path, "sequence,label\n" + "".join(f"{s},{'H' * len(s)}\n" for s in (three * 3, three * 2)),
        max_length=30,
    )  # fmt: skip
    nameless = _warned(tmp_path, "sequence,weight in kDa,remarks\nMKTAYIAK,1,x\nMKTAYIAR,2,y\n")
    found = [*shared, *residues, *nameless]
    said = [warning_sentence(warning, CHINESE) for warning in found]
    assert all(re.search(r"[\u4e00-\u9fff]", text) for text in said), said
    assert len({text[:6] for text in said}) >= 7
    assert [warning_sentence(warning, ENGLISH) for warning in found] == found
    assert warning_sentence("Something new.", CHINESE) == "Something new."


def _literals() -> tuple[set[str], list[re.Pattern[str]]]:
    """Return the texts in the program, and patterns of those with values in them."""
    plain, filled = set(), []
    for file in Path(profactory.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                plain.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(part.value) if isinstance(part, ast.Constant) else ".*" for part in node.values
                ]
                if len("".join(part for part in parts if part != ".*")) >= 8:
                    filled.append(re.compile("".join(parts), re.DOTALL))
    return plain, filled


def test_every_english_sentence_with_a_translation_is_one_of_the_program() -> None:
    plain, filled = _literals()
    toml = (Path(profactory.__file__).parent / "models" / "zoo.toml").read_text(encoding="utf-8")
    titles = [entry.title for entry in (*list_bundled(), *list_catalog())]
    unknown = [
        text
        for text in load_texts("messages_zh")
        if text not in plain
        and text not in toml
        and not any(pattern.fullmatch(text) for pattern in filled)
        and not any(_pattern(text).fullmatch(title) for title in titles)
    ]
    assert unknown == []


def test_the_page_does_not_show_where_it_keeps_files() -> None:
    text = "/srv/runs/.uploads/5823fc494b13548a/picture.csv: this is a binary file, not a table."
    assert said(text, CHINESE) == "picture.csv：这是二进制文件，不是表格。"
    assert said(text, ENGLISH) == "picture.csv: this is a binary file, not a table."


def test_an_option_is_called_as_in_the_form() -> None:
    assert said("epochs: 'many' is not a whole number", CHINESE) == "训练轮数：'many' 不是整数"


def test_every_data_set_has_a_chinese_title() -> None:
    titles = [entry.title for entry in (*list_bundled(), *list_catalog())]
    assert [title for title in titles if said(title, CHINESE) == title] == []


def test_sentences_keep_their_values() -> None:
    for text, chinese in load_texts("messages_zh").items():
        names = re.findall(r"\{(\w+)\}", text)
        assert {*re.findall(r"\{(\w+)\}", chinese)} <= set(names), text


def test_errors_are_said_in_chinese_with_their_values() -> None:
    assert said("The run mine has no finished model.", CHINESE) == "训练 mine 没有已完成的模型。"
    assert said("The run mine has no finished model.", ENGLISH) == "The run mine has no finished model."
    assert said("Nobody has said this before.", CHINESE) == "Nobody has said this before."
    assert said("The run {x} has no finished model.", CHINESE) == "训练 {x} 没有已完成的模型。"
    long = f"The run {'x' * 5000} has no finished model."
    assert said(long, CHINESE) == long
    problem = Problem("the label is missing", "a.csv", 7, "label", "?")
    assert problem_line(problem, ENGLISH) == str(problem)
    assert problem_line(problem, CHINESE) == "a.csv，第 7 行，列“label”：缺少标签（内容为“?”）"
    assert problem_line(Problem("the sequence is empty"), CHINESE) == "序列为空"


def test_every_metric_has_a_chinese_name() -> None:
    names = [CHINESE.metric(name) for name in LABELS]
    assert len(set(names)) == len(LABELS)
    assert [name for name, text in zip(LABELS, names, strict=True) if text == LABELS[name]] == ["f1"]
    assert [ENGLISH.metric(name) for name in LABELS] == list(LABELS.values())
