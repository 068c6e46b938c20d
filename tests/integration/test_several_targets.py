"""Several regression targets in different units, some of them missing: from the table to predictions."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_squared_error

import profactory
from tests.support.models import tiny_esm
from tests.support.tables import SPLITS, random_sequences, read_rows

TARGETS = ("charge", "weight")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A charge around 0 and a weight in thousands; a quarter of each is missing, never both."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("data") / "targets.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "sequence", *TARGETS, "split"])
        for index, sequence in enumerate(random_sequences(160, seed=4)):
            charge = sum(map(sequence.count, "KR")) - sum(map(sequence.count, "DE")) + rng.gauss(0, 0.1)
            cells = ["" if index % 4 == 0 else f"{charge:.3f}", "" if index % 4 == 2 else 110 * len(sequence)]
            writer.writerow([f"p{index}", sequence, *cells, SPLITS[index % 7 % len(SPLITS)]])
    return path


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> profactory.TrainedRun:
    folder = tmp_path_factory.mktemp("several")
    model = tiny_esm(folder / "model", width=64)
    settings = {"label_column": list(TARGETS), "method": "freeze", "epochs": 60, "learning_rate": 3e-3}
    return profactory.train(table, model=str(model), out=folder / "run", **settings)


def test_each_target_is_scikit_learns_on_its_labelled_rows(run: profactory.TrainedRun) -> None:
    rows = read_rows(run.path / "report" / "predictions_validation.csv")
    per_target = {row["target"]: row for row in run.metrics["per_target"]["validation"]}
    means = run.metrics["validation"]
    found: dict[str, list[float]] = {"rmse": [], "spearman": []}
    for name in TARGETS:
        known = [row for row in rows if row[name]]
        assert 0 < len(known) < len(rows)
        columns = [[float(row[column]) for row in known] for column in (name, f"prediction_{name}")]
        found["rmse"].append(mean_squared_error(*columns) ** 0.5)
        found["spearman"].append(spearmanr(*columns).statistic)
        assert per_target[name]["support"] == len(known)
        assert per_target[name]["rmse"] == pytest.approx(found["rmse"][-1], rel=1e-5)
        assert per_target[name]["spearman"] == pytest.approx(found["spearman"][-1], rel=1e-5)
    for metric, values in found.items():
        assert means[metric]["value"] == pytest.approx(np.mean(values), rel=1e-5)


def test_both_targets_are_learnt_whatever_their_unit(run: profactory.TrainedRun) -> None:
    """A missing value that counted as 0, or a loss ruled by thousands, would leave one of them unlearnt."""
    per_target = {row["target"]: row["pearson"] for row in run.metrics["per_target"]["validation"]}
    assert min(per_target.values()) > 0.5


def test_evaluate_and_predict_know_the_targets(
    run: profactory.TrainedRun, table: Path, tmp_path: Path
) -> None:
    again = profactory.evaluate(run.path, table, split="validation")["validation"]
    assert again["rmse"]["value"] == pytest.approx(run.metrics["validation"]["rmse"]["value"], rel=1e-4)
    run.predict(table, out=tmp_path / "out.csv")
    rows = read_rows(tmp_path / "out.csv")
    assert len(rows) == 160
    assert all(row["prediction_charge"] and row["prediction_weight"] for row in rows)
    (record,) = run.predict([rows[5]["sequence"]])
    assert record["prediction_weight"] == pytest.approx(float(rows[5]["prediction_weight"]), rel=1e-4)


def test_the_page_shows_each_target(run: profactory.TrainedRun) -> None:
    page = run.report.read_text(encoding="utf-8")
    assert "Each target on" in page
    assert all(f"<td>{name}</td>" in page for name in TARGETS)
