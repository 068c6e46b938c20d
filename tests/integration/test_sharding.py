"""FSDP on processors: two processes with a part of the model each train as one, and go on after a kill."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import profactory
from profactory.runs import Run
from tests.support.forks import profactory_process, together, until
from tests.support.models import tiny_esm
from tests.support.tables import write_table

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "examples" / "fsdp.yaml"
WANTED = {"ACCELERATE_USE_FSDP": "true"}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A training that is the same in any number of processes, up to rounding."""
    table = write_table(tmp_path / "t.csv", "regression", rows=47)  # not as many for the one as for the other
    model = tiny_esm(tmp_path / "tiny")
    exact = ["--precision", "fp32", "--dropout", "0", "--device", "cpu", "--batch-size", "4"]
    return ["train", str(table), "--model", str(model), *exact]


def alone(words: list[str], out: Path) -> Run:
    process = profactory_process(
        *words, "--gradient-accumulation-steps", "2", "--out", out, log=out.with_suffix(".txt")
    )
    assert process.wait() == 0, process.said[-3000:]
    return Run.open(out)


def assert_same_training(one: Run, two: Run) -> None:
    for kind in ("step", "evaluation"):
        first, second = ([e for e in run.events() if e["event"] == kind] for run in (one, two))
        assert len(first) > 1
        assert [e["step"] for e in first] == [e["step"] for e in second]
        assert losses(first) == pytest.approx(losses(second), rel=1e-5)
    weights, others = (load_file(run.model_dir / "model.safetensors") for run in (one, two))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, others[name], rtol=1e-4, atol=1e-5, msg=name)
    metrics, others = (profactory.TrainedRun(run.path).metrics["test"] for run in (one, two))
    assert metrics["rmse"]["value"] == pytest.approx(others["rmse"]["value"], rel=1e-5)


def losses(events: list[dict]) -> list[float]:
    return [event["metrics"]["loss"] if "metrics" in event else event["loss"] for event in events]


def launched(words: list[str], folder: Path) -> None:
    """Run a command as a user does, with the configuration of the examples."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIG), "--num_processes", "2"]
    command = [sys.executable, *launch, "--main_process_port", port, "-m", "profactory", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "method", ["full", *(pytest.param(name, marks=pytest.mark.extensive) for name in ("last-layers", "lora"))]
)
def test_a_model_in_two_parts_trains_as_a_whole_one(method: str, words: list[str], tmp_path: Path) -> None:
    words += ["--method", method, "--epochs", "2"]
    if method == "lora":
        words += ["--lora-dropout", "0", "--optimizer", "sgd", "--gradient-checkpointing"]
    one, out = alone(words, tmp_path / "one"), tmp_path / "two"
    if method == "full":
        launched([*words, "--out", str(out)], tmp_path)
    else:
        processes = together(*words, "--out", out, folder=tmp_path, **WANTED)
        assert [p.wait() for p in processes] == [0, 0], [p.said[-3000:] for p in processes]
    assert_same_training(one, Run.open(out))


def test_killed_in_parts_and_resumed_in_parts_or_with_copies(words: list[str], tmp_path: Path) -> None:
    """Checkpoints hold whole tensors: they do not tell who wrote them."""
    words += ["--method", "full", "--epochs", "4", "--patience", "0", "--save-steps", "2"]
    expected = alone(words, tmp_path / "one")
    killed = Run(tmp_path / "parts")
    processes = together(*words, "--out", killed.path, folder=tmp_path, **WANTED)
    until(lambda: steps(killed) > 5, processes[0])
    for process in processes:
        process.send(signal.SIGKILL)
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * 2
    copy = Run(shutil.copytree(killed.path, tmp_path / "copies"))
    for run, environment in ((killed, WANTED), (copy, {})):
        processes = together("resume", run.path, folder=tmp_path, **environment)
        assert [p.wait() for p in processes] == [0, 0], [p.said[-3000:] for p in processes]
        assert next(e["from_step"] for e in run.events() if e["event"] == "resumed") > 3
        assert_same_training(expected, run)


def steps(run: Run) -> int:
    return max((e.get("step", 0) for e in run.events()), default=0) if run.path.exists() else 0


def test_rows_without_a_loss_are_named_by_processes_with_parts(words: list[str], tmp_path: Path) -> None:
    """Each tries its own rows one by one, as many as they are; the others go along."""
    words += ["--method", "full", "--epochs", "3", "--learning-rate", "1e30", "--warmup-ratio", "0"]
    processes = together(*words, "--max-grad-norm", "0", "--out", tmp_path / "run", folder=tmp_path, **WANTED)
    assert [p.wait() for p in processes] == [1, 1], [p.said[-3000:] for p in processes]
    assert "is not a finite number" in processes[0].said
    assert "Traceback" not in processes[0].said


def test_what_cannot_be_cut_is_refused_before_anything_is_loaded(words: list[str], tmp_path: Path) -> None:
    words += [
        "--method",
        "adalora",
        "--optimizer",
        "adafactor",
        "--layer",
        "mix",
        "--tokens-per-batch",
        "auto",
    ]
    words.remove("--batch-size")
    words.remove("4")
    processes = together(*words, "--out", tmp_path / "run", folder=tmp_path, **WANTED)
    assert [p.wait() for p in processes] == [1, 1], [p.said[-3000:] for p in processes]
    said = processes[0].said
    assert all(
        word in said for word in ("FSDP", "adalora", "adafactor", "layer mix", "tokens_per_batch auto")
    )
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()
