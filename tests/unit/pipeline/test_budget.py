"""The batch that is measured to be the fastest; what does not fit ends the search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import profactory
from profactory.errors import MemoryBudgetError
from profactory.pipeline import budget as settling
from profactory.runs import Run
from profactory.training import budget
from profactory.training.budget import choose_budget
from tests.support.models import tiny_esm
from tests.support.tables import write_table


class Machine:
    """A clock that runs as fast as a batch of each size is computed."""

    def __init__(self, speeds: dict[int, float]) -> None:
        self.speeds, self.now, self.tried = speeds, 0.0, []

    def run(self, tokens: int) -> int:
        self.tried.append(tokens)
        if tokens not in self.speeds:
            raise torch.OutOfMemoryError(f"no room for {tokens}")
        self.now += tokens / self.speeds[tokens]
        return tokens


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    def measure(speeds: dict[int, float], **options: float) -> tuple[budget.Budget, Machine]:
        machine = Machine(speeds)
        monkeypatch.setattr(budget.time, "perf_counter", lambda: machine.now)
        return choose_budget(machine.run, **options), machine

    return measure


def test_the_fastest_is_taken_and_a_slower_one_ends_the_search(measured) -> None:
    found, machine = measured({1024: 1000.0, 2048: 1300.0, 4096: 1600.0, 8192: 1200.0, 16384: 9000.0})
    assert found.tokens == 4096
    assert found.speeds == pytest.approx({1024: 1000.0, 2048: 1300.0, 4096: 1600.0, 8192: 1200.0})
    assert 16384 not in machine.tried
    assert "4,096: 1,600" in found.reason


def test_of_nearly_equal_ones_the_smallest_is_taken(measured) -> None:
    """More optimizer steps in the same time."""
    assert measured({1024: 1000.0, 2048: 1480.0, 4096: 1600.0})[0].tokens == 2048


def test_a_lack_of_memory_ends_the_search(measured) -> None:
    found, machine = measured({1024: 1000.0, 2048: 1500.0})
    assert found.tokens == 2048
    assert machine.tried[-1] == 4096


def test_time_ends_the_search(measured) -> None:
    found, machine = measured({1024: 10.0, 2048: 20.0, 4096: 40.0}, most_seconds=300.0)
    assert (found.tokens, set(machine.tried)) == (2048, {1024, 2048})


def test_nothing_fits(measured) -> None:
    with pytest.raises(MemoryBudgetError, match="1,024 tokens") as caught:
        measured({})
    assert caught.value.fix.count(";") == 2  # three remedies


def test_measured_for_real_noted_and_kept_on_resume(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(settling, "CANDIDATES", (32, 64, 4096))
    caplog.set_level("INFO")
    table, model = write_table(tmp_path / "t.csv", "regression", rows=40), tiny_esm(tmp_path / "tiny")
    options = {"model": str(model), "method": "lora", "epochs": 1, "tokens_per_batch": "auto"}
    run = profactory.train(table, out=tmp_path / "run", **options)
    noted = json.loads((run.path / "data.json").read_text())["choices"]
    assert noted["tokens_per_batch"] in (32, 64)  # an epoch of 4,096 tokens would be a single batch
    assert "tokens per second" in noted["reasons"]["tokens_per_batch"]
    assert "Measuring batches" in caplog.text
    caplog.clear()
    Run.open(run.path).set_status("stopped")
    profactory.resume(run.path)  # refused if the batches were others
    assert "Measuring batches" not in caplog.text
    assert (
        json.loads((run.path / "data.json").read_text())["choices"]["tokens_per_batch"]
        == noted["tokens_per_batch"]
    )
