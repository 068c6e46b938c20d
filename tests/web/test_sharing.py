"""A model goes to a Hub from the page and comes back by its name; its token is written nowhere (S11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from profactory.sharing.model_card import CARD
from tests.support.fake_hub import FakeHub, fake_hub
from tests.web.conftest import Server, short_table
from tests.web.hands import fill, visit

pytestmark = pytest.mark.slow
SECRET = "hf_secret"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQ"


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with fake_hub() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hub: FakeHub, program: Path) -> Iterator[Server]:
    """A server for which the fake Hub is the Hub, and everything it may write is in one folder."""
    folder = tmp_path_factory.mktemp("sharing")
    made = Server(folder / "work", folder / "cache", program, real=True)
    for name in ("work/data", "cache", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    made.variables = {
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder / "home"),
        "HF_TOKEN": "",
        "TMPDIR": str(folder / "tmp"),
    }
    table = short_table("demo-location", made.folder / "short.csv")
    made.run("train", str(table), "--out", "runs/shared", "--method", "freeze", "--epochs", "1")
    made.start()
    yield made
    made.stop()


def _push(page: Page, token: str, place: str = "me/model") -> None:
    fill(page, "push-place", place)
    fill(page, "push-token", token)
    page.locator("#push-start").click()


def test_a_model_is_pushed_and_used_by_its_name(server: Server, hub: FakeHub, page: Page) -> None:
    visit(page, server.address, tab="share")
    expect(page.locator("#share-run input")).to_have_value("shared")
    page.get_by_text("Push to the Hugging Face Hub").click()
    _push(page, SECRET, place="no place")
    expect(page.locator("#push-trouble [role=alert]")).to_contain_text("no name of a repository")
    expect(page.locator("#push-token input")).to_have_value("")  # not kept in the form either
    _push(page, "hf_wrong")
    expect(page.locator("#push-head")).to_contain_text("could not be pushed to", timeout=180_000)
    expect(page.locator("#push-head")).to_contain_text("hf auth login")
    _push(page, SECRET)
    expect(page.locator("#push-result")).to_contain_text("is on the Hub", timeout=180_000)
    assert "config.json" in hub.files
    assert "me/model" in hub.files[CARD].decode()
    assert _files_with(server.folder.parent, SECRET) == []
    assert _files_with(server.folder.parent, "hf_wrong") == []

    page.goto("about:blank")
    visit(page, server.address, tab="predict")
    choose_typed(page, "predict-run", "me/model")
    fill(page, "predict-sequence", SEQUENCE)
    page.locator("#predict-go").click()
    (typed,) = json.loads(server.run("predict", "runs/shared", f"--sequence={SEQUENCE}", "--json"))
    expect(page.locator("#predict-answer .pf-big")).to_have_text(typed["prediction"], timeout=180_000)


def choose_typed(page: Page, control: str, text: str) -> None:
    """Type something that is not in the list of a drop-down."""
    box = page.locator(f"#{control} input")
    box.fill(text)
    box.press("Enter")


def _files_with(folder: Path, text: str) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert len(found) > 20
    return [path for path in found if text.encode() in path.read_bytes()]
