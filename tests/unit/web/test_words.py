"""The texts: the same keys and places in both languages, every key used, every setting known."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from profactory.config import TrainConfig
from profactory.web import words as words_module
from profactory.web.form import form_fields
from profactory.web.words import LANGUAGES, Words, load_texts, preferred_language

SOURCES = Path(words_module.__file__).parent.rglob("*.py")


def _places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys() -> None:
    assert load_texts("en").keys() == load_texts("zh").keys()


@pytest.mark.parametrize("key", load_texts("en"))
def test_both_languages_fill_in_the_same_values(key: str) -> None:
    english, chinese = load_texts("en")[key], load_texts("zh")[key]
    assert _places(english) == _places(chinese)
    assert english.strip()
    assert chinese.strip()


def test_every_key_in_the_code_has_a_text() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    typed = set(re.findall(r"words\(\s*\"([\w.]+)\"", code))
    assert len(typed) > 100
    assert typed <= load_texts("en").keys()


def test_chinese_settings_belong_to_fields() -> None:
    names = {key.rpartition(".")[0] for key in load_texts("settings_zh")}
    assert names - {"section"} <= set(TrainConfig.model_fields)


def test_every_setting_of_the_form_has_a_chinese_name_and_help() -> None:
    texts = load_texts("settings_zh")
    wanted = {f"{name}.{part}" for name in form_fields() for part in ("label", "help")}
    assert wanted - texts.keys() == set()


def test_a_setting_without_translation_keeps_its_english_help() -> None:
    assert Words("zh").setting("no_such_setting", "help", "English help") == "English help"
    assert Words("zh").setting("epochs", "label", "Epochs") == "训练轮数"
    assert Words("en").setting("epochs", "label", "Epochs") == "Epochs"


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "en-GB,en;q=0.9,zh;q=0.1", "en"),
        ("zh", "en", "zh"),
        ("xx", "de,fr", "en"),
        (None, "", "en"),
    ],
)
def test_language_of_a_visitor(chosen: str | None, accepted: str, language: str) -> None:
    assert preferred_language(chosen, accepted) == language
    assert language in LANGUAGES
