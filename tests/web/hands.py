"""What a visitor does on the page."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode, urljoin

from playwright.sync_api import Page, expect


def visit(page: Page, address: str, *, language: str = "en", **query: str) -> None:
    """Open the page and wait until it has arrived."""
    page.goto(urljoin(address, f"{language}/?{urlencode(query)}"))
    page.locator("#tabs").wait_for()
    expect(page.locator("#visible-tab textarea, #visible-tab input")).to_have_value(
        query.get("tab", "runs" if "run" in query else "data")
    )


def open_tab(page: Page, name: str) -> None:
    """Press the tab of that title."""
    page.get_by_role("tab", name=name, exact=True).click()


def choose(page: Page, control: str, text: str) -> None:
    """Choose what begins with `text` in the drop-down of that identifier."""
    page.locator(f"#{control} input").click()
    page.get_by_role("option").filter(has_text=text).first.click()


def fill(page: Page, control: str, text: str) -> None:
    """Type into the control of that identifier."""
    page.locator(f"#{control} input, #{control} textarea").first.fill(text)


def upload(page: Page, control: str, file: Path) -> None:
    """Give a file to the upload button of that identifier."""
    with page.expect_file_chooser() as chooser:
        page.locator(f"#{control}").click()
    chooser.value.set_files(file)


def wait_for_state(page: Page, *states: str) -> None:
    """Wait until the open run is in one of the states."""
    words = re.compile("|".join(states))
    expect(page.locator("#run-head .pf-badge")).to_have_text(words, timeout=300_000)
