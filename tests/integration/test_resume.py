"""Real processes: killed, stopped, several at once; what comes out is what an undisturbed process gives."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from profactory.models.protein_model import ProteinModel
from profactory.runs import Run
from profactory.training.checkpoint import list_checkpoints, verify_checkpoint
from profactory.training.history import metric_rows
from tests.support.models import tiny_esm
from tests.support.training_job import build, train

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    """Return the environment of a process: the cache of this very test, which is not known at import."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def undisturbed(path: Path, model_dir: Path, method: str, **settings) -> tuple[ProteinModel, Run]:
    run = Run.create(path, {"data": "toy"})
    with run.lock():
        model, _ = train(run, model_dir, method, **{"dropout": 0.1, **settings})
    return model, run


def start(
    path: Path, model_dir: Path, method: str, *, wait: float, accumulation: int = 2
) -> subprocess.Popen:
    arguments = [str(path), str(model_dir), method, str(wait), str(accumulation)]
    command = [sys.executable, "-m", "tests.support.training_job", *arguments]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(process: subprocess.Popen, path: Path, step: int) -> None:
    """Return when the process has announced an optimizer step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1])
        if path.exists() and any(e.get("step", 0) >= step for e in Run(path).events()):
            return
        time.sleep(0.01)
    raise AssertionError("the process never came that far")


def assert_same(model: ProteinModel, run: Run, expected: ProteinModel, expected_run: Run) -> None:
    for (name, a), (_, b) in zip(model.state_dict().items(), expected.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert metric_rows(run.events()) == metric_rows(expected_run.events())
    last = max(list_checkpoints(expected_run.ckpt_dir))
    for stem in ("model", "optimizer", "rng"):
        one, two = (
            load_file(r.ckpt_dir / f"checkpoint-{last}/{stem}.safetensors") for r in (run, expected_run)
        )
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one), stem


@pytest.mark.parametrize("method", ["freeze", "lora", "full"])
def test_killed_at_a_random_step_and_resumed_is_bit_identical(tmp_path, model_dir, method):
    expected, expected_run = undisturbed(tmp_path / "straight", model_dir, method)
    fresh = build(model_dir, method).backbone.state_dict()
    changed = [not torch.equal(v, fresh[n]) for n, v in expected.backbone.state_dict().items()]
    assert any(changed) == (method != "freeze")

    # Slow, and far from the last step: on a busy machine too it is at work when the step is noticed.
    path, step = tmp_path / "run", random.randint(1, 9)
    child = start(path, model_dir, method, wait=0.1)
    wait_for_step(child, path, step)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    run = Run.open(path)
    assert run.status()["state"] == "died"
    announced = [event["step"] for event in run.events() if event["event"] == "checkpoint"]
    with run.lock():
        model, result = train(run, model_dir, method, dropout=0.1, resume=True)
    if announced:  # a checkpoint that was announced is never lost
        assert result.resumed_from >= max(announced), f"killed at step {step}"
    assert_same(model, run, expected, expected_run)


def test_sigterm_writes_a_checkpoint_and_a_resumable_run(tmp_path, model_dir):
    expected, expected_run = undisturbed(tmp_path / "straight", model_dir, "lora")
    path = tmp_path / "run"
    child = start(path, model_dir, "lora", wait=0.05)
    wait_for_step(child, path, 3)
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 143
    assert "profactory resume" in error
    run = Run.open(path)
    status = run.status()
    assert status["state"] == "stopped"
    newest = max(list_checkpoints(run.ckpt_dir))
    assert newest == status["step"] == max(row["step"] for row in metric_rows(run.events()))
    verify_checkpoint(run.ckpt_dir / f"checkpoint-{newest}")
    with run.lock():
        model, result = train(run, model_dir, "lora", dropout=0.1, resume=True)
    assert result.resumed_from == newest
    assert_same(model, run, expected, expected_run)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.extensive) for name in ("freeze", "full")] + ["lora"]
)
def test_two_processes_train_as_one(tmp_path, model_dir, method):
    """Same effective batch: 2 processes x 1 micro-batch = 1 process x 2; only the main process writes."""
    expected, expected_run = undisturbed(tmp_path / "one", model_dir, method, gradient_accumulation=2)
    path = tmp_path / "two"
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    arguments = [str(path), str(model_dir), method, "0", "1"]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "tests.support.training_job", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (metric_rows(run.events()) for run in (expected_run, Run.open(path)))
    assert [(row["event"], row["step"]) for row in one] == [(row["event"], row["step"]) for row in two]
    for mine, theirs in zip(one, two, strict=True):
        for key in ("loss", "grad_norm", "learning_rate", "train_loss"):
            if key in mine:
                assert mine[key] == pytest.approx(theirs[key], rel=1e-6, abs=1e-6), (mine["step"], key)
        if "metrics" in mine:
            assert mine["metrics"]["loss"] == pytest.approx(theirs["metrics"]["loss"], rel=1e-6, abs=1e-6)
    total = float(sum(p.detach().double().abs().sum() for p in expected.parameters()))
    final = next(line for line in done.stdout.splitlines() if line.startswith("final"))
    assert float(final.split()[1]) == pytest.approx(total, rel=1e-6)
