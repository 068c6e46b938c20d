"""R12: a run goes on with what it began with, or is refused; --force says what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import profactory
from profactory.errors import CheckpointError
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import write_table


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was stopped after it had trained."""
    table, model = write_table(tmp_path / "t.csv", "regression", rows=40), tiny_esm(tmp_path / "tiny")
    profactory.train(table, model=str(model), method="freeze", epochs=2, out=tmp_path / "run")
    Run.open(tmp_path / "run").set_status("stopped")
    return tmp_path / "run"


@pytest.fixture
def another_number_of_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    yield before
    torch.set_num_threads(before)


def change_data(run: Path) -> None:
    table = run.parent / "t.csv"
    table.write_text(table.read_text().replace("no 3, kept", "no 3, changed"))


def test_another_number_of_threads_is_refused(run: Path, another_number_of_threads: int) -> None:
    with pytest.raises(CheckpointError, match=f"threads changed .was {another_number_of_threads},") as caught:
        profactory.resume(run)
    assert "OMP_NUM_THREADS" in caught.value.fix
    assert "--force" in caught.value.fix


def test_a_changed_setting_is_refused(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 2", "epochs: 3"))
    with pytest.raises(CheckpointError, match=r"epochs changed .was 2, is 3"):
        profactory.resume(run)


def test_changed_data_are_refused_and_nothing_is_touched(run: Path) -> None:
    change_data(run)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    with pytest.raises(CheckpointError, match="the data changed"):
        profactory.resume(run)
    assert {path: path.read_bytes() for path in files} == files


def test_force_goes_on_and_says_what_differs(run: Path, caplog, another_number_of_threads: int) -> None:
    change_data(run)
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("epochs: 2", "epochs: 3"))
    profactory.resume(run, force=True)
    for what in ("the data changed", "threads changed", "epochs changed", "column 'epochs': was 2, is 3"):
        assert f"Going on although {what}" in caplog.text, what
    assert Run.open(run).status()["state"] == "finished"
    assert json.loads((run / "data.json").read_text())["choices"]["epochs"] == 3


def test_the_batch_of_the_beginning_is_kept(run: Path) -> None:
    noted = json.loads((run / "data.json").read_text())
    noted["choices"]["batch_size"] = 7
    (run / "data.json").write_text(json.dumps(noted))
    with pytest.raises(CheckpointError, match="batches changed"):  # the checkpoint's batches were others
        profactory.resume(run)


def test_the_precision_of_the_beginning_is_kept(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = json.loads((run / "data.json").read_text())
    for precision in ("bf16", "fp32"):  # as if the processor had been another one
        (run / "data.json").write_text(
            json.dumps(noted | {"choices": noted["choices"] | {"precision": precision}})
        )
        profactory.resume(run)
        assert json.loads((run / "data.json").read_text())["choices"]["precision"] == precision
        Run.open(run).set_status("stopped")
