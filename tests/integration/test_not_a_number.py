"""``--on-nan``, by the command: what is said, what is kept, what becomes of the run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from profactory.runs import Run
from profactory.training.checkpoint import newest_valid
from tests.support.forks import Process, profactory_process
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_rows, write_table

pytestmark = pytest.mark.slow
EXTREME = 17  # row of the table with a label whose square is beyond 32 bits


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "t.csv", "regression", rows=48)


def trained(table: Path, tmp_path: Path, *more: str, fault: int | None = None) -> Process:
    """Train with fresh weights; `fault` is the micro-batch whose loss is no number, once."""
    words = ["train", table, "--model", tiny_esm(tmp_path / "tiny"), "--out", tmp_path / "run"]
    words += ["--method", "lora", "--label-transform", "none", "--batch-size", "4", "--epochs", "3"]
    words += ["--save-steps", "2", "--device", "cpu", "--learning-rate", "0.001", "--schedule", "constant"]
    before = None if fault is None else (lose_a_number, fault)
    process = profactory_process(*words, *more, log=tmp_path / "log.txt", before=before)
    process.process.join(240)
    assert process.ended
    assert "Traceback" not in process.said
    return process


def lose_a_number(batch: int) -> None:
    """Let the loss of one micro-batch be no number, the first time that it is computed."""
    from profactory.training.loss_model import LossModel

    forward, calls = LossModel.forward, 0

    def faulty(self: LossModel, *arguments: object, **named: object) -> torch.Tensor:
        nonlocal calls
        calls += self.training
        loss = forward(self, *arguments, **named)
        return loss * math.nan if self.training and calls == batch else loss

    LossModel.forward = faulty


def extreme(table: Path) -> Path:
    rows = read_rows(table)
    assert rows[EXTREME]["split"] == "train"
    rows[EXTREME]["label"] = "1e30"
    return write_rows(table, rows)


def test_stop_names_step_row_and_remedies(table: Path, tmp_path: Path) -> None:
    process = trained(extreme(table), tmp_path)
    assert process.code == 1
    error = process.said.rpartition("Error: ")[2]
    assert "is not a finite number; training was stopped before the weights were changed" in error
    assert f"line {EXTREME + 2}" in error  # of the file: the header is its first line
    assert error.count("; or ") == 2  # three remedies
    run = Run.open(tmp_path / "run")
    assert run.status()["state"] == "failed"
    assert run.status()["error"]["error"] == "NonFiniteError"


def test_stop_keeps_the_last_good_checkpoint(table: Path, tmp_path: Path) -> None:
    process = trained(table, tmp_path, fault=9)
    assert process.code == 1
    assert "optimizer step 9" in process.said
    newest = newest_valid(tmp_path / "run" / "ckpt")
    assert newest is not None
    assert newest.name == "checkpoint-8"
    again = profactory_process("resume", tmp_path / "run", log=tmp_path / "again.txt")
    assert again.wait() == 0, again.said[-2000:]
    assert Run.open(tmp_path / "run").status()["state"] == "finished"


def test_rollback_goes_on_with_half_the_rate(table: Path, tmp_path: Path) -> None:
    process = trained(table, tmp_path, "--on-nan", "rollback", fault=9)
    assert process.code == 0, process.said[-2000:]
    assert "Back to step 8 with 0.5 times the learning rate (time 1 of at most 3)" in process.said
    run = Run.open(tmp_path / "run")
    assert run.status()["state"] == "finished"
    rates = {event["step"]: event["learning_rate"] for event in run.events() if event["event"] == "step"}
    assert rates[8] == pytest.approx(0.001)
    assert rates[9] == pytest.approx(0.0005)
    assert max(rates) == 27


def test_rollback_gives_up_after_three_times(table: Path, tmp_path: Path) -> None:
    process = trained(extreme(table), tmp_path, "--on-nan", "rollback")
    assert process.code == 1
    assert "(time 3 of at most 3)" in process.said
    assert f"line {EXTREME + 2}" in process.said.rpartition("Error: ")[2]
    run = Run.open(tmp_path / "run")
    assert [event["count"] for event in run.events() if event["event"] == "rollback"] == [1, 2, 3]
    assert run.status()["state"] == "failed"


def test_another_word_is_refused_with_the_two_that_there_are(table: Path, tmp_path: Path) -> None:
    process = trained(table, tmp_path, "--on-nan", "ignore")
    assert process.code == 2
    assert "stop" in process.said
    assert "rollback" in process.said
    assert not (tmp_path / "run").exists()
