"""Shared set-up: hermetic, one thread, its own cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# Nothing depends on the time that a test takes.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
TESTS = Path(__file__).parent
# Before anything imports torch or the Hub client.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker of `make test` is left alone with them at the end."""
    items.sort(key=lambda item: not item.path.is_relative_to(TESTS / "web"))
    items.sort(key=lambda item: not item.path.is_relative_to(TESTS / "integration"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a cache folder of its own; nothing is read from or left in the user's."""
    cache: Path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PROFACTORY_CACHE", str(cache))


@pytest.fixture(scope="session", autouse=True)
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["PROFACTORY_CACHE"] = str(tmp_path_factory.mktemp("session-cache"))
