"""Checkpoints: whole or not there, damage found, older ones kept until the new one is safe."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from profactory.errors import CheckpointError, RunError
from profactory.training import checkpoint as module
from profactory.training.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    newest_valid,
    prune_checkpoints,
    save_checkpoint,
    verify_checkpoint,
)
from tests.support.dying import save_and_die, tensors
from tests.support.forks import exit_code

FILES = ("manifest.json", "model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json")


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with intact checkpoints of steps 3 and 12."""
    for step in (3, 12):
        save_checkpoint(tmp_path, step, tensors(step), {"position": step, "loss": 0.1})
    return tmp_path


def test_round_trip_is_exact(two):
    loaded = load_checkpoint(two / "checkpoint-12")
    expected = tensors(12)
    for stem, group in expected.items():
        assert loaded.tensors[stem].keys() == group.keys()
        for name in group:
            assert torch.equal(loaded.tensors[stem][name], group[name])
    assert loaded.state == {"position": 12, "loss": 0.1}
    assert sorted(path.name for path in (two / "checkpoint-12").iterdir()) == list(FILES)


def test_newest_is_by_number_not_by_name(two):
    assert list(list_checkpoints(two)) == [3, 12]
    assert newest_valid(two).name == "checkpoint-12"
    assert newest_valid(two / "nowhere") is None


def flip(file: Path, position: int, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1 << bit
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_found(two, name):
    file = two / "checkpoint-12" / name
    size = file.stat().st_size
    places = range(size) if name == "manifest.json" else {0, 7, 8, size // 2, size - 1}
    for position in places:
        flip(file, position, position % 8)
        with pytest.raises(CheckpointError, match="checkpoint-12"):
            verify_checkpoint(file.parent)
        flip(file, position, position % 8)
    verify_checkpoint(file.parent)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["deleted", "empty", "half", "one byte less", "zeros", "longer"])
def test_damage_falls_back_with_a_warning_that_names_it(two, name, damage, caplog):
    file = two / "checkpoint-12" / name
    data = file.read_bytes()
    new = {
        "empty": b"",
        "half": data[: len(data) // 2],
        "one byte less": data[:-1],
        "zeros": bytes(len(data)),
        "longer": data + b"\0",
    }
    file.unlink()
    if damage != "deleted":
        file.write_bytes(new[damage])
    assert newest_valid(two).name == "checkpoint-3"
    assert "checkpoint-12" in caplog.text
    assert name in caplog.text


def test_swapped_files_and_foreign_manifest_are_found(two):
    here, there = two / "checkpoint-12", two / "checkpoint-3"
    shutil.copy(there / "manifest.json", here / "manifest.json")
    with pytest.raises(CheckpointError, match="step 3"):
        verify_checkpoint(here)
    model, optimizer = there / "model.safetensors", there / "optimizer.safetensors"
    spare = two / "spare"
    for source, target in ((model, spare), (optimizer, model), (spare, optimizer)):
        source.rename(target)
    with pytest.raises(CheckpointError, match="model"):
        verify_checkpoint(there)
    assert newest_valid(two) is None


def test_newer_format_is_named(two, monkeypatch):
    monkeypatch.setattr(module, "SCHEMA_VERSION", 7)
    save_checkpoint(two, 20, tensors(), {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="newer version"):
        load_checkpoint(two / "checkpoint-20")


def test_prune_keeps_the_last_and_the_best(tmp_path):
    for step in (1, 2, 3, 4, 5):
        save_checkpoint(tmp_path, step, tensors(), {})
    prune_checkpoints(tmp_path, keep=2, best=2)
    assert list(list_checkpoints(tmp_path)) == [2, 4, 5]
    prune_checkpoints(tmp_path, keep=2, best=5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-5"]


def test_saving_a_step_again_replaces_it(two):
    save_checkpoint(two, 12, tensors(99), {"again": True})
    assert load_checkpoint(two / "checkpoint-12").state == {"again": True}


def test_leftovers_of_a_killed_process_are_removed(two):
    rubbish = two / ".checkpoint-13.123-abc.tmp"
    rubbish.mkdir()
    (rubbish / "model.safetensors").write_bytes(b"half")
    assert newest_valid(two).name == "checkpoint-12"
    save_checkpoint(two, 13, tensors(), {})
    assert not rubbish.exists()


def test_order_of_commit(tmp_path, monkeypatch):
    """Each file is on the disk before the manifest is written, all before the rename; then the folder."""
    seen: list[str] = []
    fsync, rename, write = os.fsync, Path.rename, Path.write_bytes
    link = "/proc/self/fd/{}"

    def note_fsync(descriptor: int) -> None:
        seen.append("fsync " + Path(os.readlink(link.format(descriptor))).name)
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        seen.append(f"rename to {Path(target).name}")
        return rename(self, target)

    def note_write(self: Path, data: bytes) -> int:
        seen.append(f"write {self.name}")
        return write(self, data)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    monkeypatch.setattr(Path, "write_bytes", note_write)
    folder = tmp_path / "ckpt"
    save_checkpoint(folder, 4, tensors(), {})
    manifest, renamed = seen.index("write manifest.json"), seen.index("rename to checkpoint-4")
    for name in FILES[1:]:
        assert seen.index(f"fsync {name}") < manifest
    assert manifest < seen.index("fsync manifest.json") < renamed
    assert seen[-1] == "fsync ckpt"


def test_too_little_space_is_said_before_writing(two, monkeypatch):
    usage = shutil.disk_usage(two)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(RunError, match="MB are free") as caught:
        save_checkpoint(two, 20, tensors(), {})
    assert "MB of free disk space" in str(caught.value)
    assert sorted(path.name for path in two.iterdir()) == ["checkpoint-12", "checkpoint-3"]


FILE_LIMIT = """
import resource, signal, sys
from pathlib import Path
import torch
from profactory.errors import RunError
from profactory.training.checkpoint import save_checkpoint, newest_valid
folder = Path(sys.argv[1])
save_checkpoint(folder, 1, {"model": {"w": torch.zeros(10)}}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
big = {"model": {"w": torch.zeros(10)}, "optimizer": {"w": torch.zeros(100_000)}}
try:
    save_checkpoint(folder, 2, big, {})
except RunError as error:
    print(error)
    print(sorted(p.name for p in folder.iterdir()), newest_valid(folder).name)
"""


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    """A real failure in the middle of the optimizer file (error 27: file too large)."""
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert "checkpoint-2 cannot be written" in done.stdout, done.stderr
    assert "0.47 MB of free disk space" in done.stdout  # 400,040 bytes of tensors and 65,536 to spare
    assert "['checkpoint-1'] checkpoint-1" in done.stdout


def killed_at(call: int, folder: Path) -> bool:
    """Return whether :func:`save_and_die` was killed; False when it got to its end before that call."""
    code = exit_code(save_and_die, call, folder)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_at_every_single_step_of_the_commit(two):
    """R1: whenever the process dies, the newest checkpoint is intact, and the next save works."""
    newest, call = [], 1
    while killed_at(call, two):
        newest.append(newest_valid(two).name)
        assert "checkpoint-3" in {path.name for path in two.iterdir()}  # the best so far
        save_checkpoint(two, 12, tensors(12), {"position": 12})
        shutil.rmtree(two / "checkpoint-20", ignore_errors=True)
        assert not list(two.glob(".*"))
        call += 1
    assert len(newest) >= 15  # five files, their flushes, the folder's, the rename, the pruning
    assert newest == sorted(newest)  # checkpoint-12 up to the rename, checkpoint-20 from then on
    assert set(newest) == {"checkpoint-12", "checkpoint-20"}
