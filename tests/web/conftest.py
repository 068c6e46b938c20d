"""A server of its own for each module, and a real browser."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from profactory.data.bundled import bundled_path
from tests.support.command_server import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
#: Structures are drawn with WebGL, here without a graphics card.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
STEP_MILLISECONDS = 60_000
expect.set_options(timeout=STEP_MILLISECONDS)


@dataclass
class Server:
    """A running ``profactory ui``; one that starts at once if it has a `program` and is not `real`."""

    folder: Path
    cache: Path
    program: Path | None = None
    real: bool = False
    port: int = 0
    address: str = ""
    process: subprocess.Popen[str] | None = None
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PROFACTORY_CACHE": str(self.cache), **self.variables}

    def run(self, *words: str) -> str:
        """Run a command in the server's folder, as a person in a terminal would."""
        assert self.program is not None
        done = subprocess.run(
            [self.program, *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *more: str) -> None:
        command = [self.program] if self.program and not self.real else [sys.executable, "-m", "profactory"]
        self.process = subprocess.Popen(
            [*command, "ui", "--port", str(self.port), *more],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://[^/]+:(\d+)/\S*", line)
        assert found, line
        self.address, self.port = found[0], int(found[1])

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.read()  # to its end: whoever held the port is gone
            self.process.stdout.close()
            self.process = None


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The command line, in processes that need not import everything first."""
    path = tmp_path_factory.mktemp("program") / "profactory"
    with serving(path, dict(os.environ), "profactory.web.server"):
        yield path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("page"), tmp_path_factory.mktemp("page-cache"), program)
    (made.folder / "data").mkdir()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM:
        if os.environ.get("CI"):
            pytest.fail("CI installs chromium; see .ci/run")
        pytest.skip("chromium is not installed")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(locale="en-GB", accept_downloads=True)
    context.set_default_timeout(STEP_MILLISECONDS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def table(server: Server) -> Path:
    """Short sequences of a bundled set, so that an epoch takes about a second."""
    return short_table("demo-location", server.folder / "short.csv")


def short_table(name: str, target: Path) -> Path:
    """Write the first 120 short sequences of a bundled set."""
    source = bundled_path(f"bundled:{name}")
    assert source is not None
    with gzip.open(source, "rt", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if len(row["sequence"]) < 90]
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(itertools.islice(rows, 120))
    return target
