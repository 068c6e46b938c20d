"""Trackers get the numbers of the events; one that fails never ends a training."""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from accelerate import tracking

from profactory.errors import ConfigError, MissingExtraError
from profactory.runs import Run
from profactory.training import trackers
from profactory.training.history import metric_rows
from profactory.training.trackers import check_trackers
from tests.support.toy import toy_fit

Curve = list[tuple[int, float]]
WATCHED = {
    "training/loss": ("step", lambda row: row["loss"]),
    "training/learning_rate": ("step", lambda row: row["learning_rate"]),
    "validation/loss": ("evaluation", lambda row: row["metrics"]["loss"]),
}


def assert_curves(run: Run, stored: Callable[[str], Curve]) -> None:
    """What the tracker keeps under each name is what the events say, step by step."""
    rows = metric_rows(run.events())
    for name, (event, value) in WATCHED.items():
        expected = [(row["step"], value(row)) for row in rows if row["event"] == event]
        found = stored(name)
        assert [step for step, _ in found] == [step for step, _ in expected], name
        assert [v for _, v in found] == pytest.approx([v for _, v in expected], rel=1e-6), name


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run, _ = toy_fit(tmp_path / "run", report_to=("tensorboard",))
    files = EventAccumulator(str(run.path / "trackers" / run.path.name))
    files.Reload()
    assert_curves(run, lambda name: [(entry.step, entry.value) for entry in files.Scalars(name)])


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    for module in ("utils", "sqlite_storage"):  # TRACKIO_DIR is read when it is imported
        monkeypatch.setattr(f"trackio.{module}.TRACKIO_DIR", tmp_path / "trackio")
    _, run, _ = toy_fit(tmp_path / "my run", report_to=("trackio",))
    (file,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    database.close()
    assert {name for name, _, _ in rows} == {"my run"}
    told = [(step, json.loads(numbers)) for _, step, numbers in rows]
    assert_curves(run, lambda name: [(step, numbers[name]) for step, numbers in told if name in numbers])
    assert not (run.path / "trackers").exists()  # it keeps all runs in one place


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of its own database layer
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place)
    _, run, _ = toy_fit(tmp_path / "my run", report_to=("mlflow",))
    client = mlflow.MlflowClient(place)
    (kept,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert (kept.info.run_name, kept.info.status) == ("my run", "FINISHED")
    assert kept.data.params["optimizer"] == "adamw"
    history = lambda name: client.get_metric_history(kept.info.run_id, name)  # noqa: E731
    assert_curves(run, lambda name: sorted((entry.step, entry.value) for entry in history(name)))


@pytest.mark.slow
def test_wandb_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    _, run, result = toy_fit(tmp_path / "my run", report_to=("wandb",))
    (file,) = (run.path / "trackers").glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 60
    while not (told := list(wandb_history(file.read_bytes()))) or int(told[-1]["_step"]) < result.steps:
        assert time.monotonic() < deadline  # a process of its own writes the file
        time.sleep(0.1)
    assert_curves(run, lambda name: [(int(r["_step"]), r[name]) for r in told if name in r])


def wandb_history(raw: bytes) -> Iterator[dict[str, Any]]:
    """Read the rows of a file of Weights & Biases: blocks of 32 KiB of pieces of protobuf records."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, record = 7, b""
    while place + 7 <= len(raw):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", raw[place : place + 7])
        record += raw[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            item, record = Record.FromString(record), b""
            if item.WhichOneof("record_type") == "history":
                yield {".".join(e.nested_key) or e.key: json.loads(e.value_json) for e in item.history.item}


def test_a_run_without_trackers_has_no_folder_for_them(tmp_path: Path) -> None:
    _, run, _ = toy_fit(tmp_path / "run", epochs=1)
    assert not (run.path / "trackers").exists()
    assert metric_rows(run.events())


class Broken:
    """A tracker whose server is not there, or goes away."""

    fails_at = "start"

    def __init__(self, **options: Any) -> None:
        self.told = 0

    def start(self) -> None:
        if self.fails_at == "start":
            raise OSError("no such host")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        pass

    def log(self, values: dict[str, float], step: int) -> None:
        self.told += 1
        if self.told == 3:
            raise OSError("connection lost")

    def finish(self) -> None:
        raise OSError("connection lost")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> type[Broken]:
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Broken)
    monkeypatch.setattr(trackers, "find_spec", lambda name: util.find_spec("json"))
    return Broken


def test_one_that_cannot_start_is_named_with_a_remedy(broken: type[Broken], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wandb: it cannot be started: no such host") as caught:
        toy_fit(tmp_path / "run", report_to=("wandb",))
    assert "WANDB_MODE=offline" in caught.value.fix


@pytest.mark.parametrize("moment", ["log", "finish"])
def test_one_that_fails_later_does_not_end_the_training(
    broken: type[Broken], moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(broken, "fails_at", "later")
    if moment == "finish":
        monkeypatch.setattr(broken, "log", lambda *_, **__: None)
    with caplog.at_level(logging.WARNING):
        _, run, result = toy_fit(tmp_path / "run", report_to=("wandb",))
    _, expected, _ = toy_fit(tmp_path / "quiet")
    assert metric_rows(run.events()) == metric_rows(expected.events())
    assert result.steps > 3
    warnings = [r.message for r in caplog.records if "wandb fails" in r.message]
    assert warnings == ["wandb fails and is told nothing more: connection lost"]


@pytest.mark.parametrize(
    ("name", "error", "fix"),
    [("tensorboard", MissingExtraError, "profactory[trackers]"), ("wandb", ConfigError, "pip install wandb")],
)
def test_a_missing_package_is_one_sentence(name, error, fix, monkeypatch) -> None:
    monkeypatch.setattr(
        trackers, "find_spec", lambda wanted: None if wanted == name else util.find_spec(wanted)
    )
    with pytest.raises(error) as caught:
        check_trackers([name])
    assert fix in caught.value.fix
    assert name in caught.value.found
