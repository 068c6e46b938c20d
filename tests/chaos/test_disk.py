"""R4, R11: a disk that is full or read-only, files that vanish: named errors, nothing there is harmed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from profactory.runs import Run
from profactory.training.checkpoint import list_checkpoints, newest_valid
from tests.chaos.conftest import EPOCHS, straight, words
from tests.chaos.test_kills import announced, assert_same_result
from tests.support.disks import limit_file_size, small_file_system
from tests.support.forks import profactory_process, until

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with small_file_system(tmp_path / "disk", 2) as place:
        yield place


def assert_whole(out: Path) -> None:
    """Every checkpoint that has its name is intact, and nothing half written lies about."""
    newest = newest_valid(out / "ckpt")
    assert newest is not None
    assert newest == max(list_checkpoints(out / "ckpt").items())[1]
    assert not list((out / "ckpt").glob(".*"))
    assert int(newest.name.rpartition("-")[2]) >= announced(out)


def test_a_full_disk(table: Path, model: Path, undisturbed: Path, tmp_path: Path, small_disk: Path) -> None:
    """A file system without room: said with the space that is needed; with more room the run goes on."""
    out = small_disk / "run"
    child = profactory_process(*words(table, model, out, epochs=EPOCHS), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 4, child)
    room = shutil.disk_usage(small_disk).free
    (small_disk / "other people's data").write_bytes(bytes(room))
    assert child.wait() == 1
    assert "cannot be written" in child.said or "No space left" in child.said
    assert "Traceback" not in child.said
    (small_disk / "other people's data").unlink()
    assert_whole(out)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = profactory_process("resume", out, log=tmp_path / "again.txt")
    assert again.wait() == 0, again.said[-2000:]
    assert_same_result(out, undisturbed)


def test_files_that_may_not_grow(table: Path, model: Path, undisturbed: Path, tmp_path: Path) -> None:
    """RLIMIT_FSIZE (error 27) in the middle of a checkpoint."""
    out = tmp_path / "run"
    first = profactory_process(*words(table, model, out, epochs=EPOCHS), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 3, first)
    first.send(15)
    first.wait()
    biggest = max(file.stat().st_size for file in (out / "ckpt").rglob("*") if file.is_file())
    limited = profactory_process(
        "resume", out, log=tmp_path / "limited.txt",
        before=(limit_file_size, biggest - 1),
    )  # fmt: skip
    assert limited.wait() == 1
    assert "cannot be written" in limited.said
    assert "of free disk space" in limited.said
    assert "Traceback" not in limited.said
    assert_whole(out)
    again = profactory_process("resume", out, log=tmp_path / "again.txt")
    assert again.wait() == 0, again.said[-2000:]
    assert_same_result(out, undisturbed)


def test_the_run_directory_vanishes(table: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    child = profactory_process(*words(table, model, out, epochs=500), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 2, child)
    out.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere")
    assert child.wait() == 1
    assert "does not exist (any more)" in child.said or "cannot be written" in child.said
    assert "Traceback" not in child.said


def read_only(folder: Path) -> None:
    """Make a folder read-only for every process from its next look on, as an administrator would."""
    for step in (["--bind", folder, folder], ["-o", "remount,bind,ro", folder]):
        if subprocess.run(["mount", *step], capture_output=True).returncode:
            pytest.skip("mounting needs root")


def test_the_run_directory_becomes_read_only(table: Path, model: Path, tmp_path: Path) -> None:
    """While a run is at work, and before it is resumed; when it can be written again, the run goes on."""
    epochs, out = 12, tmp_path / "run"
    expected = straight(table, model, tmp_path, epochs)
    child = profactory_process(*words(table, model, out, epochs=epochs), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 2, child)
    read_only(out)
    try:
        assert child.wait() == 1, child.said[-2000:]
        again = profactory_process("resume", out, log=tmp_path / "again.txt")
        assert again.wait() == 1, again.said[-2000:]
    finally:
        subprocess.run(["umount", "-l", out], check=True)
    for said in (child.said, again.said):
        error = said.rpartition("Error: ")[2]
        assert str(out) in error
        assert "Read-only file system" in error
        assert "Traceback" not in said
    assert_whole(out)
    last = profactory_process("resume", out, log=tmp_path / "last.txt")
    assert last.wait() == 0, last.said[-2000:]
    assert_same_result(out, expected)


def test_the_table_vanishes_and_comes_back(
    table: Path, model: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    child = profactory_process(*words(table, model, out, epochs=EPOCHS), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 2, child)
    child.send(15)
    child.wait()
    kept = table.read_bytes()
    table.unlink()
    again = profactory_process("resume", out, log=tmp_path / "again.txt")
    assert again.wait() == 1
    assert str(table) in again.said
    assert "Traceback" not in again.said
    table.write_bytes(kept)
    last = profactory_process("resume", out, log=tmp_path / "last.txt")
    assert last.wait() == 0, last.said[-2000:]
    assert_same_result(out, undisturbed)
    assert Run.open(out).status()["state"] == "finished"
