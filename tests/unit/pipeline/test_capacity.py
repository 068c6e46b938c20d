"""What cannot fit is refused before a model is loaded or a file is written, with what would help."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import profactory
from profactory.errors import MemoryBudgetError, RunError
from profactory.pipeline import capacity
from profactory.pipeline.capacity import check_capacity, expected_cost, fit_batch
from profactory.pipeline.preparation import Job, prepare_job
from tests.support.models import tiny_esm
from tests.support.tables import write_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "t.csv", "regression", rows=40)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_esm(tmp_path / "tiny")


def job_of(table: Path, model: Path, **settings: Any) -> Job:
    chosen = {"model": str(model), "method": "full", "device": "cpu", **settings}
    return prepare_job(str(table), profactory.TrainConfig.build(chosen))


def free(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(capacity, "free_memory", lambda: int(count))


def test_too_little_memory_is_refused_with_three_remedies(table, model, tmp_path, monkeypatch) -> None:
    free(monkeypatch, 1e8)
    monkeypatch.setattr(profactory.models.backbone.Backbone, "load", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(
        MemoryBudgetError, match=r"needs about \d+ MB of memory, and 100 MB are free"
    ) as caught:
        profactory.train(table, model=str(model), method="full", out=tmp_path / "run")
    for remedy in ("--method freeze", "--tokens-per-batch", "--model mini"):
        assert remedy in caught.value.fix
    assert not (tmp_path / "run").exists()


def test_an_open_batch_is_made_to_fit_and_a_typed_one_is_left(table, model, monkeypatch) -> None:
    job = job_of(table, model)
    assert job.choices.tokens_per_batch == 4096
    assert fit_batch(job) is job  # there is room
    small = expected_cost(job, tokens_per_batch=1024)
    free(monkeypatch, small.memory_bytes + 1)
    fitted = fit_batch(job)
    assert fitted.choices.tokens_per_batch == 1024
    assert "free memory" in fitted.choices.reasons["tokens_per_batch"]
    typed = job_of(table, model, tokens_per_batch=4096)
    assert fit_batch(typed) is typed


def test_a_full_disk_is_refused(table, model, tmp_path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(RunError, match="1 kB are free") as caught:
        check_capacity(job_of(table, model), tmp_path / "not" / "there")
    assert caught.value.fix.count(";") == 2  # three remedies


def test_the_cost_is_said_and_noted(table, model, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    run = profactory.train(table, model=str(model), method="freeze", epochs=1, out=tmp_path / "run")
    assert "Expected: memory" in caplog.text
    noted = json.loads((run.path / "data.json").read_text())["expected_cost"]
    assert noted["memory_bytes"] > 1e8
    assert {"seconds_per_epoch", "disk_bytes"} <= noted.keys()
