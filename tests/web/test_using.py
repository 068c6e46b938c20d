"""A trained model used in a real browser: evaluated, and predicting, as in a terminal."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import Server
from tests.web.hands import choose, fill, upload, visit, wait_for_state

pytestmark = pytest.mark.slow
RUN = "trained"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQ"


@pytest.fixture(scope="module", autouse=True)
def _trained(server: Server, table: Path) -> None:
    server.run("train", str(table), "--out", f"runs/{RUN}", "--method", "freeze", "--epochs", "3")


def test_an_evaluation_is_that_of_the_terminal(server: Server, table: Path, page: Page) -> None:
    visit(page, server.address, language="zh", tab="evaluate")
    expect(page.locator("#evaluate-run input")).to_have_value(RUN)
    shutil.copy(table, server.folder / "data" / "later.csv")  # the page is open already
    choose(page, "evaluate-data", "data/later.csv")
    choose(page, "evaluate-split", "测试集")
    page.locator("#evaluate-start").click()
    result = page.locator("#evaluate-result")
    expect(result).to_contain_text("MCC", timeout=180_000)
    expect(result.locator("img").first).to_be_visible()
    typed = json.loads(server.run("evaluate", f"runs/{RUN}", str(table), "--split", "test", "--json"))
    assert f"{typed['test']['mcc']['value']:.3f}" in result.inner_text()


def test_one_sequence_gets_its_class_and_probabilities(server: Server, page: Page) -> None:
    visit(page, server.address, tab="predict")
    expect(page.locator("#predict-run input")).to_have_value(RUN)
    fill(page, "predict-sequence", f">some header\n{SEQUENCE[:30]}\n{SEQUENCE[30:]}")
    page.locator("#predict-go").click()
    answer = page.locator("#predict-answer .pf-big")
    answer.wait_for(timeout=180_000)
    expect(page.locator("#predict-bars .js-plotly-plot")).to_be_visible()
    (typed,) = json.loads(server.run("predict", f"runs/{RUN}", f"--sequence={SEQUENCE}", "--json"))
    assert answer.inner_text() == typed["prediction"]
    fill(page, "predict-sequence", "MKT1")
    page.locator("#predict-go").click()
    expect(page.locator("#predict-answer [role=alert]")).to_contain_text("'1'", timeout=180_000)


def test_a_predicted_table_is_that_of_the_terminal(server: Server, table: Path, page: Page) -> None:
    visit(page, server.address, tab="predict")
    page.get_by_role("tab", name="A table").click()
    upload(page, "predict-upload", table)
    expect(page.locator("#predict-data input")).to_have_value("short.csv (uploaded)")
    page.locator("#predict-start").click()
    link = page.locator("#predict-rows a[download]")
    link.wait_for(timeout=180_000)
    expect(page.locator("#predict-summary .js-plotly-plot")).to_be_visible()
    with page.expect_download() as download:
        link.click()
    server.run("predict", f"runs/{RUN}", str(table), "--out", "typed.csv")
    assert Path(download.value.path()).read_bytes() == (server.folder / "typed.csv").read_bytes()
    page.reload()  # what was predicted is still there
    page.get_by_role("tab", name="A table").click()
    expect(link).to_be_visible()


def test_an_exported_model_predicts_the_same(server: Server, page: Page) -> None:
    visit(page, server.address, tab="share")
    expect(page.locator("#share-run input")).to_have_value(RUN)
    page.locator("#share-start").click()
    link = page.locator("#share-result a[download]")
    link.wait_for(timeout=180_000)
    with page.expect_download() as download:
        link.click()
    bundle = server.folder / "downloaded.zip"
    download.value.save_as(bundle)
    of_run, of_bundle = (
        json.loads(server.run("predict", model, f"--sequence={SEQUENCE}", "--json"))
        for model in (f"runs/{RUN}", str(bundle))
    )
    assert of_run == of_bundle
    visit(page, server.address, language="zh", tab="predict")
    upload(page, "predict-model-upload", bundle)
    expect(page.locator("#predict-run input")).to_have_value("downloaded.zip（已上传）")
    fill(page, "predict-sequence", SEQUENCE)
    page.locator("#predict-go").click()
    answer = page.locator("#predict-answer .pf-big")
    expect(answer).to_have_text(of_run[0]["prediction"], timeout=180_000)


def test_the_command_that_is_shown_does_the_same_in_a_terminal(
    server: Server, table: Path, page: Page
) -> None:
    visit(page, server.address, tab="train")
    upload(page, "train-upload", table)
    choose(page, "setting-method", "freeze")
    fill(page, "setting-epochs", "2")
    command = page.locator("#train-preview code")
    expect(command).to_contain_text("--epochs=2")  # the page's own name of the run has come
    fill(page, "train-name", "on-the-page")
    expect(command).to_contain_text("--out=runs/on-the-page --method=freeze --epochs=2")
    program, *typed = shlex.split(command.inner_text())
    assert program == "profactory"
    page.locator("#train-start").click()
    wait_for_state(page, "finished")
    server.run(*(word.replace("runs/on-the-page", "runs/typed") for word in typed))
    ours, theirs = (server.folder / "runs" / name for name in ("on-the-page", "typed"))
    assert _measured(ours) == _measured(theirs)
    assert _losses(ours) == _losses(theirs)
    names = ("model.safetensors", "head.safetensors")
    weights = [{p.name: p.read_bytes() for p in (run / "model").rglob("*") if p.name in names}
               for run in (ours, theirs)]  # fmt: skip
    assert weights[0]
    assert weights[0] == weights[1]


def _measured(run: Path) -> dict[str, object]:
    metrics = json.loads((run / "report" / "metrics.json").read_text(encoding="utf-8"))
    return {name: metrics[name] for name in ("test", "validation", "counts", "baselines")}


def _losses(run: Path) -> list[object]:
    events = map(json.loads, (run / "events.jsonl").read_text(encoding="utf-8").splitlines())
    return [(e["event"], e.get("loss"), e.get("metrics")) for e in events if e["event"] != "message"]


def test_settings_come_back_from_a_run_and_from_a_file(server: Server, page: Page) -> None:
    visit(page, server.address, tab="train")
    page.get_by_role("button", name="Take settings from").click()
    choose(page, "train-restore", RUN)
    expect(page.locator("#train-preview")).to_contain_text("not in the data folder")  # of the terminal's run
    choose(page, "train-data", "Subcellular location, 6")
    command = page.locator("#train-preview code")
    expect(command).to_contain_text("--method=freeze --epochs=3")
    settings = server.folder / "mine.yaml"
    settings.write_text("learning_rate: 0.002\nmethod: lora\n", encoding="utf-8")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Settings from a YAML file").click()
    chooser.value.set_files(settings)
    expect(command).to_contain_text("--method=lora --learning-rate=0.002")
    with page.expect_download() as download:
        page.locator("#train-save").click()
    assert Path(download.value.path()).read_text(encoding="utf-8").split() == [
        "method:", "lora", "learning_rate:", "0.002",
    ]  # fmt: skip
