"""The kernel ends a training for want of memory: a real limit on a real process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import profactory
from profactory import jobs
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import write_table
from tests.unit.jobs.test_jobs import ended, is_training, until

pytestmark = pytest.mark.slow
LIMIT = 8_000_000  # bytes; a process at work asks for more at once


def memory_group() -> Path | None:
    """Make a control group with a memory limit below the one of this process; None where one cannot."""
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    for _, controllers, path in (line.split(":", 2) for line in lines):
        root = Path("/sys/fs/cgroup", "memory" if controllers == "memory" else "")
        name = "memory.limit_in_bytes" if controllers == "memory" else "memory.max"
        group = root / path.lstrip("/") / f"profactory-test-{os.getpid()}"
        if controllers not in ("memory", ""):
            continue
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / name).exists():
                (group / name).write_text(str(LIMIT))
                return group
            group.rmdir()
    return None


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group in which there is hardly any memory."""
    if not Path("/proc/self/cgroup").exists() or (made := memory_group()) is None:
        pytest.skip("needs the right to make control groups with a memory limit")
    yield made
    until(lambda: not (made / "cgroup.procs").read_text().strip())
    made.rmdir()


def test_a_worker_that_the_kernel_ends(group: Path, tmp_path: Path) -> None:
    """It is named as out of memory, for as long as anybody asks, and the run goes on where it was."""
    table = write_table(tmp_path / "t.csv", "regression", rows=48)
    model, run = tiny_esm(tmp_path / "tiny"), tmp_path / "runs" / "one"
    words = [str(table), f"--model={model}", "--method=lora", "--batch-size=4", "--patience=0"]
    often = ["--epochs=40", "--save-steps=5", "--device=cpu"]
    job = jobs.start("train", [*words, *often, f"--out={run}"], run=run)
    until(lambda: is_training(run) and list(run.glob("ckpt/checkpoint-*")), 240)
    assert job.worker is not None
    (group / "cgroup.procs").write_text(str(job.worker.pid))
    until(lambda: not job.is_running, 120)
    state = ended(job)
    assert (state.name, state.exit_code) == ("out of memory", 137)
    assert "ended by the system, which had no memory left" in state.reason
    assert "it held 0." in state.reason  # gigabytes
    assert jobs.state(run).name == "out of memory"
    assert Run.open(run).status()["state"] == "died"
    kept = max(event["step"] for event in Run.open(run).events() if event["event"] == "checkpoint")
    profactory.resume(run)
    done = Run.open(run)
    assert done.status()["state"] == "finished"
    (resumed,) = (event for event in done.events() if event["event"] == "resumed")
    assert resumed["from_step"] >= kept
    assert done.status()["step"] == 40 * 9
