"""``--folds`` and ``--seeds``: every row in its place, numbers that can be checked, one model at the end."""

from __future__ import annotations

import csv
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import profactory
from profactory.cli.main import main
from profactory.errors import ConfigError, SplitError
from profactory.evaluation.formats import number
from profactory.files import read_json
from profactory.inference.ensemble import Ensemble
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    settings = {"epochs": 2, "method": "freeze", **settings}
    return profactory.train(table, model=str(model), out=out, **settings)


def members(run: profactory.TrainedRun) -> list[Path]:
    return sorted((run.path / "members").iterdir())


TASKS = ("single_label_classification", "multi_label_classification", "regression", "residue_classification")


@pytest.mark.parametrize("task", TASKS)
def test_without_a_test_set_every_row_is_tested_once(task: str, model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", task, split=False)
    run = train(table, model, tmp_path / "run", folds=3, seeds=2)
    assert [path.name for path in members(run)] == [f"fold-{f}-seed-{s}" for f in (1, 2, 3) for s in (0, 1)]
    profactory.export(run.path, tmp_path / "model.zip", format="zip")
    assert isinstance(profactory.load(tmp_path / "model.zip"), Ensemble)
    assert run.path.name in (run.path / "model" / "README.md").read_text()
    tested = Counter()
    for path in members(run):
        rows = {
            name: {row["id"] for row in read_rows(path / "report" / f"predictions_{name}.csv")}
            for name in ("validation", "test")
        }
        assert not rows["validation"] & rows["test"]
        tested.update(rows["test"])
    assert set(tested.values()) == {2}  # once per seed
    together = read_rows(run.path / "report" / "predictions_test.csv")
    assert [row["id"] for row in together] == [row["id"] for row in read_rows(table)]


def test_the_report_averages_models_that_did_not_see_the_row(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression", split=False)
    run = train(table, model, tmp_path / "run", folds=3, seeds=2)
    alone: dict[str, list[float]] = {}
    for path in members(run):
        for row in read_rows(path / "report" / "predictions_test.csv"):
            alone.setdefault(row["id"], []).append(float(row["prediction"]))
    for row in read_rows(run.path / "report" / "predictions_test.csv"):
        assert float(row["prediction"]) == pytest.approx(statistics.mean(alone[row["id"]]), rel=1e-4)
    values = [read_json(path / "report" / "metrics.json")["test"]["rmse"]["value"] for path in members(run)]
    found = run.metrics["members"]["metrics"]["rmse"]
    assert found["values"] == pytest.approx(values)
    assert found["mean"] == pytest.approx(statistics.mean(values))
    assert found["deviation"] == pytest.approx(statistics.stdev(values))
    assert found["low"] < found["mean"] < found["high"]
    listed = read_rows(run.path / "report" / "members.csv")
    assert [row["fold"] for row in listed] == ["1", "1", "2", "2", "3", "3"]
    assert "Every row was predicted by models that did not see it" in run.report.read_text("utf-8")


def test_a_test_set_of_the_data_is_kept_and_measures_the_ensemble(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression")
    run = train(table, model, tmp_path / "run", folds=3)
    wanted = [row["id"] for row in read_rows(table) if row["split"] == "test"]
    for path in members(run):
        assert [row["id"] for row in read_rows(path / "report" / "predictions_test.csv")] == wanted
    validated = [r["id"] for r in read_rows(run.path / "report" / "predictions_validation.csv")]
    assert sorted(validated) == sorted(row["id"] for row in read_rows(table) if row["split"] != "test")
    # The model of the whole run, asked about the test rows, gives what the report says.
    (tmp_path / "asked.csv").write_text(
        "id,sequence\n" + "".join(f"{r['id']},{r['sequence']}\n" for r in read_rows(table))
    )
    assert (
        main(["predict", str(run.path), str(tmp_path / "asked.csv"), "--out", str(tmp_path / "o.csv")]) == 0
    )
    asked = {row["id"]: row for row in read_rows(tmp_path / "o.csv")}
    for row in read_rows(run.path / "report" / "predictions_test.csv"):
        assert float(asked[row["id"]]["prediction"]) == pytest.approx(float(row["prediction"]), rel=1e-4)
        assert float(asked[row["id"]]["prediction_std"]) > 0
    evaluated = profactory.evaluate(run.path, table, split="test")
    assert evaluated["test"]["rmse"]["value"] == pytest.approx(run.metrics["test"]["rmse"]["value"], rel=1e-4)


def test_seeds_share_the_rows_and_differ_in_the_weights(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "single_label_classification", split=False)
    run = train(table, model, tmp_path / "run", seeds=3, seed=5)
    assert [path.name for path in members(run)] == ["seed-5", "seed-6", "seed-7"]
    hashes = {read_json(path / "data.json")["splits_sha256"] for path in members(run)}
    assert len(hashes) == 1
    ensemble = run.load()
    assert isinstance(ensemble, Ensemble)
    heads = [member.head.state_dict() for member in ensemble.members.members]
    assert any(not heads[0][name].equal(heads[1][name]) for name in heads[0])
    config = Run.open(members(run)[1]).config()
    assert config["seed"] == 6
    assert not {"folds", "seeds"} & config.keys()


def test_the_backbone_is_read_and_stored_once(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression")
    run = train(table, model, tmp_path / "run", seeds=3)
    files = [path for path in run.path.rglob("model.safetensors") if "ckpt" not in path.parts]
    assert len({path.stat().st_ino for path in files}) == 1
    assert len([path for path in files if run.path / "model" in path.parents]) == 1


def test_adapters_make_an_ensemble_too(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression", rows=40)
    run = train(table, model, tmp_path / "run", seeds=2, method="lora", epochs=1)
    assert len(run.load().predict(["MKTAYIAKQR", "GGGWWW"])) == 2


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"folds": 90}, SplitError, "80 different sequences cannot be divided into 90"),
        ({"folds": 2}, ConfigError, "at least 3 folds"),
        ({"folds": 4, "split": "random"}, ConfigError, "take fold_split"),
        ({"fold_split": "random"}, ConfigError, "no meaning without folds"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    settings: dict[str, Any], error: type[Exception], words: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv", "regression", split=False)
    with pytest.raises(error, match=words):
        train(table, model, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_the_terminal_shows_mean_and_deviation(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "table.csv", "regression")
    words = ["train", str(table), f"--model={model}", "--method=freeze", "--epochs=1", "--folds=3"]
    assert main([*words, f"--out={tmp_path / 'run'}"]) == 0
    out, err = capsys.readouterr()
    assert "single models" in out
    assert "±" in out
    assert "3 models are trained: 3 folds" in err
    assert "fold-3-seed-0: test" in err


@pytest.mark.slow
def test_killed_among_the_members_and_resumed_as_a_whole(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression")
    expected = train(table, model, tmp_path / "straight", seeds=3, epochs=30, patience=0)
    words = [str(table), f"--model={model}", "--method=freeze", "--epochs=30", "--patience=0", "--seeds=3"]
    command = [sys.executable, "-m", "profactory", "train", *words, f"--out={tmp_path / 'run'}"]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    second = tmp_path / "run" / "members" / "seed-1" / "events.jsonl"
    deadline = time.monotonic() + 120
    while not second.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    first = tmp_path / "run" / "members" / "seed-0" / "model" / "head.safetensors"
    before = first.stat().st_mtime_ns
    run = profactory.resume(tmp_path / "run" / "members" / "seed-1")  # a part stands for the whole
    assert run.path == tmp_path / "run"
    assert first.stat().st_mtime_ns == before
    sequences = ["MKTAYIAKQR", "GGGWWWKKK"]
    ours, theirs = (one.load().predict_outputs(sequences).values for one in (run, expected))
    np.testing.assert_array_equal(ours, theirs)


def test_members_csv_is_a_table(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression", rows=40)
    run = train(table, model, tmp_path / "run", seeds=2, epochs=1)
    with (run.path / "report" / "members.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["member"] for row in rows] == ["seed-0", "seed-1"]
    assert float(rows[0]["rmse"]) > 0


def test_a_page_leads_from_the_whole_to_every_member(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", "regression", rows=40, split=False)
    run = train(table, model, tmp_path / "run", folds=3)
    folder = run.path / "report"
    assert 'href="members.html"' in (folder / "report.html").read_text(encoding="utf-8")
    page = (folder / "members.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', page)
    assert all((folder / link).exists() for link in links)
    for path in members(run):
        assert f"../members/{path.name}/report/predictions_test.csv" in links
        value = read_json(path / "report" / "metrics.json")["test"]["rmse"]["value"]
        assert f"<td>{number(value)}</td>" in page
    assert page.count('src="data:image/png;base64,') == 1
