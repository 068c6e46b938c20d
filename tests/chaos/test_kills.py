"""R1, R2, R3: killed at any moment, again and again, a run loses nothing and ends as if undisturbed."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from profactory.runs import Run
from profactory.training.checkpoint import list_checkpoints, newest_valid, verify_checkpoint
from profactory.training.history import metric_rows
from tests.chaos.conftest import KILLS, words
from tests.support.forks import Process, profactory_process, until

pytestmark = pytest.mark.slow
STEPS_PER_EPOCH = 9  # 36 training rows, 4 in a batch


def start_or_go_on(table: Path, model: Path, out: Path, log: Path, epochs: int) -> Process:
    if (out / "status.json").exists():
        return profactory_process("resume", out, log=log)
    return profactory_process(*words(table, model, out, epochs=epochs), log=log)


def announced(out: Path) -> int:
    """The last checkpoint that the run has said is there."""
    events = Run(out).events() if out.exists() else []
    return max((event["step"] for event in events if event["event"] == "checkpoint"), default=-1)


def assert_same_result(out: Path, expected: Path) -> None:
    for name in ("head.safetensors", "adapter/adapter_model.safetensors"):
        one, two = (load_file(run / "model" / name) for run in (out, expected))
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), name
    assert metric_rows(Run(out).events()) == metric_rows(Run(expected).events())


def test_killed_at_random_moments(table: Path, model: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    rng, epochs = random.Random(seed), 4 + KILLS
    undisturbed = profactory_process(
        *words(table, model, tmp_path / "straight", epochs=epochs), log=tmp_path / "straight.txt"
    )
    assert undisturbed.wait(1200) == 0, undisturbed.said[-2000:]
    out, finished, steps = tmp_path / "run", False, []
    for number in range(KILLS):
        child = start_or_go_on(table, model, out, tmp_path / f"{number}.txt", epochs)
        if number % 4:  # three of four die while training, one at any moment from the very start on
            before = announced(out)
            until(lambda last=before: announced(out) > last, child, timeout=900)
        time.sleep(rng.uniform(0, 0.3))
        if child.ended:
            assert child.code == 0, child.said[-2000:]
            finished = True
            break
        child.send(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        promised, newest = announced(out), newest_valid(out / "ckpt")
        steps.append(promised)
        kept = int(newest.name.rpartition("-")[2]) if newest else -1
        assert kept >= promised, f"kill {number + 1}, seed {seed}: checkpoint {promised} is lost"
    print(f"\nkills {len(steps)}, checkpoints lost 0, last at step {max(steps)}, seed {seed}")
    assert len(steps) == KILLS or finished
    last = profactory_process("resume", out, log=tmp_path / "last.txt")
    assert last.wait(1200) == 0, last.said[-2000:]
    assert "Going on from" in last.said or finished
    assert_same_result(out, tmp_path / "straight")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_within_a_step_and_a_second_one_at_once(
    table: Path, model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    child = profactory_process(*words(table, model, out, epochs=500), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 2, child)
    child.send(number)
    assert child.wait() == 128 + number
    assert "profactory resume" in child.said
    status = Run.open(out).status()
    assert (status["state"], status["step"]) == ("stopped", max(list_checkpoints(out / "ckpt")))

    again = profactory_process("resume", out, log=tmp_path / "again.txt")
    reached = status["step"]
    until(lambda: announced(out) >= reached + 2, again)
    again.send(number)
    again.send(number)
    assert again.wait() == 128 + number
    newest = newest_valid(out / "ckpt")
    assert newest is not None
    verify_checkpoint(newest)
    assert int(newest.name.rpartition("-")[2]) >= announced(out)
    assert Run.open(out).status()["state"] in ("stopped", "died")
