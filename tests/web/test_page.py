"""The page in a real browser: both languages, hostile names, own origin, other hosts, a proxy."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from profactory.runs import Run
from tests.web.conftest import Server
from tests.web.hands import choose, open_tab, upload, visit

pytestmark = pytest.mark.slow
HOSTILE = '<img src=x onerror="window.pwned=1">'
TABS = {
    "en": ["Data", "Train", "Runs", "Evaluate", "Predict", "Structures", "Share", "Help"],
    "zh": ["数据", "训练", "训练记录", "评估", "预测", "结构", "分享", "帮助"],
}


@pytest.fixture
def requests(page: Page) -> list[Request]:
    """Everything that the page asks for."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))
    return seen


def _foreign(requests: list[Request], server: Server) -> list[str]:
    own = urlsplit(server.address).netloc
    return [
        r.url
        for r in requests
        if urlsplit(r.url).scheme in ("http", "https", "ws") and urlsplit(r.url).netloc != own
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_tab_opens_and_asks_nobody_else(
    server: Server, page: Page, requests: list[Request], language: str
) -> None:
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    visit(page, server.address, language=language)
    for tab in TABS[language]:
        open_tab(page, tab)
        expect(page.get_by_role("tab", name=tab, exact=True)).to_have_attribute("aria-selected", "true")
    assert troubles == []
    assert _foreign(requests, server) == []
    assert len(requests) > 20


def test_the_language_can_be_changed_and_is_remembered(server: Server, page: Page) -> None:
    page.goto(server.address)
    expect(page.get_by_role("tab", name="Data", exact=True)).to_be_visible()
    open_tab(page, "Help")
    page.get_by_role("link", name="简体中文").click()
    expect(page.get_by_role("tab", name="帮助", exact=True)).to_have_attribute("aria-selected", "true")
    page.goto(server.address)
    expect(page.get_by_role("tab", name="数据", exact=True)).to_be_visible()


def test_an_empty_page_says_what_to_do_next(server: Server, page: Page) -> None:
    visit(page, server.address, tab="runs")
    expect(page.locator("#runs-list")).to_contain_text("Start one in the tab Train")
    visit(page, server.address, tab="train")
    page.locator("#train-start").click()
    expect(page.get_by_role("alert")).to_contain_text("No data were chosen")
    visit(page, server.address, tab="predict")
    expect(page.locator("#predict-none")).to_contain_text("Start a run in the tab Train")
    page.locator("#predict-go").click()
    expect(page.get_by_role("alert")).to_contain_text("No trained model was chosen")


def test_a_dirty_table_is_checked_mended_divided_and_taken_to_training(
    server: Server, page: Page, tmp_path: Path
) -> None:
    table = tmp_path / "dirty.csv"
    good = "".join(
        f"{'MKTAYIAKQRQISFVK'[i % 8 :]}{'ACDEFGHIKL'[i % 10]}{'W' * (i // 10)},{'ab'[i % 2]}\n"
        for i in range(60)
    )
    table.write_text(f"sequence,{HOSTILE}\n{good}MK1T,a\nmkt*,b\n", encoding="utf-8")
    visit(page, server.address, tab="data")
    upload(page, "data-upload", table)
    expect(page.locator("#data-preview")).to_contain_text(HOSTILE)
    page.get_by_text("Columns and task").click()
    choose(page, "setting-label_column", "<img")
    page.locator("#data-check").click()
    report = page.locator("#data-report")
    expect(report).to_contain_text("1 rows cannot be used")
    expect(report.locator("table")).to_contain_text("62")  # the line
    expect(page.locator("#data-labels .js-plotly-plot")).to_be_visible()
    page.locator("#data-fix").click()
    expect(page.locator("#data-made")).to_contain_text("rejected_rows.csv")
    page.get_by_text("Divide into train").click()
    page.locator("#data-divide").click()
    expect(page.locator("#data-made")).to_contain_text("validation.csv")
    expect(page.locator("#data-made")).to_contain_text("Test sequences also in train")
    expect(page.locator("#data-relatives .js-plotly-plot")).to_be_visible()
    page.locator("#data-use").click()
    expect(page.locator("#train-preview")).to_contain_text("runs/.results/")
    assert page.evaluate("window.pwned") is None


def test_names_from_data_stay_names(server: Server, page: Page, requests: list[Request]) -> None:
    run = Run.create(
        server.folder / "runs" / "hostile", {"data": HOSTILE, "model": HOSTILE, "method": "freeze"}
    )
    metrics = {HOSTILE: 0.5, "loss": 1.0, "mcc": 0.1}
    for step in (1, 2):
        run.emit("evaluation", step=step, epoch=step, train_loss=1.0, metrics=metrics, improved=True)
    (run.path / "log.txt").write_text(
        f"\x1b[2J\x1b]0;owned\x07{HOSTILE}</code></pre>{HOSTILE}\n", encoding="utf-8"
    )
    error = {"error": "DataError", "found": HOSTILE, "expected": HOSTILE, "fix": HOSTILE}
    run.set_status("failed", error=error, task=HOSTILE, monitor="mcc")
    visit(page, server.address, run="hostile")
    expect(page.locator("#run-head")).to_contain_text(HOSTILE)
    expect(page.locator("#run-metric .js-plotly-plot")).to_be_visible()
    page.get_by_role("button", name="Log").click()
    expect(page.locator("#run-log")).to_contain_text(HOSTILE)
    assert "\x1b" not in page.content()
    assert page.evaluate("window.pwned") is None
    assert _foreign(requests, server) == []
    page.locator("#run-delete").click()
    page.locator("#run-delete-sure").click()
    expect(page.locator("#runs-list")).not_to_contain_text("hostile")
    assert not run.path.exists()


def test_a_line_of_a_megabyte_in_the_log_does_not_hang_the_page(server: Server, page: Page) -> None:
    run = Run.create(server.folder / "runs" / "wordy", {"data": "x", "model": "mini", "method": "freeze"})
    run.set_status("failed", error={"error": "DataError", "found": "Wordy.", "expected": "", "fix": ""})
    log = run.path / "log.txt"
    log.write_text("x" * (1 << 20) + "end of the line", encoding="utf-8")
    visit(page, server.address, run="wordy")
    page.get_by_role("button", name="Log").click()
    expect(page.locator("#run-log")).to_contain_text("end of the line")
    with log.open("a", encoding="utf-8") as file:  # it grows while somebody looks
        file.write("\n" + "y" * (1 << 20) + "\nlast line\n")
    expect(page.locator("#run-log")).to_contain_text("last line")
    assert len(page.locator("#run-log").inner_text()) < 50_000
    open_tab(page, "Help")
    expect(page.locator("#question-1")).to_be_visible()
    open_tab(page, "Runs")
    page.locator("#run-delete").click()
    page.locator("#run-delete-sure").click()
    expect(page.locator("#runs-list")).not_to_contain_text("wordy")


# ---------------------------------------------------------------- other hosts, other paths


def test_another_host_asks_for_the_token_that_was_printed(tmp_path: Path, page: Page) -> None:
    server = Server(tmp_path, tmp_path / "cache")
    server.start("--host", "0.0.0.0")  # noqa: S104 - the test is about it
    try:
        token = urlsplit(server.address).query.removeprefix("token=")
        assert len(token) >= 22
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/en/")
        assert connection.getresponse().status == 401
        connection.close()
        here = f"http://127.0.0.1:{server.port}/"
        page.goto(here)
        page.get_by_label("Token").fill("not-the-token-at-all")
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("tab", name="Data", exact=True)).to_be_visible()
        assert token not in page.url
        written = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path for path in written if token.encode() in path.read_bytes()] == []
    finally:
        server.stop()


def test_a_file_that_is_too_large_is_refused_in_words(tmp_path: Path, page: Page) -> None:
    server = Server(tmp_path, tmp_path / "cache")
    server.start("--upload-megabytes", "1")
    try:
        for name, size in {"large.csv": 2 << 20, "right.csv": 900_000}.items():
            row = f"{'MKTAYIAKQR' * 8},a\n"
            (tmp_path / name).write_text("sequence,label\n" + row * (size // len(row)), encoding="utf-8")
        kept = tmp_path / "runs" / ".uploads"
        visit(page, server.address, tab="data")
        upload(page, "data-upload", tmp_path / "large.csv")
        expect(page.locator("body")).to_contain_text("exceed the maximum")
        for number in range(5):  # five times the largest file in a day
            upload(page, "data-upload", tmp_path / "right.csv")
            _wait(page, lambda count=number + 1: len(list(kept.glob("*/right.csv"))) == count)
        upload(page, "data-upload", tmp_path / "right.csv")
        expect(page.locator("body")).to_contain_text("in a day")
    finally:
        server.stop()


def _wait(page: Page, reached: Callable[[], bool]) -> None:
    for _ in range(600):
        if reached():
            return
        page.wait_for_timeout(100)
    pytest.fail("it did not come to that")


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[str, Server]]:
    """A server behind a proxy that serves it under /tools/pf/ and takes that off before it asks."""
    server = Server(tmp_path, tmp_path / "cache")
    server.start("--root-path", "/tools/pf")
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _proxy_of(server.port))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{proxy.server_port}/tools/pf/", server
    proxy.shutdown()
    proxy.server_close()
    server.stop()


def _proxy_of(port: int) -> type[BaseHTTPRequestHandler]:
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/tools/pf/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request(
                    self.command, self.path.removeprefix("/tools/pf"), body, dict(self.headers)
                )
                with connection.getresponse() as answer:
                    self._pass_on(answer)

        def _pass_on(self, answer: http.client.HTTPResponse) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while part := answer.read1(1 << 16):
                self.wfile.write(part)
                self.wfile.flush()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Proxy


def test_the_page_works_behind_a_proxy_with_a_path(proxied: tuple[str, Server], page: Page) -> None:
    address, _ = proxied
    missing: list[str] = []
    page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
    page.goto(address)
    expect(page.get_by_role("tab", name="Data", exact=True)).to_be_visible()
    open_tab(page, "Train")
    choose(page, "train-data", "Subcellular")
    expect(page.locator("#train-preview code")).to_contain_text("profactory train bundled:demo-location")
    page.get_by_role("link", name="简体中文").click()
    expect(page.get_by_role("tab", name="训练", exact=True)).to_have_attribute("aria-selected", "true")
    assert [url for url in missing if "/tools/pf/" in url] == []
