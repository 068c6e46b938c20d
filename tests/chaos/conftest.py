"""Real processes under what happens to them: kills, full disks, races, vanished files.

``make test`` runs a short form of each; ``make chaos`` sets ``CHAOS_KILLS=200`` and shows what was done.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.support.forks import profactory_process
from tests.support.models import tiny_esm
from tests.support.tables import write_table

EPOCHS = 3
KILLS = int(os.environ.get("CHAOS_KILLS", "6"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def words(table: Path, model: Path, out: Path, *, epochs: int) -> list[str | Path]:
    settings = ("--method", "lora", "--batch-size", "4", "--device", "cpu", "--patience", "0")
    often = ("--save-steps", "1", "--eval-steps", "20", "--epochs", str(epochs))
    return ["train", table, "--model", model, "--out", out, *settings, *often]


def straight(table: Path, model: Path, folder: Path, epochs: int) -> Path:
    """Train without any disturbance."""
    out = folder / "straight"
    child = profactory_process(*words(table, model, out, epochs=epochs), log=folder / "straight.txt")
    assert child.wait() == 0, child.said[-2000:]
    return out


@pytest.fixture(scope="session")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of a few epochs gives when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return straight(write_table(folder / "t.csv", "regression", rows=48), model, folder, EPOCHS)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "t.csv", "regression", rows=48)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
