"""Folds, and what is refused, when several processes train together: as torchrun starts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from profactory.files import read_json
from profactory.runs import Run
from tests.support.forks import profactory_process, together
from tests.support.models import tiny_esm
from tests.support.tables import write_table

pytestmark = pytest.mark.slow
WORLD = 2  # processes that are started together


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "t.csv", "regression", rows=48)


@pytest.mark.parametrize("method", ["freeze", pytest.param("lora", marks=pytest.mark.extensive)])
def test_two_processes_train_the_folds_of_one(method: str, table: Path, tmp_path: Path) -> None:
    """Same effective batch: each member has the same losses, and the ensemble the same metrics."""
    model = tiny_esm(tmp_path / "tiny")
    exact = ("--precision", "fp32", "--dropout", "0", *(("--lora-dropout", "0") if method == "lora" else ()))
    words = ["train", table, "--model", model, "--method", method, "--folds", "3", "--seeds", "2", *exact]
    words += ["--epochs", "2", "--batch-size", "4", "--device", "cpu", "--gradient-accumulation-steps"]
    alone = profactory_process(*words, "2", "--out", tmp_path / "one", log=tmp_path / "one.txt")
    assert alone.wait() == 0, alone.said[-2000:]
    processes = together(*words, "1", "--out", tmp_path / "two", folder=tmp_path)
    assert [p.wait() for p in processes] == [0] * WORLD, [p.said[-2000:] for p in processes]
    assert "models are trained" in processes[0].said
    assert "models are trained" not in processes[1].said
    one, two = (tmp_path / name for name in ("one", "two"))
    names = sorted(path.name for path in (one / "members").iterdir())
    assert len(names) == 6
    assert names == sorted(path.name for path in (two / "members").iterdir())
    for name in names:
        traces = [losses(run / "members" / name) for run in (one, two)]
        assert len(traces[0]) > 3
        assert traces[0] == pytest.approx(traces[1], rel=1e-6), name
    first, second = (read_json(run / "report" / "metrics.json") for run in (one, two))
    for name, entry in first["members"]["metrics"].items():
        assert entry["mean"] == pytest.approx(second["members"]["metrics"][name]["mean"], rel=1e-5), name
    assert first["test"]["rmse"]["value"] == pytest.approx(second["test"]["rmse"]["value"], rel=1e-5)


def losses(run: Path) -> list[float]:
    return [event["loss"] for event in Run.open(run).events() if event["event"] == "step"]


def test_a_sweep_says_that_it_works_in_one_process(table: Path, tmp_path: Path) -> None:
    search = tmp_path / "sweep.yaml"
    search.write_text("model: mini\nmethod: freeze\ndropout: [0.0, 0.2]\n", encoding="utf-8")
    words = ("sweep", table, "--config", search, "--out", tmp_path / "sweep")
    processes = together(*words, folder=tmp_path)
    assert [process.wait() for process in processes] == [1] * WORLD
    said = processes[0].said
    assert "Error: A sweep works in one process." in said
    assert "fix: start it without torchrun or accelerate launch" in said
    assert "Traceback" not in said
    assert not (tmp_path / "sweep").exists()
