"""D9, R4: files of predictions and embeddings whose making is killed, or for which the disk has no room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind
from tests.support.disks import limit_file_size, small_file_system
from tests.support.forks import Process, profactory_process, until

pytestmark = pytest.mark.slow
TORCH = ("--engine", "torch")  # the others are built and measured first
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = ProteinModel.build(resolve(str(model)), Task(TaskKind.REGRESSION), max_length=60)
    return built.save(tmp_path_factory.mktemp("trained") / "model")


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("input") / "in.fasta"
    texts = [
        (LETTERS * 5)[i % 20 : i % 20 + 38 + i % 31] + LETTERS[i % 19] + LETTERS[i % 17] for i in range(9_000)
    ]
    file.write_text("".join(f">p{i}\n{text}\n" for i, text in enumerate(texts)))
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is computed already."""
    monkeypatch.setenv("PROFACTORY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with small_file_system(tmp_path / "disk", 1) as place:
        yield place


def finished(*words: str | Path, log: Path) -> str:
    """Run a command to its end; return what it said."""
    process = profactory_process(*words, log=log)
    assert process.wait() == 0, process.said[-2000:]
    return process.said


def assert_one_clear_error(process: Process, *said: str) -> None:
    assert process.wait() == 1, process.said[-2000:]
    assert process.said.count("Error: ") == 1
    assert "Warning" not in process.said
    assert "Traceback" not in process.said
    for words in said:
        assert words in process.said


def nothing_left(folder: Path) -> bool:
    return not list(folder.glob(".*"))


def test_predictions_on_a_full_disk(trained: Path, sequences: Path, tmp_path: Path, small_disk: Path) -> None:
    """Said once, with the space that is missing; with more room the same command ends alike."""
    whole = tmp_path / "whole.csv"
    finished("predict", trained, sequences, *TORCH, "--out", whole, log=tmp_path / "straight")
    out = small_disk / "out.csv"
    words = ("predict", trained, sequences, *TORCH, "--out", out)
    full = profactory_process(*words, log=tmp_path / "full")
    assert_one_clear_error(full, "No space left on device", "MB of free disk space", "same command goes on")
    kept = list(small_disk.glob(".out.csv.partial/block-*.arrow"))
    assert kept
    assert not out.exists()
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert f"behind the first {len(kept)} blocks" in finished(*words, log=tmp_path / "again")
    assert out.read_bytes() == whole.read_bytes()
    assert nothing_left(small_disk)


def test_predictions_that_may_not_grow(trained: Path, sequences: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE (error 27) while the output is written from blocks that are all done."""
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    finished("predict", trained, sequences, *TORCH, "--out", whole, log=tmp_path / "straight")
    words = ("predict", trained, sequences, *TORCH, "--out", out)
    limit = (limit_file_size, whole.stat().st_size - 1000)
    limited = profactory_process(*words, log=tmp_path / "limited", before=limit)
    assert_one_clear_error(limited, "File too large", "same command goes on")
    assert not out.exists()
    assert "which are done" in finished(*words, log=tmp_path / "again")
    assert out.read_bytes() == whole.read_bytes()
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet", "safetensors"])
def test_embeddings_that_are_killed(
    model: Path, sequences: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed is not computed again, and the file ends with the same bytes in every format."""
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"out.{ending}"
    finished("embed", model, sequences, "--out", whole, log=tmp_path / "straight")
    cache = tmp_path / "other"
    monkeypatch.setenv("PROFACTORY_CACHE", str(cache))
    words = ("embed", model, sequences, "--out", out)
    killed = profactory_process(*words, log=tmp_path / "killed")
    until(lambda: bool(list(cache.glob("embeddings/*/shard-*.bin"))), killed)
    killed.send(9)
    assert killed.wait() == -9
    assert not out.exists()
    assert "Going on with embeddings" in finished(*words, log=tmp_path / "again")
    assert out.read_bytes() == whole.read_bytes()
    assert nothing_left(tmp_path)


def test_embeddings_without_room(model: Path, sequences: Path, tmp_path: Path, small_disk: Path) -> None:
    """A disk that is too small from the first is refused before anything is computed."""
    out = small_disk / "out.npz"
    process = profactory_process("embed", model, sequences, "--out", out, log=tmp_path / "log")
    assert process.wait() == 1
    assert "Traceback" not in process.said
    assert "cannot be written" in process.said
    assert "free disk space" in process.said
    assert nothing_left(small_disk)
    assert not list((tmp_path / "cache").glob("embeddings/*/shard-*"))
    assert shutil.disk_usage(small_disk).used == 0


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet", "safetensors"])
def test_embeddings_that_may_not_grow(model: Path, sequences: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out.{ending}"
    words = ("embed", model, sequences, "--out", out)
    limited = profactory_process(*words, log=tmp_path / "limited", before=(limit_file_size, 900_000))
    assert_one_clear_error(limited, "File too large", "in the cache, and the same command goes on")
    assert not out.exists()
    assert "embedding:" not in finished(*words, log=tmp_path / "again")
    assert out.exists()
    assert nothing_left(tmp_path)
