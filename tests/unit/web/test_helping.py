"""The questions and answers: the same in both languages, and about commands and tabs that there are."""

from __future__ import annotations

import re

import pytest

from profactory.cli.main import main
from profactory.config import TrainConfig
from profactory.web.helping import Question, formatted, list_questions, show_questions
from profactory.web.page import TABS
from profactory.web.words import LANGUAGES, Words

OF_OTHER_COMMANDS = {"--fix", "--format", "--out", "--method", "--index-url"}
EVERY = [(language, entry) for language in LANGUAGES for entry in list_questions(language)]


def test_both_languages_answer_the_same_questions() -> None:
    english, chinese = list_questions("en"), list_questions("zh")
    assert [entry.number for entry in english] == list(range(1, 24))
    for one, other in zip(english, chinese, strict=True):
        assert (one.number, one.tab, one.command) == (other.number, other.tab, other.command)
        assert _code(one) == _code(other)
        assert re.search(r"[\u4e00-\u9fff]", other.question + other.answer)


def _code(entry: Question) -> list[str]:
    flags = re.findall(r"--[a-z][a-z-]+", entry.answer)
    return sorted(flags)


@pytest.mark.parametrize(
    ("language", "entry"), EVERY, ids=[f"{lang}-{entry.number}" for lang, entry in EVERY]
)
def test_every_answer_leads_to_something_that_exists(language: str, entry: Question) -> None:
    assert entry.tab or entry.command
    assert not entry.tab or entry.tab in TABS
    for flag in re.findall(r"--([a-z][a-z-]+)", f"{entry.answer} {entry.command}"):
        assert flag.replace("-", "_") in TrainConfig.model_fields or f"--{flag}" in OF_OTHER_COMMANDS


@pytest.mark.parametrize("command", sorted({entry.command for _, entry in EVERY if entry.command}))
def test_every_command_exists_with_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, verb, *words = command.split()
    inner = words[:1] if verb in ("runs", "models", "datasets") else []
    assert main([verb, *inner, "--help"]) == 0
    page = capsys.readouterr().out
    assert all(word in page for word in words if word.startswith("--"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_questions_are_on_the_page(language: str) -> None:
    page = show_questions(Words(language))
    assert page.count("<details") == 23
    assert all(f'id="question-{number}"' in page for number in range(1, 24))


def test_answers_are_formatted_plainly() -> None:
    assert formatted("a `<b>`\nc\n\n- one") == "<p>a <code>&lt;b&gt;</code> c</p><ul><li>one</li></ul>"
