"""``profactory sweep``: chosen on validation, the test rows touched once, killed and resumed."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import profactory
from profactory.cli.main import main
from profactory.errors import ConfigError, MissingExtraError, NonFiniteError, TrainingError
from profactory.files import read_json
from profactory.pipeline import sweeping
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_table

optuna = pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv", "regression")


def swept(table: Path, model: Path, out: Path, search: dict[str, Any], **options: Any) -> profactory.SweptRun:
    fixed = {"model": str(model), "method": "freeze", "epochs": 2}
    return profactory.sweep(table, {**fixed, **search}, out=out, **options)


def trials(run: profactory.SweptRun) -> list[Path]:
    return sorted((run.path / "trials").iterdir())


def test_a_list_is_tried_as_a_whole_and_the_best_by_validation_is_the_model(
    table: Path, model: Path, tmp_path: Path
) -> None:
    run = swept(table, model, tmp_path / "sweep", {"pooling": ["mean", "max"], "learning_rate": [1e-4, 1e-2]})
    values = {}
    for path in trials(run):
        events = [event for event in Run.open(path).events() if event["event"] == "evaluation"]
        values[path.name] = max(event["metrics"]["spearman"] for event in events)
        assert Run.open(path).status()["state"] == "finished"
    assert len(values) == 4
    listed = {trial["trial"]: trial["value"] for trial in run.sweep["trials"]}
    assert listed == pytest.approx(values)
    assert values[run.sweep["winner"]] == max(values.values())
    combinations = {(trial["pooling"], trial["learning_rate"]) for trial in run.sweep["trials"]}
    assert len(combinations) == 4
    winner = profactory.load(run.path / "trials" / run.sweep["winner"])
    sequences = ["MKTAYIAKQR", "GGGWWWKKK"]
    ours, theirs = (one.predict_outputs(sequences).values for one in (run.load(), winner))
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_only_the_winner_is_measured_on_the_test_rows(table: Path, model: Path, tmp_path: Path) -> None:
    run = swept(table, model, tmp_path / "sweep", {"pooling": ["mean", "max"]})
    wanted = [row["id"] for row in read_rows(table) if row["split"] == "test"]
    for path in trials(run):
        assert "test" not in read_json(path / "report" / "metrics.json")
        assert not (path / "report" / "predictions_test.csv").exists()
        assert read_json(path / "data.json")["splits"]["test"] == 0
    assert [row["id"] for row in read_rows(run.path / "report" / "predictions_test.csv")] == wanted
    assert run.metrics["main_split"] == "test"


def test_ranges_are_searched_within_their_bounds(table: Path, model: Path, tmp_path: Path) -> None:
    search = {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "head_hidden": {"low": 4, "high": 9}}
    run = swept(table, model, tmp_path / "sweep", search, trials=3)
    assert len(run.sweep["trials"]) == 3
    for path, trial in zip(trials(run), run.sweep["trials"], strict=True):
        asked = Run.open(path).config()
        assert 1e-4 <= asked["learning_rate"] == trial["learning_rate"] <= 1e-2
        assert asked["head_hidden"] in range(4, 10)
    assert (run.path / "report" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    page = (run.path / "report" / "sweep.html").read_text(encoding="utf-8")
    assert run.sweep["winner"] in page
    assert [row["trial"] for row in read_rows(run.path / "report" / "trials.csv")] == [
        trial["trial"] for trial in run.sweep["trials"]
    ]


def test_a_trial_that_fails_is_named_and_the_others_go_on(
    table: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweeping.carry_out_trial

    def sometimes(job: Any, place: Path, watch: Any) -> float:
        if job.config.pooling == "max":
            raise NonFiniteError("The loss is not a number.")
        return real(job, place, watch)

    monkeypatch.setattr(sweeping, "carry_out_trial", sometimes)
    run = swept(table, model, tmp_path / "sweep", {"pooling": ["mean", "max"]})
    by_pooling = {trial["pooling"]: trial for trial in run.sweep["trials"]}
    assert by_pooling["max"]["state"] == "failed"
    assert by_pooling["max"]["reason"] == "The loss is not a number."
    assert by_pooling["mean"]["trial"] == run.sweep["winner"]


def test_no_trial_at_all_is_an_error_with_all_reasons(
    table: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "carry_out_trial", lambda job, place, watch: math.nan)
    with pytest.raises(TrainingError, match="No trial came to an end") as caught:
        swept(table, model, tmp_path / "sweep", {"pooling": ["mean", "max"]})
    assert len(caught.value.problems) == 2
    assert Run.open(tmp_path / "sweep").status()["state"] == "failed"


def test_a_trial_worse_than_the_median_is_ended_early(
    table: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "FIRST_UNPRUNED", 1)
    monkeypatch.setattr(sweeping, "FIRST_EVALUATIONS", 0)
    search = {"learning_rate": [1e-2, 1e-9], "epochs": 6, "monitor": "loss", "patience": 0, "dropout": 0.0}
    run = swept(table, model, tmp_path / "sweep", search)
    rates = {trial["learning_rate"]: trial for trial in run.sweep["trials"]}
    assert run.sweep["trials"][0]["learning_rate"] == 1e-2  # the order by chance is that of the seed
    assert rates[1e-9]["state"] == "ended early"
    status = Run.open(run.path / "trials" / rates[1e-9]["trial"]).status()
    assert (status["state"], status["pruned"]) == ("stopped", True)


@pytest.mark.parametrize(
    ("search", "error", "words"),
    [
        ({"pooling": ["mean", "median"]}, ConfigError, "pooling"),
        ({"model": ["mini", "esm2-nine"], "method": "freeze"}, Exception, "esm2-nine"),
        ({"epochs": [1, 2], "monitor": "accuracy"}, ConfigError, "monitor"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_made(
    search: dict[str, Any], error: type[Exception], words: str, table: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        swept(table, model, tmp_path / "sweep", search)
    assert not (tmp_path / "sweep").exists()


def test_without_optuna_the_remedy_is_named(
    table: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"profactory\[sweep\]"):
        swept(table, model, tmp_path / "sweep", {"pooling": ["mean", "max"]})


def test_the_command_prints_trials_and_winner(
    table: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"data: {table}\nmodel: {model}\nmethod: freeze\nepochs: 1\npooling: [mean, max]\n")
    out = tmp_path / "sweep"
    assert main(["sweep", "--config", str(file), "--trials", "2", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {trial["pooling"] for trial in said["sweep"]["trials"]} == {"mean", "max"}
    assert (
        main(["resume", str(out / "trials" / "trial-0")]) == 0
    )  # a part stands for the whole, which is finished
    printed = capsys.readouterr().out
    assert "validation spearman" in printed
    assert f"winner: {said['sweep']['winner']}" in printed
    links = re.findall(r'href="([^"]+)"', (out / "report" / "sweep.html").read_text(encoding="utf-8"))
    assert {"../trials/trial-0/", "../trials/trial-1/", "report.html"} == set(links)
    assert all((out / "report" / link).exists() for link in links)


@pytest.mark.slow
def test_killed_and_resumed(table: Path, model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "sweep.yaml", tmp_path / "sweep"
    search = {"model": str(model), "method": "freeze", "epochs": 40, "patience": 0}
    search["dropout"] = {"low": 0.0, "high": 0.4}
    file.write_text(json.dumps(search))  # JSON is YAML
    options = [f"--config={file}", f"--out={out}", "--trials=3"]
    command = [sys.executable, "-m", "profactory", "sweep", str(table), *options]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    second, deadline = out / "trials" / "trial-1" / "events.jsonl", time.monotonic() + 120
    while not second.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = (out / "trials" / "trial-0" / "model" / "head.safetensors").stat().st_mtime_ns
    run = profactory.resume(out)
    assert isinstance(run, profactory.SweptRun)
    assert [trial["state"] for trial in run.sweep["trials"]] == ["finished"] * 3
    assert (out / "trials" / "trial-0" / "model" / "head.safetensors").stat().st_mtime_ns == before
    straight = profactory.sweep(table, search, trials=3, out=tmp_path / "straight")
    assert straight.sweep["trials"] == run.sweep["trials"]  # as if nothing had happened
    assert len({trial["dropout"] for trial in straight.sweep["trials"]}) == 3
    assert main(["runs", "delete", str(out), "--yes"]) == 0
    assert not out.exists()
