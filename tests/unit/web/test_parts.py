"""Runs of several trainings, as the page shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from profactory.runs import Run
from profactory.web.context import Context
from profactory.web.parts import part_charts, part_name, part_progress, part_table, parts_of
from profactory.web.tabs import runs
from profactory.web.telling import tell
from profactory.web.watching import EventLogs
from profactory.web.words import Words
from profactory.web.workspace import Workspace

ENGLISH, CHINESE = Words("en"), Words("zh")
STATUS = {"step": 1, "total_steps": 3, "unit": "models"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three folds: one is trained, one at work, one not begun."""
    whole = Run.create(tmp_path / "runs" / "folds", {"data": "x.csv", "model": "mini", "method": "freeze"})
    whole.set_status("training", task="regression", **STATUS)
    for fold, state in ((1, "finished"), (2, "training")):
        part = Run.create(whole.path / "members" / f"fold-{fold}-seed-0", {"data": "x.csv"})
        part.emit("evaluation", step=5, epoch=1, metrics={"loss": 0.5, "spearman": 0.1 * fold}, improved=True)
        part.set_status(state, monitor="spearman", step=5, total_steps=10, epoch=1, epochs=2)
    return whole


def test_the_trainings_of_a_run_are_in_their_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        Run.create(tmp_path / "sweep" / "trials" / f"trial-{number}", {})
    assert [part.name for part in parts_of(tmp_path / "sweep")] == ["trial-1", "trial-2", "trial-10"]
    assert parts_of(tmp_path) == []


def test_names_are_said_in_both_languages() -> None:
    assert part_name("fold-2-seed-0", CHINESE) == "第 2 折 · 种子 0"
    assert part_name("seed-3", ENGLISH) == "seed 3"
    assert part_name("freeze-mean", ENGLISH) == "freeze-mean"


def test_progress_counts_models_and_the_epochs_of_the_one_at_work(run: Run) -> None:
    with Run.open(run.path / "members" / "fold-2-seed-0").lock():
        share, text = part_progress(STATUS, parts_of(run.path), ENGLISH)
    assert share == pytest.approx((1 + 5 / 10) / 3)
    assert text == "1 of 3 models trained · fold 2 · seed 0: epoch 1 of at most 2"


def test_every_training_has_a_curve_which_grows_live(run: Run, tmp_path: Path) -> None:
    context = Context(Workspace(tmp_path / "runs", tmp_path), ENGLISH, EventLogs())
    loss, metric = part_charts(context, parts_of(run.path))
    assert loss is not None
    assert metric is not None
    assert [curve.name for curve in metric.data] == ["fold 1 · seed 0", "fold 2 · seed 0"]
    assert [list(curve.y) for curve in metric.data] == [[0.1], [0.2]]
    before = runs._marks(context, "folds")
    told = tell(context, runs.standing_of(context.workspace, "folds"))
    assert told.loss is not None
    Run.open(run.path / "members" / "fold-2-seed-0").emit("evaluation", step=10, epoch=2, metrics={})
    assert runs._marks(context, "folds") != before


def test_metrics_of_all_trainings_stand_beside_their_mean() -> None:
    spread = {"mean": 0.5, "deviation": 0.1, "low": 0.4, "high": 0.6, "values": [0.4, 0.6]}
    members = {"names": ["seed-0", "seed-1"], "metrics": {"mcc": spread}, "symptoms": {"overfitting": 2}}
    shown = part_table({"members": members}, CHINESE)
    for text in ("过拟合 2 次", "0.400 – 0.600", "种子 1", "标准差"):
        assert text in shown
    assert part_table({}, ENGLISH) == ""
