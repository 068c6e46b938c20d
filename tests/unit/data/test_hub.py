"""Data sets of the Hub: fetched from a server on this machine, read again without it, pinned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profactory.data.hub import HubAddress, fetch_data, parse_address
from profactory.data.prepare import prepare_dataset
from profactory.data.sources import durable_name, find_sources
from profactory.errors import ReadError
from tests.support.hub import COMMIT, serve_dataset

TABLE = "aa_seq,label\nMKT,a\nMKV,b\n"


def run(*typed: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "profactory", *typed]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_fetched_once_and_read_again_without_network(tmp_path: Path) -> None:
    files = {"train.csv": TABLE, "valid.csv": TABLE, "test.csv": TABLE, "README.md": "hello", "run.py": "1/0"}
    home = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with serve_dataset("lab/proteins", files) as address:
        done = run("check", "lab/proteins", "--json", HF_ENDPOINT=address, HF_HUB_OFFLINE="0", **home)
        missing = run("check", "lab/nothing", HF_ENDPOINT=address, HF_HUB_OFFLINE="0", **home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["counts"]["splits"] == {"train": 2, "validation": 2, "test": 2}
    assert COMMIT in report["files"][0]["path"]
    assert not list((tmp_path / "hf").rglob("run.py"))
    assert missing.returncode == 1
    assert "lab/nothing could not be got" in missing.stderr
    assert "Traceback" not in missing.stderr
    again = run("check", "lab/proteins", "--json", HF_HUB_OFFLINE="1", **home)
    assert json.loads(again.stdout)["counts"] == report["counts"]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a data set as the Hub's client caches it; return its folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "datasets--lab--proteins"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


def test_the_commit_is_written_down(cached: Path) -> None:
    (cached / "data.csv").write_text(TABLE)
    assert str(fetch_data(HubAddress("lab/proteins")).address) == f"lab/proteins@{COMMIT}"
    assert durable_name("lab/proteins") == f"lab/proteins@{COMMIT}"
    assert len(prepare_dataset("lab/proteins").dataset) == 2
    with pytest.raises(ReadError, match="HF_HUB_OFFLINE is set"):
        prepare_dataset("lab/proteins@v9")


def test_the_description_tells_configurations_and_splits(cached: Path) -> None:
    (cached / "part").mkdir()
    for name in ("part/a.csv", "part/b.csv", "other.csv"):
        (cached / name).write_text(TABLE)
    (cached / "README.md").write_text(
        "---\nconfigs:\n- config_name: one\n  default: true\n  data_files:\n"
        "  - split: train\n    path: part/a*\n  - split: test\n    path: part/b.csv\n"
        "- config_name: two\n  data_files: other.csv\n---\n# Proteins\n"
    )
    found = [(file.path.name, file.split) for file in find_sources("lab/proteins")]
    assert found == [("a.csv", "train"), ("b.csv", "test")]
    assert [file.path.name for file in find_sources("lab/proteins:two")] == ["other.csv"]
    with pytest.raises(ReadError, match="no configuration 'three'"):
        find_sources("lab/proteins:three")


def test_folders_without_a_description(cached: Path) -> None:
    for name in ("data", "extra"):
        (cached / name).mkdir()
        (cached / name / "train-00000.csv").write_text(TABLE)
        (cached / name / "test-00000.csv").write_text(TABLE)
    assert [file.split for file in find_sources("lab/proteins")] == ["train", "test"]
    assert find_sources("lab/proteins:extra")[0].path.parent.name == "extra"
    (cached / "data").rename(cached / "more")
    with pytest.raises(ReadError, match="several configurations"):
        find_sources("lab/proteins")


@pytest.mark.parametrize(
    "text",
    ["data/proteins.csv", "proteins", "a/b/c", "../x/y", "/abs/path", "x/y.fasta.gz", "src/profactory"],
)
def test_paths_are_no_addresses(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    assert parse_address(text) is None


def test_addresses() -> None:
    assert parse_address("lab/x:all@refs/pr/1") == HubAddress("lab/x", "all", "refs/pr/1")
    assert str(HubAddress("lab/x", "all", "v1")) == "lab/x:all@v1"
