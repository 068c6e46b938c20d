"""The questions and answers of the tab Help."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass

from profactory.web import markup
from profactory.web.words import FOLDER, Words


@dataclass(frozen=True)
class Question:
    """One question with its answer.

    Parameters
    ----------
    number, section, question
        Its place and its text.
    answer
        Plain text: paragraphs, lines that begin with a hyphen, code between backquotes.
    tab, command
        Where it is done on the page, and what is typed instead; empty if there is no such thing.
    """

    number: int
    section: str
    question: str
    answer: str
    tab: str = ""
    command: str = ""


@functools.cache
def list_questions(language: str) -> list[Question]:
    """Return the questions in a language, in their order."""
    content = tomllib.loads((FOLDER / f"help_{language}.toml").read_text(encoding="utf-8"))
    return [Question(**entry) for entry in content["question"]]


def show_questions(words: Words) -> str:
    """Return all questions, folded, under the titles of their sections."""
    parts, section = [], ""
    for entry in list_questions(words.language):
        if entry.section != section:
            section = entry.section
            parts.append(f"<h3>{markup.safe(section)}</h3>")
        parts.append(_folded(entry, words))
    return "".join(parts)


def _folded(entry: Question, words: Words) -> str:
    command = markup.command(entry.command) if entry.command else ""
    title = f"<summary>{markup.safe(entry.question)}</summary>"
    body = f"{title}{formatted(entry.answer)}{command}{_button(entry.tab, words)}"
    return f'<details class="pf-question" id="question-{entry.number}">{body}</details>'


def _button(tab: str, words: Words) -> str:
    if not tab:
        return ""
    text = markup.safe(words("help.open", tab=words(f"{tab}.title")))
    return f'<button type="button" class="pf-go" data-tab="{tab}">{text}</button>'


def formatted(text: str) -> str:
    """Return plain text as HTML: paragraphs, lists, code.

    Examples
    --------
    >>> formatted("Type `a < b`:\\n\\n- one\\n- two")
    '<p>Type <code>a &lt; b</code>:</p><ul><li>one</li><li>two</li></ul>'
    """
    return "".join(_block(block) for block in text.strip().split("\n\n"))


def _block(block: str) -> str:
    lines = block.splitlines()
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_code(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{_code(' '.join(lines))}</p>"


def _code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", markup.safe(text))
