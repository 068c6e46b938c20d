"""R11: somebody sets the clock while a run is at work."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from profactory.runs import Run, layout
from tests.chaos.conftest import EPOCHS, words
from tests.chaos.test_kills import announced, assert_same_result
from tests.support.forks import profactory_process, until

pytestmark = pytest.mark.slow


def set_clock_back(after: int) -> None:
    """Let the clock of this process jump back by 400 days when it was looked at so often, and again."""
    looked = 0
    right = time.time

    def jump() -> timedelta:
        nonlocal looked
        looked += 1
        return timedelta(days=400 * (looked // after))

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - jump()

    layout.datetime = Clock
    time.time = lambda: right() - jump().total_seconds()


def test_the_clock_goes_backwards(table: Path, model: Path, undisturbed: Path, tmp_path: Path) -> None:
    """The run, a resume of it and what it ends with are as if nothing had happened."""
    out = tmp_path / "run"
    child = profactory_process(
        *words(table, model, out, epochs=EPOCHS), log=tmp_path / "log.txt", before=(set_clock_back, 4)
    )
    until(lambda: announced(out) >= 4, child)
    child.send(15)
    assert child.wait() == 143, child.said[-2000:]
    times = [event["time"] for event in Run(out).events()]
    assert times != sorted(times)  # it did jump
    again = profactory_process("resume", out, log=tmp_path / "again.txt", before=(set_clock_back, 4))
    assert again.wait() == 0, again.said[-2000:]
    assert Run.open(out).status()["state"] == "finished"
    assert_same_result(out, undisturbed)
