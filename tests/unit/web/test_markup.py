"""Text from data stays text (promise S8)."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest

from profactory.errors import DataError, Problem
from profactory.web import markup
from profactory.web.residues import coloured
from profactory.web.words import Words

ENGLISH = Words("en")
PAYLOADS = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "\x1b]0;owned\x07\x1b[2J",
    "evil\u202egpj.exe",
    "${alert(1)} {{value}}",
    "javascript:alert(1)",
]


def test_the_error_of_a_job_is_shown_in_its_parts() -> None:
    problems = [
        Problem("the label is not a number", "t.csv", 1200 + i, "label", f"it's {i}") for i in range(25)
    ]
    error = DataError("25 rows cannot be used.", expected="numbers", fix="mend them", problems=problems)
    shown = markup.ended(error.message(), ENGLISH, "ended")
    listed = re.findall(r"<li>(.*?)</li>", shown)
    assert html.unescape(listed[0]) == html.unescape(
        re.findall(r"<li>(.*?)</li>", markup.problem(error, ENGLISH))[0]
    )
    assert "… and 5 more" in listed[20]
    assert re.findall("<dd>(.*?)</dd>", shown) == ["numbers", "mend them"]
    assert "<p>killed</p>" not in markup.ended("killed", ENGLISH, "ended")
    assert "killed" in markup.ended("killed", ENGLISH, "ended")
    assert "ended" in markup.ended("", ENGLISH, "ended")


OURS = {"div", "p", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td"}
OURS |= {"span", "pre", "code", "b", "i", "small"}


class _Tags(HTMLParser):
    """Elements and attributes as a browser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_becomes_markup(payload: str) -> None:
    error = DataError(
        payload, expected=payload, fix=payload, problems=[Problem(payload, value=payload, column=payload)]
    )
    record = {"prediction": ",".join([payload.replace(",", "")] * 3)}
    shown = [
        markup.problem(error, ENGLISH),
        markup.note(payload, detail=payload),
        markup.table([payload], [[payload]], caption=payload),
        markup.facts({payload: payload}),
        markup.badge(payload, ENGLISH),
        markup.command(payload),
        coloured("MKT", record, ENGLISH),
    ]
    for text in shown:
        found = _Tags()
        found.feed(text)
        assert found.names <= OURS
        assert not any(name.startswith("on") for name in found.attributes)
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("payload", PAYLOADS[:4])
def test_escaped_text_reads_as_it_was(payload: str) -> None:
    assert html.unescape(markup.safe(payload)) == payload


def test_an_error_shows_found_expected_and_fix() -> None:
    text = markup.problem(DataError("It is red.", expected="green", fix="paint it"), ENGLISH)
    assert all(part in text for part in ("It is red.", "green", "paint it", 'role="alert"'))


def test_residues_are_coloured_by_class_and_by_number() -> None:
    by_class = coloured("MKTAYIAKQRQI", {"prediction": "HHHHEECCCC--"}, ENGLISH)
    assert by_class.count("<b ") == 12
    assert 'title="M1: H"' in by_class
    assert "H (4)" in re.sub(r"<[^>]+>", "", by_class)
    by_number = coloured("MKT", {"prediction": "0.1,,0.9"}, ENGLISH)
    assert "background:#00224e" in by_number
    assert "background:#fee838" in by_number
