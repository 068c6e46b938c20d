"""Structures in a real browser: read, drawn, coloured as the terminal predicts; and hostile ones."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.web.conftest import Server, short_table
from tests.web.hands import choose, upload, visit

pytestmark = pytest.mark.slow
STRUCTURES = Path(__file__).parents[1] / "support" / "structures"
HOSTILE = "<img/src=x/onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def residue_run(server: Server) -> str:
    table = short_table("demo-ss3", server.folder / "states.csv")
    server.run("train", str(table), "--out", "runs/states", "--method", "freeze", "--epochs", "2")
    return "states"


def _share(canvas: Locator, colour: tuple[int, int, int]) -> float:
    """Return how much of a picture has about the hue of a colour, whatever the light."""
    picture = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB"), float)
    bright = picture.max(-1, keepdims=True)
    wanted = np.array(colour) / max(colour)
    near = np.abs(picture / np.maximum(bright, 1) - wanted).max(-1) < 0.15
    return float((near & (bright[..., 0] > 60)).mean())


def test_a_chain_is_drawn_and_coloured_as_the_terminal_predicts(
    server: Server, page: Page, residue_run: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, server.address, tab="structures")
    upload(page, "structures-structure-upload", STRUCTURES / "2hhb.pdb.gz")
    drawn = page.locator("#structures-viewer .pf-viewer[data-drawn$='chain-0.pdb']")
    drawn.wait_for()
    expect(page.locator("#structures-table tbody tr")).to_have_count(4)
    canvas = page.locator("#structures-viewer canvas").first
    orange, blue = (213, 94, 0), (0, 114, 178)
    assert _share(canvas, orange) > 0.003  # helices
    assert _share(canvas, blue) < 0.001  # haemoglobin has no strand
    choose(page, "structures-chain", "B")
    page.locator("#structures-viewer .pf-viewer[data-drawn$='chain-1.pdb']").wait_for()
    expect(page.locator("#structures-run input")).to_have_value(residue_run)
    page.locator("#structures-predict").click()
    expect(page.locator("#structures-by input")).to_have_value("the model's prediction", timeout=180_000)
    expect(page.locator("#structures-letters b")).to_have_count(146)
    sequence = "".join(page.locator("#structures-letters b").all_inner_texts())
    (typed,) = json.loads(server.run("predict", "runs/states", f"--sequence={sequence}", "--json"))
    titles = page.locator("#structures-letters b").evaluate_all("found => found.map(each => each.title)")
    assert "".join(title.rpartition(": ")[2] for title in titles) == typed["prediction"]
    with page.expect_download() as download:
        page.locator("#structures-table a[download]").click()
    server.run("structure", str(STRUCTURES / "2hhb.pdb.gz"), "--out", "typed.csv")
    kept = Path(download.value.path()).read_text(encoding="utf-8")
    path = str(STRUCTURES / "2hhb.pdb.gz")
    assert kept == (server.folder / "typed.csv").read_text(encoding="utf-8").replace(path, "2hhb.pdb.gz")
    own = urlsplit(server.address).netloc
    assert [url for url in asked if urlsplit(url).scheme == "http" and urlsplit(url).netloc != own] == []


def test_hostile_names_and_files_that_are_no_structure(server: Server, page: Page, tmp_path: Path) -> None:
    from biotite.structure.io import pdb, pdbx

    text = gzip.decompress((STRUCTURES / "1ubi.pdb.gz").read_bytes()).decode()
    atoms = pdb.PDBFile.read(io.StringIO(text)).get_structure(model=1)
    atoms.chain_id = np.full(len(atoms), HOSTILE)
    file = pdbx.CIFFile()
    pdbx.set_structure(file, atoms)
    file.write(str(tmp_path / "hostile.cif"))
    visit(page, server.address, language="zh", tab="structures")
    upload(page, "structures-structure-upload", tmp_path / "hostile.cif")
    page.locator("#structures-viewer .pf-viewer[data-drawn]").wait_for()
    expect(page.locator("#structures-table td").first).to_have_text(HOSTILE)
    assert page.evaluate("window.pwned") is None
    (tmp_path / "page.pdb").write_text(f"<!DOCTYPE html>{HOSTILE}", encoding="utf-8")
    upload(page, "structures-structure-upload", tmp_path / "page.pdb")
    trouble = page.locator("#structures-structure-trouble [role=alert]")
    expect(trouble).to_contain_text("服务器返回的网页或消息")
    expect(page.locator("#structures-table")).to_contain_text("请选择要查看的结构")
    assert page.evaluate("window.pwned") is None
