"""The main job for every task: a table in, a model, a report and predictions out."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    mean_squared_error,
    roc_auc_score,
)

import profactory
from profactory.cli.main import main
from profactory.cli.results import metric_table
from profactory.config.methods import METHODS
from profactory.errors import (
    CheckpointError,
    ColumnError,
    ConfigError,
    ProFactoryError,
    RowError,
    RunExistsError,
)
from profactory.files import read_json
from profactory.runs import Run
from tests.support.models import tiny_esm
from tests.support.tables import read_rows, write_table

TASKS = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
    "residue_classification",
    "residue_multi_label_classification",
    "residue_regression",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    settings = {"epochs": 3, "method": "freeze", **settings}
    return profactory.train(table, model=str(model), out=out, **settings)


@pytest.mark.parametrize("task", TASKS)
def test_reported_numbers_are_scikit_learns_on_the_written_predictions(
    task: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv", task)
    run = train(table, model, tmp_path / "run")
    rows = read_rows(tmp_path / "run" / "report" / "predictions_test.csv")
    wanted = [row for row in read_rows(table) if row["split"] == "test"]
    assert [(r["id"], r["note"], r["label"]) for r in rows] == [
        (r["id"], r["note"], r["label"]) for r in wanted
    ]
    for name, expected in expected_metrics(task, rows).items():
        assert run.metrics["test"][name]["value"] == pytest.approx(expected, abs=1e-6), name
    assert set(run.metrics["baselines"]) == {"majority", "composition"}


def expected_metrics(task: str, rows: list[dict[str, str]]) -> dict[str, float]:
    """Work the metrics out from the text of a prediction file."""
    truth, predicted = [r["label"] for r in rows], [r["prediction"] for r in rows]
    if task == "single_label_classification":
        return {
            "accuracy": accuracy_score(truth, predicted),
            "f1_macro": f1_score(truth, predicted, average="macro"),
            "mcc": matthews_corrcoef(truth, predicted),
        }
    if task == "multi_label_classification":
        names = sorted(
            name.removeprefix("probability_") for name in rows[0] if name.startswith("probability_")
        )
        scores = np.array([[float(r[f"probability_{n}"]) for n in names] for r in rows])
        targets = np.array([[n in r["label"].split(",") for n in names] for r in rows])
        guesses = np.array([[n in r["prediction"].split(",") for n in names] for r in rows])
        assert scores.min() >= 0
        assert scores.max() <= 1
        return {"f1_micro": f1_score(targets, guesses, average="micro")}
    if task == "regression":
        numbers = [[float(x) for x in column] for column in (truth, predicted)]
        return {
            "rmse": math.sqrt(mean_squared_error(*numbers)),
            "spearman": spearmanr(*numbers).statistic,
        }
    if task == "residue_classification":
        assert [len(p) for p in predicted] == [len(r["sequence"]) for r in rows]
        letters = ["".join(column) for column in (truth, predicted)]
        scores = [float(x) for r in rows for x in r["probability_N"].split(",")]
        flags = [letter == "N" for letter in letters[0]]
        return {
            "accuracy": accuracy_score(list(letters[0]), list(letters[1])),
            "mcc": matthews_corrcoef(list(letters[0]), list(letters[1])),
            "auroc": roc_auc_score(flags, scores),
        }
    if task == "residue_multi_label_classification":
        items = [(a, b) for t, p in zip(truth, predicted, strict=True) for a, b in _pairs(t, p) if a != "?"]
        found = {}
        for name in ("base", "charged"):
            flags = [[name in item.split("|") for item in column] for column in zip(*items, strict=True)]
            scores = [float(x) for r in rows for x in r[f"probability_{name}"].split(",")]
            known = [item != "?" for cell in truth for item in cell.split(",")]
            scores = [score for score, there in zip(scores, known, strict=True) if there]
            found[name] = [f1_score(*flags), average_precision_score(flags[0], scores)]
        f1, precision = np.mean(list(found.values()), axis=0)
        return {"f1_macro": f1, "auprc": precision}
    per_residue = [[float(x) for cell in truth for x in cell.split()]]
    per_residue += [[float(x) for cell in predicted for x in cell.split(",")]]
    return {"mse": mean_squared_error(*per_residue), "spearman": spearmanr(*per_residue).statistic}


def _pairs(truth: str, predicted: str) -> Iterator[tuple[str, str]]:
    return zip(truth.split(","), predicted.split(","), strict=True)


def test_residue_labels_sit_on_their_own_residue(tmp_path: Path) -> None:
    """A2: whether a residue is K, R, D or E follows from the residue alone; shifted by one it is noise."""
    shallow = tiny_esm(tmp_path / "model", layers=1, width=64)
    table = write_table(tmp_path / "table.csv", "residue_classification", rows=160)
    run = train(table, shallow, tmp_path / "run", epochs=40, learning_rate=3e-3, patience=0)
    # A random network blurs residues (0.89 measured); labels shifted by one give 0.5.
    assert run.metrics["test"]["auroc"]["value"] > 0.8


ADAPTING = [name for name, method in METHODS.items() if not method.frozen]
QUICK = ("lora", "full")  # the others differ in what models/ tests


@pytest.mark.parametrize(
    ("method", "precision"),
    [(name, "fp32") for name in QUICK]
    + [pytest.param(name, "bf16", marks=() if name in QUICK else pytest.mark.extensive) for name in ADAPTING],
)
def test_adapting_methods_learn_save_and_predict_the_same(
    method: str, precision: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv", "regression")
    settings = {"method": method, "precision": precision, "pooling": "light-attention"}
    run = train(table, model, tmp_path / "run", learning_rate=3e-3, **settings)
    written = read_rows(run.path / "report" / "predictions_test.csv")
    again = run.predict([row["sequence"] for row in written])
    np.testing.assert_allclose(
        [record["prediction"] for record in again], [float(row["prediction"]) for row in written], atol=1e-5
    )


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "attention", "light-attention"])
def test_every_pooling_runs_and_predicts_row_by_row_what_it_predicted_in_batches(
    pooling: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "table.csv", "single_label_classification", rows=64)
    run = train(table, model, tmp_path / "run", pooling=pooling, epochs=2)
    rows = read_rows(run.path / "report" / "predictions_test.csv")
    predictor = run.load()
    for row in rows:
        (alone,) = predictor.predict([row["sequence"]])
        assert alone["probability_few"] == pytest.approx(float(row["probability_few"]), abs=1e-5)


def test_predictions_keep_order_and_columns_and_name_bad_rows(model: Path, tmp_path: Path) -> None:
    run = train(write_table(tmp_path / "t.csv", "regression"), model, tmp_path / "run")
    new = tmp_path / "new.csv"
    new.write_text('name,sequence,comment\nb,MKTAYIAK,"x, y"\nbad,MK1T,z\na,ACDEFGHIKL,\n')
    run.predict(new, out=tmp_path / "out.csv")
    rows = read_rows(tmp_path / "out.csv")
    assert [(r["name"], r["comment"]) for r in rows] == [("b", "x, y"), ("bad", "z"), ("a", "")]
    assert [bool(r["prediction"]) for r in rows] == [True, False, True]
    assert "1" in rows[1]["error"]


def test_one_seed_is_one_result_and_another_seed_another(model: Path, tmp_path: Path) -> None:
    """A9: the seed is used."""
    table = write_table(tmp_path / "t.csv", "single_label_classification", split=False)
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run = train(table, model, tmp_path / name, seed=seed)
        files.append((run.path / "model" / "head.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_regression_is_predicted_in_the_units_of_the_table(model: Path, tmp_path: Path) -> None:
    """A8: labels around 10 give predictions around 10, even before much was learnt."""
    run = train(write_table(tmp_path / "t.csv", "regression"), model, tmp_path / "run", epochs=1)
    values = [float(r["prediction"]) for r in read_rows(run.path / "report" / "predictions_test.csv")]
    assert 9 < np.mean(values) < 13


def test_both_loss_curves_of_a_regression_have_one_unit(model: Path, tmp_path: Path) -> None:
    """Labels in thousands: an untrained head that predicts the mean has a loss of about 1 in both curves."""
    table = tmp_path / "t.csv"
    lines = write_table(tmp_path / "small.csv", "regression").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for row in cells[1:]:
        row[2] = f"{1000 * float(row[2]):.1f}"
    table.write_text("\n".join(",".join(row) for row in cells))
    run = train(table, model, tmp_path / "run", epochs=1, learning_rate=1e-6)
    (event,) = [e for e in Run.open(run.path).events() if e["event"] == "evaluation"]
    assert 0.3 < event["train_loss"] < 3
    assert 0.3 < event["metrics"]["loss"] < 3


def test_frozen_embeddings_are_computed_once(model: Path, tmp_path: Path, caplog: Any) -> None:
    table = write_table(tmp_path / "t.csv", "regression")
    train(table, model, tmp_path / "a", seed=1)
    from profactory.training.loss_model import FrozenEncoder

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the backbone was run again")

    patch = pytest.MonkeyPatch()
    patch.setattr(FrozenEncoder, "encode", refuse)  # saving runs the backbone on the canaries
    try:
        train(table, model, tmp_path / "b", seed=2)
    finally:
        patch.undo()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"label_column": ["tm"]}, ColumnError, "tm"),
        ({"model": "esm2-9m"}, ProFactoryError, "esm2-8m"),
        ({"monitor": "f1_maxx"}, ConfigError, "monitor"),
        ({"max_length": 10**6}, ConfigError, "max_length"),
        ({"method": "lora", "lora_target_modules": ["nothing"]}, ConfigError, "nothing"),
        ({"layer": 3}, ConfigError, "no layer 3"),
        ({"unfreeze_layers": 3}, ConfigError, "3 layers cannot be trained"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    change: dict[str, Any], error: type[Exception], words: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "t.csv", "single_label_classification")
    with pytest.raises(error, match=words):
        profactory.train(table, out=tmp_path / "run", **{"model": str(model), **change})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling_of_a_residue_task_is_refused(pooling: str, model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "residue_classification")
    with pytest.raises(ConfigError, match="pooling"):
        train(table, model, tmp_path / "run", pooling=pooling)
    assert not (tmp_path / "run").exists()


def test_the_configuration_of_a_run_repeats_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write_table(tmp_path / "t.csv", "regression", split=False)
    first = train(table, model, tmp_path / "first", seed=3)
    monkeypatch.chdir(tmp_path)  # the file names the data wherever it is used
    assert main(["train", "--config", "first/config.yaml", "--out", "second"]) == 0
    second = profactory.TrainedRun(tmp_path / "second")
    for name in ("model/head.safetensors", "report/metrics.json", "config.yaml"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes(), name


def test_how_the_rows_were_divided_is_noted(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "regression", rows=60, split=False)
    run = train(table, model, tmp_path / "run", epochs=1, seed=4, split="random")
    details = read_json(run.path / "data.json")["split_details"]
    assert (details["method"], details["seed"], sum(details["rows"].values())) == ("random", 4, 60)


def test_dropped_rows_are_listed_in_the_run(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    good = "".join(f"ACDEFGHIKL{'MNPQ'[i % 4] * (i // 4 + 1)},{i}.5\n" for i in range(40))
    table.write_text("sequence,label\n" + good + "AC1,1.0\n")
    train(table, model, tmp_path / "run", bad_rows="drop", epochs=1)
    (row,) = read_rows(tmp_path / "run" / "rejected_rows.csv")
    assert (row["line"], row["column"], row["value"]) == ("42", "sequence", "AC1")
    assert "letter '1' at position 3" in row["reason"]


def test_bad_rows_are_all_named_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    good = "".join(f"ACDEFGHIKL{'MNPQ'[i % 4]},{i}.5\n" for i in range(20))
    table.write_text("sequence,label\n" + good + "AC1,1.0\nACD,high\n")
    with pytest.raises(RowError) as caught:
        train(table, model, tmp_path / "run")
    assert [problem.line for problem in caught.value.problems] == [22, 23]
    assert not (tmp_path / "run").exists()


def test_a_class_seen_only_in_test_is_named(model: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [
        f"ACDEFGHIKL{'MNPQ'[i % 4] * (i // 4 + 1)},{'ab'[i % 2]},{'train' if i < 14 else 'validation'}\n"
        for i in range(20)
    ]
    table.write_text("sequence,label,split\n" + "".join(rows) + "ACDEFG,golgi,test\n")
    with pytest.raises(ProFactoryError, match="golgi"):
        train(table, model, tmp_path / "run")


def test_a_missing_validation_file_is_never_replaced_by_train(model: Path, tmp_path: Path) -> None:
    """A11: validation rows are cut off the training rows, none is in both."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_table(folder / "train.csv", "regression", rows=60, split=False)
    write_table(folder / "test.csv", "regression", rows=12, seed=1, split=False)
    run = train(folder, model, tmp_path / "run")
    validation = {r["sequence"] for r in read_rows(run.path / "report" / "predictions_validation.csv")}
    counts = read_json(run.path / "data.json")["splits"]
    assert counts["train"] + counts["validation"] == 60
    assert 0 < counts["validation"] == len(validation) < 20
    assert counts["test"] == 12


def test_an_existing_run_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "regression")
    run = train(table, model, tmp_path / "run")
    before = (run.path / "report" / "metrics.json").read_bytes()
    with pytest.raises(RunExistsError):
        train(table, model, tmp_path / "run")
    assert (run.path / "report" / "metrics.json").read_bytes() == before
    train(table, model, tmp_path / "run", overwrite=True)


def test_resume_refuses_changed_data(model: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "regression")
    run = train(table, model, tmp_path / "run")
    Run.open(run.path).set_status("stopped")
    table.write_text(table.read_text().replace("no 3, kept", "no 3, changed"))
    with pytest.raises(CheckpointError, match="data"):
        profactory.resume(run.path)


@pytest.mark.parametrize("settings", [{"method": "freeze"}, {"method": "lora", "precision": "bf16"}])
def test_evaluate_gives_the_numbers_of_the_report(
    settings: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    """A5: the same model on the same rows has the same score wherever it is measured."""
    table = write_table(tmp_path / "t.csv", "single_label_classification")
    run = train(table, model, tmp_path / "run", **settings)
    metrics = profactory.evaluate(run.path, table, split="test", out=tmp_path / "evaluation")
    for name, entry in metrics["test"].items():
        if isinstance(entry, dict) and "value" in entry:
            assert entry["value"] == pytest.approx(run.metrics["test"][name]["value"], abs=1e-6), name
    assert metrics["measured_on"] == "test"
    assert (tmp_path / "evaluation" / "report.html").is_file()


def test_evaluate_does_not_call_all_rows_the_test_set(model: Path, tmp_path: Path, caplog: Any) -> None:
    table = write_table(tmp_path / "t.csv", "single_label_classification")
    run = train(table, model, tmp_path / "run", epochs=1)
    metrics = profactory.evaluate(run.path, table, out=tmp_path / "evaluation")
    assert metrics["measured_on"] == "all rows"
    assert "all rows" in metric_table(metrics)
    report = (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "on all rows" in report
    assert "rows are marked train" in report
    assert "rows are marked train" in caplog.text


LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"],
    "accelerate launch": [
        # With --cpu accelerate starts a single process, whatever --num_processes says.
        *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", ["torchrun", pytest.param("accelerate launch", marks=pytest.mark.extensive)]
)
def test_two_processes_train_the_same_model_as_one(launcher: str, model: Path, tmp_path: Path) -> None:
    """The command under a launcher: same effective batch, same loss trace, same test metrics, one report."""
    table = write_table(tmp_path / "t.csv", "regression", rows=64)
    settings = {"model": str(model), "method": "lora", "epochs": "2", "batch-size": "4", "dropout": "0"}
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    train_it = ["-m", "profactory", "train", str(table), "--lora-dropout", "0", *arguments]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for launch, steps, out in (([], "2", "one"), ([*LAUNCHERS[launcher], port], "1", "two")):
        command = [sys.executable, *launch, *train_it, "--gradient-accumulation-steps", steps]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / out)], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (Run.open(tmp_path / name) for name in ("one", "two"))
    losses = [[event["loss"] for event in run.events() if event["event"] == "step"] for run in (one, two)]
    assert len(losses[0]) > 3
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    first, second = (profactory.TrainedRun(run.path).metrics["test"] for run in (one, two))
    assert first["rmse"]["value"] == pytest.approx(second["rmse"]["value"], rel=1e-5)
