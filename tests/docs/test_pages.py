"""The commands and Python examples of the README and the documentation are run, page by page."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import profactory
from profactory.data.bundled import bundled_path
from tests.support.command_server import serving
from tests.support.fake_hub import fake_hub

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *sorted(page for page in DOCS.rglob("*.md") if "decisions" not in page.parts),
    *sorted(ROOT.glob("examples/**/*.md")),
]
#: Pages that docs/hooks.py makes while the site is built.
MADE = {DOCS / "reference/cli.md", DOCS / "reference/configuration.md", DOCS / "faq.md", DOCS / "faq.zh.md"}
#: What a stranger reads first; the examples of all other pages are run by `make test-all`.
FIRST = (ROOT / "README.md", DOCS / "tutorial.md")
#: Commands that cannot be run here, and why.
NOT_RUN = {
    r"(pip|make|ssh|sbatch|hf|docker) ": "not ours",
    r"(torchrun|accelerate launch) ": "in tests/integration",
    r"profactory ui": "goes on until it is stopped; in tests/web",
    r"profactory datasets push|.*\bme/my-proteins": "needs data sets of the Hub; in tests/unit/data",
    r".*\besm2-\d": "needs a model of the Hub",
    r".* --address ": "needs a cluster; in tests/integration/test_cluster.py",
    r"profactory train .*--seeds 3 --out": "three trainings more; in tests/integration/test_folds.py",
    r".*--trials 30": "thirty trainings; in tests/integration",
    r"profactory train .*--structures": "needs structures of these proteins; in tests/integration",
    r"profactory predict .*--structures": "as above",
}
BLOCK = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
ROWS = 150


def scripts(page: Path) -> Iterator[list[str]]:
    """Yield what to execute for each example of a page."""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            yield [sys.executable, "-c", f"import profactory\n{text}"]
            continue
        lines = [line[2:] for line in text.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
        lines = [line for line in lines if not any(re.match(pattern, line) for pattern in NOT_RUN)]
        if lines:
            yield ["bash", "-euo", "pipefail", "-c", "\n".join(lines)]


def commands(page: Path) -> Iterator[str]:
    """Yield the lines of the examples without their comments."""
    for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        for line in text.splitlines():
            if kind == "python" or line.startswith("$ "):
                yield re.sub(r"\s+#.*", "", line)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all pages: what one of them embedded is not embedded again."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which the examples call RUN."""
    path = tmp_path_factory.mktemp("runs") / "RUN"
    return profactory.train("bundled:demo-membrane", out=path, limit=ROWS, epochs=2).path


@pytest.fixture
def desk(tmp_path: Path, run: Path) -> Path:
    """A folder with what the examples take for granted."""
    lines = gzip.decompress(bundled_path("demo-membrane").read_bytes()).decode().splitlines(keepends=True)
    header, known, new = lines[:1], lines[1 : ROWS + 1], lines[ROWS + 1 : ROWS + 9]
    for name in ("proteins.csv", "data.csv"):
        (tmp_path / name).write_text("".join(header + known), encoding="utf-8")
    (tmp_path / "new.csv").write_text("".join(header + new), encoding="utf-8")
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress("".join(header + new).encode()))
    for name, rows in {"new.fasta": new, "proteins.fasta": known, "family.fasta": known}.items():
        cells = [row.split(",") for row in rows]
        (tmp_path / name).write_text("".join(f">{cell[0]}\n{cell[1]}\n" for cell in cells), encoding="utf-8")
    (tmp_path / "parts").mkdir()
    pl.read_csv(tmp_path / "new.csv").write_parquet(tmp_path / "parts" / "0.parquet")
    shutil.copytree(ROOT / "tests" / "support" / "structures", tmp_path / "pdb-files")
    shutil.copytree(run, tmp_path / "RUN")
    programs = tmp_path / ".bin"
    programs.mkdir()
    for name, words in {"profactory": "-m profactory", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    return tmp_path


def test_both_readmes_have_the_same_commands() -> None:
    """So that those of one of them are enough to run."""
    english, chinese = (list(commands(ROOT / name)) for name in ("README.md", "README_zh.md"))
    assert english == chinese


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, id=str(page.relative_to(ROOT)), marks=() if page in FIRST else pytest.mark.extensive
        )
        for page in PAGES
        if page.name != "README_zh.md" and any(scripts(page))
    ],
)
def test_the_examples_of_a_page_run(page: Path, desk: Path, cache: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{desk / '.bin'}{os.pathsep}{os.environ['PATH']}",
        "PROFACTORY_CACHE": str(cache),
        "HF_HOME": str(desk / ".hub"),
        "HF_HUB_OFFLINE": "0",  # there is a Hub, on the loopback interface
    }
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(fake_hub())
        environment |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_XET": "1"}
        if page.parent != ROOT:  # the README's commands are processes of their own from the very start
            stack.enter_context(serving(desk / ".bin" / "profactory", environment))
        for words in scripts(page):
            done = subprocess.run(
                words, cwd=desk, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{words[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [(page.parent / link).resolve() for link in LINK.findall(text)]
    assert [link for link in links if not link.exists() and link not in MADE] == []
