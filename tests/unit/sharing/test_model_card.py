"""The card of a model: complete, and only text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from profactory.sharing.model_card import make_card, plain_markdown, write_card

SECTION: dict[str, Any] = {
    "version": "0.1.0",
    "task": {"kind": "single_label_classification", "classes": ["a", "b"], "targets": ["label"]},
    "design": {"method": "lora"},
    "max_length": 1022,
    "calibration": {"temperature": 1.7, "coverage": 0.9, "threshold": 0.2, "radius": []},
    "backbone": {
        "name": "esm2-8m",
        "source": "facebook/esm2",
        "revision": "c" * 40,
        "licence": "MIT",
    },
    "provenance": {
        "source": "/home/me/secret/proteins.csv",
        "data_sha256": "d" * 64,
        "splits": {"train": 800, "test": 200},
    },
}
METRICS: dict[str, Any] = {
    "main_split": "test",
    "test": {
        "mcc": {"value": 0.41234, "low": 0.3, "high": 0.52},
        "accuracy": {"value": None, "low": None, "high": None},
    },
    "baselines": {"majority": {"mcc": {"value": 0.0}}, "composition": {"mcc": {"value": 0.25}}},
    "counts": {"test": {"proteins": 200}},
    "intervals": "95% bootstrap.",
    "comparison": {"sentence": "The language model earns its keep."},
}
LEAKAGE = {
    "exact_duplicates": {"train-test": 3},
    "near_duplicates": 7,
    "test_rows_examined": 200,
    "warning": "7 relatives.",
}


def _model(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"profactory": {**SECTION, **changes}}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text(json.dumps(METRICS))
    data = {"splits": {"train": 800, "test": 200}, "split_note": "By homology.", "leakage": LEAKAGE}
    (tmp_path / "data.json").write_text(json.dumps(data))
    _model(tmp_path / "model")
    return tmp_path


def test_the_card_says_all_that_a_stranger_asks(run: Path) -> None:
    card = make_card(run / "model", run, place="me/model")
    for said in (
        'profactory.load("me/model")',
        "| mcc | 0.4123 | 0.3 to 0.52 | 0 | 0.25 |",
        "On 200 test rows",
        "earns its keep",
        "d" * 64,
        "By homology.",
        "| test sequences that are in train as well | 3 |",
        "7 of 200",
        "- 7 relatives.",
        "temperature 1.7",
        "90 %",
        "MIT",
        "c" * 40,
        "Python 3",
    ):
        assert said in card
    assert "/home/me" not in card  # the name of the file, not where it lay
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "facebook/esm2"


def test_an_ensemble_has_the_backbone_of_its_members(tmp_path: Path) -> None:
    (tmp_path / "members").mkdir()
    _model(tmp_path / "members" / "fold-1")
    own = {"version": "0.1.0", "task": SECTION["task"], "calibration": {}, "ensemble": ["fold-1", "fold-2"]}
    (tmp_path / "config.json").write_text(json.dumps({"profactory": own}))
    card = make_card(tmp_path)
    assert "| backbone | esm2-8m at" in card
    assert "1022" in card


def test_without_a_run_it_says_that_nothing_is_known(tmp_path: Path) -> None:
    card = write_card(_model(tmp_path / "model")).read_text()
    assert 'profactory.load("model")' in card
    assert str(tmp_path) not in card
    assert "Nothing: the report of the run was not there" in card


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        "</script>",
        "[click](javascript:x)",
        "a|b",
        "`x`",
        "\x1b[31mred",
        "\u202eltr",
        "a\n# b",
    ],
)
def test_names_from_data_are_only_text(tmp_path: Path, name: str) -> None:
    """S8."""
    task = {**SECTION["task"], "classes": [name, "b"]}
    card = make_card(_model(tmp_path / "model", task=task))
    line = next(line for line in card.splitlines() if line.startswith("| classes"))
    assert "<" not in line
    assert not any(sign in card for sign in ("\x1b", "\u202e"))
    assert "[click](" not in card
    assert line.count("|") - line.count("\\|") == 3  # the cells of the table
    assert "\n# b" not in card


def test_plain_markdown_keeps_ordinary_names() -> None:
    assert plain_markdown("GO:0003824, plasma membrane (inner)") == "GO:0003824, plasma membrane (inner)"
