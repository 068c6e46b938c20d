"""What the page says of a run and of what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profactory.jobs import Job
from profactory.runs.processes import Owner
from profactory.web.context import Context
from profactory.web.picking import choice_labels, data_name
from profactory.web.tabs import runs
from profactory.web.telling import duration, job_progress, metric_table, tell
from profactory.web.watching import EventLogs
from profactory.web.words import Words
from profactory.web.workspace import Workspace

ENGLISH, CHINESE = Words("en"), Words("zh")
NOTE = {"description": "reading structures", "done": 15, "total": 60, "unit": "files", "seconds_left": 9.0}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A training at work that has not made its run."""
    folder = tmp_path / "runs" / ".jobs" / "mine"
    folder.mkdir(parents=True)
    made = Job(folder, tmp_path / "runs" / "mine", "train", ("train", "x.csv"), Owner.current())
    monkeypatch.setattr("profactory.jobs.find", lambda _: made)
    return made


def test_reading_structures_is_seen_in_runs_while_it_goes_on(job: Job, tmp_path: Path) -> None:
    context = Context(Workspace(tmp_path / "runs", tmp_path), ENGLISH, EventLogs())
    before = runs._marks(context, "mine")
    (job.folder / "progress.json").write_text(json.dumps(NOTE), encoding="utf-8")
    assert runs._marks(context, "mine") != before
    head = tell(context, runs.standing_of(context.workspace, "mine")).head
    assert "reading structures: 15 / 60 files" in head
    assert 'aria-valuenow="25"' in head
    assert "读取结构: 15 / 60 个文件 · 最多还需 9 秒" in job_progress(job, CHINESE)


def test_no_work_takes_no_time() -> None:
    assert [duration(seconds, ENGLISH) for seconds in (0.2, 59.6, 7260.0, None)] == [
        "1 s", "1 min 0 s", "2 h 1 min", "",
    ]  # fmt: skip


def test_measured_rows_are_called_what_they_are() -> None:
    entry = {"value": 0.5, "low": -0.25, "high": 0.75}
    metrics: dict[str, Any] = {
        "main_split": "test", "main_metric": "mcc", "counts": {"test": {}}, "test": {"mcc": entry},
    }  # fmt: skip
    assert ">Test<" in metric_table(metrics, ENGLISH)
    table = metric_table(metrics, CHINESE, "全部行")
    assert all(word in table for word in (">全部行<", "马修斯相关系数（MCC）", "-0.250 – 0.750"))
    assert ">测试集<" not in table


def test_data_are_called_what_people_call_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(Path("runs"), Path("data"))
    made = workspace.new_result() / "mine-divided"
    named = {
        "bundled:demo-location": "bundled:demo-location",
        str(tmp_path / "data" / "a" / "x.csv"): "data/a/x.csv",
        str(workspace.uploads / "0123456789abcdef" / "x.csv"): "x.csv (uploaded)",
        str(made): "mine-divided",
        str(made / "clean.csv"): "mine-divided/clean.csv",
        "/elsewhere/x.csv": "/elsewhere/x.csv",
    }
    assert {source: data_name(workspace, ENGLISH, source) for source in named} == named
    assert choice_labels(workspace, ENGLISH, str(made))[-1] == ("mine-divided", str(made))
    listed = choice_labels(workspace, ENGLISH)
    assert choice_labels(workspace, ENGLISH, "bundled:demo-location") == listed
