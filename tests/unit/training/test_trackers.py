"""Trackers get the numbers of the events; a missing package is one sentence."""

from __future__ import annotations

from importlib import util
from pathlib import Path

import pytest

from profactory.errors import ConfigError, MissingExtraError
from profactory.training import trackers
from profactory.training.history import metric_rows
from profactory.training.trackers import check_trackers
from tests.support.toy import toy_fit


def test_tensorboard_has_the_numbers_of_the_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run, _ = toy_fit(tmp_path / "run", report_to=("tensorboard",))
    files = EventAccumulator(str(run.path / "trackers" / run.path.name))
    files.Reload()
    rows = metric_rows(run.events())
    for tag, event, value in (
        ("training/loss", "step", lambda row: row["loss"]),
        ("validation/loss", "evaluation", lambda row: row["metrics"]["loss"]),
    ):
        expected = [(row["step"], value(row)) for row in rows if row["event"] == event]
        stored = [(entry.step, entry.value) for entry in files.Scalars(tag)]
        assert [step for step, _ in stored] == [step for step, _ in expected]
        assert [v for _, v in stored] == pytest.approx([v for _, v in expected], rel=1e-6)


def test_a_run_without_trackers_has_no_folder_for_them(tmp_path: Path) -> None:
    _, run, _ = toy_fit(tmp_path / "run", epochs=1)
    assert not (run.path / "trackers").exists()
    assert metric_rows(run.events())


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
