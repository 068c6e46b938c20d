"""``train --detach`` and ``resume --detach`` as a user types them, with the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profactory import jobs
from profactory.runs import Run
from tests.unit.jobs.test_jobs import ended, is_training, until

pytestmark = pytest.mark.slow


def profactory(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "profactory", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_train_stop_resume(tmp_path: Path) -> None:
    # lora, so that there is time to stop it
    words = ["bundled:demo-location", "--detach", "--method", "lora", "--epochs", "2", "--limit", "240"]
    started = profactory("train", *words, folder=tmp_path)
    assert started.returncode == 0, started.stderr
    run = tmp_path / "runs" / "demo-location-mini-lora"
    assert f"profactory runs logs {run} --follow" in started.stdout
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != ".jobs"] == [run.name]
    until(lambda: is_training(run), 120)
    again = profactory("train", *words, f"--out={run}", folder=tmp_path)
    assert "at work already" in again.stderr
    assert again.returncode == 0
    assert profactory("runs", "stop", str(run), folder=tmp_path).returncode == 0
    assert jobs.state(run).name == "stopped"
    resumed = profactory("resume", str(run), "--detach", "--json", folder=tmp_path)
    assert json.loads(resumed.stdout)["verb"] == "resume"
    job = jobs.find(run)
    assert job is not None
    until(lambda: not job.is_running, 240)
    assert ended(job).name == "finished", job.log.read_text()
    assert (run / "report" / "metrics.json").is_file()
    events = [event["event"] for event in Run.open(run).events()]
    assert events.count("finished") == 1


def test_what_the_job_refuses_is_said_in_the_terminal(tmp_path: Path) -> None:
    refused = profactory("train", "nowhere.csv", "--detach", folder=tmp_path)
    assert refused.returncode == 1
    assert "nowhere.csv" in refused.stderr
    assert os.listdir(tmp_path / "runs") == [".jobs"]
