"""Label transforms, class weights and focal loss in whole runs."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error

import profactory
from profactory.errors import ConfigError, RowError
from tests.support.models import tiny_esm
from tests.support.tables import SPLITS, random_sequences, read_rows, write_table

TRANSFORMS = ("none", "standardize", "min-max", "log", "rank")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"), width=64)


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels over four orders of magnitude, as rate constants are."""
    return write_rates(tmp_path_factory.mktemp("data") / "rates.csv", smallest=1.0)


def write_rates(path: Path, *, smallest: float) -> Path:
    rng = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sequence", "label", "split"])
        for index, sequence in enumerate(random_sequences(200, seed=5)):
            charged = sum(map(sequence.count, "KRDE")) / len(sequence)
            label = smallest * 10 ** (12 * charged + rng.gauss(0, 0.1))
            writer.writerow([sequence, f"{label:.5g}", SPLITS[index % len(SPLITS)]])
    return path


def train(table: Path, model: Path, out: Path, **settings: Any) -> profactory.TrainedRun:
    settings = {"method": "freeze", "epochs": 40, "patience": 0, "learning_rate": 3e-3, **settings}
    return profactory.train(table, model=str(model), out=out, **settings)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_predictions_and_metrics_are_in_the_units_of_the_table(
    transform: str, rates: Path, model: Path, tmp_path: Path
) -> None:
    """A8: labels were transformed for training and predictions never transformed back."""
    epochs = 3 if transform == "none" else 40  # from 0, raw labels in millions are out of reach
    run = train(rates, model, tmp_path / "run", label_transform=transform, epochs=epochs)
    rows = read_rows(run.path / "report" / "predictions_test.csv")
    columns = [[float(row[name]) for row in rows] for name in ("label", "prediction")]
    measured = run.metrics["test"]
    assert measured["mae"]["value"] == pytest.approx(mean_absolute_error(*columns), rel=1e-4)
    assert measured["spearman"]["value"] == pytest.approx(spearmanr(*columns).statistic, rel=1e-4)
    again = [record["prediction"] for record in run.predict([row["sequence"] for row in rows])]
    np.testing.assert_allclose(again, columns[1], rtol=1e-3, atol=1e-3)
    if transform == "log":
        assert min(columns[1]) > 0
        assert all(0 < float(row["prediction_low"]) < float(row["prediction_high"]) for row in rows)
        assert abs(math.log(np.median(columns[1]) / np.median(columns[0]))) < 1
    if transform in ("log", "rank"):
        assert measured["spearman"]["value"] > 0.5
        labels = [float(row["label"]) for row in read_rows(rates)]
        assert min(labels) / 10 < min(columns[1]) <= max(columns[1]) < 10 * max(labels)


def test_labels_without_a_logarithm_are_all_named(model: Path, tmp_path: Path) -> None:
    table = write_rates(tmp_path / "t.csv", smallest=1.0)
    lines = table.read_text().splitlines()
    for number, value in ((3, "0"), (7, "-2.5")):
        cells = lines[number - 1].split(",")
        lines[number - 1] = f"{cells[0]},{value},{cells[2]}"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(RowError, match="have no logarithm") as caught:
        train(table, model, tmp_path / "run", label_transform="log")
    assert [(problem.line, problem.value) for problem in caught.value.problems] == [(3, "0"), (7, "-2.5")]
    assert "rank" in caught.value.fix
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("single_label_classification", {"label_transform": "log"}, "label_transform log has no meaning"),
        ("regression", {"class_weights": "balanced", "loss": "focal"}, "class_weights balanced"),
        ("single_label_classification", {"focal_gamma": 1.0}, "add --loss focal"),
    ],
)
def test_what_the_task_cannot_have_is_refused(
    task: str, settings: dict[str, Any], words: str, model: Path, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "t.csv", task)
    with pytest.raises(ConfigError, match=words):
        train(table, model, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One class of 9 % that only tends to have more charges: without weights it is hardly ever predicted."""
    path = tmp_path_factory.mktemp("data") / "uneven.csv"
    rng = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sequence", "label", "split"])
        for index, sequence in enumerate(random_sequences(400, seed=6)):
            rare = index % 11 == 0
            for place in range(0, len(sequence), 3):
                if rare and rng.random() < 0.3:
                    sequence = sequence[:place] + rng.choice("KRDE") + sequence[place + 1 :]
            writer.writerow([sequence, "rare" if rare else "common", SPLITS[index % len(SPLITS)]])
    return path


def test_balanced_weights_and_focal_loss_find_the_rare_class(
    uneven: Path, model: Path, tmp_path: Path, caplog: Any
) -> None:
    caplog.set_level("INFO", logger="profactory")
    found = {}
    settings: dict[str, dict[str, Any]] = {
        "plain": {},
        "balanced": {"class_weights": "balanced"},
        "both": {"class_weights": "balanced", "loss": "focal"},
    }
    for name, options in settings.items():
        run = train(uneven, model, tmp_path / name, epochs=15, monitor="loss", **options)
        table = {row["class"]: row for row in run.metrics["per_class"]["validation"]}
        found[name] = table["rare"]["predicted"]
    assert found["balanced"] >= 3 * max(1, found["plain"])
    assert found["both"] >= 3 * max(1, found["plain"])
    rows = [row["label"] for row in read_rows(uneven) if row["split"] == "train"]
    counts = f"common has {rows.count('common')} training rows, rare has {rows.count('rare')}"
    assert f"class_weights = none, loss = auto (classes are uneven: {counts}" in caplog.text
    assert "--class-weights balanced" in caplog.text
