"""Real processes under what happens to them: kills, full disks, races, vanished files.

``make test`` runs a short form of each; ``make chaos`` sets ``CHAOS_KILLS=200`` and shows what was done.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.support.models import tiny_esm
from tests.support.tables import write_table

KILLS = int(os.environ.get("CHAOS_KILLS", "6"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "t.csv", "regression", rows=48)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
