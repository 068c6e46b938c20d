from __future__ import annotations

import base64
import csv
import json
import math
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sk

from profactory.evaluation.history import read_history
from profactory.evaluation.report import EvaluatedSplit, Report, write_report
from profactory.tasks import Task, TaskKind, Values
from tests.unit.evaluation.cases import (
    classes_case,
    numbers_case,
    residue_numbers_case,
    residues_case,
    sets_case,
)

NASTY = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "$x^2$ \\frac{",
    "类别_一",
    "=cmd|'!A0",
)


def evaluation(epoch: int, train: float, loss: float, mcc: float | None, improved: bool) -> dict[str, Any]:
    metrics = {"loss": loss, "mcc": mcc}
    place = {"event": "evaluation", "step": 5 * epoch, "epoch": epoch}
    return {**place, "train_loss": train, "metrics": metrics, "improved": improved}


EVENTS = [
    {"event": "step", "step": 1, "loss": 2.0},
    evaluation(1, 1.5, 1.4, 0.2, True),
    evaluation(2, 1.1, 1.2, 0.4, True),
    evaluation(3, 0.9, 1.3, None, False),
]


def label_cells(task: Task, targets: Values) -> list[str]:
    """Write labels as a user would have them in the table."""
    rows = [targets[i] for i in range(len(targets))]
    if task.kind is TaskKind.SINGLE_LABEL:
        return [task.classes[int(row)] for row in rows]
    if task.kind is TaskKind.MULTI_LABEL:
        return [",".join(task.classes[i] for i in np.flatnonzero(row)) for row in rows]
    if task.kind is TaskKind.REGRESSION:
        return [str(row[0]) for row in rows]
    if task.kind is TaskKind.RESIDUE_CLASSIFICATION:
        return ["".join("?" if i < 0 else task.classes[i] for i in row) for row in rows]
    return [",".join("nan" if np.isnan(v) else str(v) for v in row) for row in rows]


def split_of(task: Task, targets: Values, outputs: Values, *, floor: bool = True) -> EvaluatedSplit:
    rng = np.random.default_rng(9)
    noise = rng.normal(size=outputs.values.shape).astype(np.float32)
    values = task.probabilities(noise) if task.is_classification else outputs.values + 3 * noise
    constant = np.tile(outputs.values[:1], (len(outputs.values), 1))[: len(outputs.values)].astype(np.float32)
    made = {"majority": constant, "composition": values} if floor else {}
    table = pa.table(
        {
            "name": [f"p{i}" for i in range(len(targets))],
            "sequence": ["MKT"] * len(targets),
            "label": label_cells(task, targets),
            "comment": ["=1+1"] * len(targets),
        }
    )
    return EvaluatedSplit(targets, outputs, table, {k: Values(v, outputs.offsets) for k, v in made.items()})


def report_of(folder: Path, case: tuple[Task, Values, Values], **options: Any) -> Report:
    task, targets, outputs = case
    return write_report(
        folder, task=task, splits={"test": split_of(task, targets, outputs)}, history=EVENTS, **options
    )


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions_test.csv", dtype=str, keep_default_na=False)


def values_of(report: Report) -> dict[str, float]:
    stored = json.loads((report.folder / "metrics.json").read_text(encoding="utf-8"))
    assert stored == report.metrics
    return {name: entry["value"] for name, entry in stored["test"].items()}


def numbers(column: pd.Series) -> np.ndarray:
    return column.to_numpy().astype(np.float32).astype(np.float64)


def test_single_label_numbers_are_scikit_learns_on_the_file(tmp_path: Path) -> None:
    task, targets, outputs = classes_case(("cat", "dog", "eel"))
    found = values_of(report_of(tmp_path, (task, targets, outputs)))
    frame = read(tmp_path)
    truth, predicted = frame["label"], frame["prediction"]
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth, predicted))
    scores = np.stack([numbers(frame[f"probability_{name}"]) for name in task.classes], axis=1)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(truth, scores, multi_class="ovr"), rel=1e-9)


def test_multi_label_numbers_are_scikit_learns_on_the_file(tmp_path: Path) -> None:
    task, targets, outputs = sets_case()
    found = values_of(report_of(tmp_path, (task, targets, outputs)))
    frame = read(tmp_path)

    def flags(cells: pd.Series) -> np.ndarray:
        return np.array([[name in cell.split(",") for name in task.classes] for cell in cells])

    truth, predicted = flags(frame["label"]), flags(frame["prediction"])
    assert found["f1_micro"] == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
    scores = np.stack([numbers(frame[f"probability_{name}"]) for name in task.classes], axis=1)
    assert found["auprc"] == pytest.approx(sk.average_precision_score(truth, scores), rel=1e-9)


def test_regression_numbers_are_scikit_learns_on_the_file(tmp_path: Path) -> None:
    """Also predecessor A7 and A21: predictions are numbers in the labels' units, not 0."""
    task, targets, outputs = numbers_case()
    found = values_of(report_of(tmp_path, (task, targets, outputs)))
    frame = read(tmp_path)
    truth, predicted = numbers(frame["label"]), numbers(frame["prediction"])
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, predicted))
    assert found["r2"] == pytest.approx(sk.r2_score(truth, predicted))
    assert found["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic)
    assert predicted.std() > 1
    assert 30 < predicted.mean() < 70


def test_residue_numbers_are_scikit_learns_on_the_file(tmp_path: Path) -> None:
    """Also predecessor A20: one character and one probability per residue, no more and no fewer."""
    task, targets, outputs = residues_case()
    found = values_of(report_of(tmp_path, (task, targets, outputs)))
    frame = read(tmp_path)
    assert (frame["label"].str.len() == frame["prediction"].str.len()).all()
    assert [c for c in frame if c.startswith("probability")] == [f"probability_{c}" for c in "HEC"]
    truth = np.array(list("".join(frame["label"])))
    predicted = np.array(list("".join(frame["prediction"])))
    kept = truth != "?"
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth[kept], predicted[kept]))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(truth[kept], predicted[kept]))
    helix = np.array(",".join(frame["probability_H"]).split(","), np.float32)
    row = next(
        row
        for row in report_of(tmp_path, (task, targets, outputs)).metrics["per_class"]["test"]
        if row["class"] == "H"
    )
    assert row["auroc"] == pytest.approx(sk.roc_auc_score(truth[kept] == "H", helix[kept]))


def test_residue_regression_numbers_are_scikit_learns_on_the_file(tmp_path: Path) -> None:
    task, targets, outputs = residue_numbers_case()
    found = values_of(report_of(tmp_path, (task, targets, outputs)))
    frame = read(tmp_path)
    truth = np.array(",".join(frame["label"]).split(","), np.float32).astype(float)
    predicted = np.array(",".join(frame["prediction"]).split(","), np.float32).astype(float)
    kept = ~np.isnan(truth)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth[kept], predicted[kept]))
    assert found["pearson"] == pytest.approx(stats.pearsonr(truth[kept], predicted[kept]).statistic)


def test_metrics_have_the_shape_of_the_design(tmp_path: Path) -> None:
    task, targets, outputs = classes_case()
    split = split_of(task, targets, outputs)
    report = write_report(tmp_path, task=task, splits={"validation": split, "test": split}, history=EVENTS)
    found = report.metrics
    for part in (
        found["test"],
        found["validation"],
        found["baselines"]["majority"],
        found["baselines"]["composition"],
    ):
        assert {"value", "low", "high"} <= set(part["accuracy"])
    assert found["main_split"] == "test"
    assert found["comparison"]["outcome"] == "better"
    assert "earns its keep" in found["comparison"]["sentence"]
    assert len(found["per_class"]["test"]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(report.files)
    assert {"loss.png", "confusion.png", "roc.png", "precision_recall.png"} <= set(report.files)


def test_no_gain_and_loss_are_said(tmp_path: Path) -> None:
    task, targets, outputs = classes_case(n=300)
    split = split_of(task, targets, outputs)
    swapped = EvaluatedSplit(targets, split.baselines["composition"], split.table, {"composition": outputs})
    sentence = write_report(tmp_path / "a", task=task, splits={"test": swapped}).metrics["comparison"][
        "sentence"
    ]
    assert "does not earn its keep" in sentence
    equal = EvaluatedSplit(targets, outputs, split.table, {"composition": outputs})
    assert (
        "No clear gain"
        in write_report(tmp_path / "b", task=task, splits={"test": equal}).metrics["comparison"]["sentence"]
    )
    alone = EvaluatedSplit(targets, outputs, split.table)
    assert write_report(tmp_path / "c", task=task, splits={"test": alone}).metrics["comparison"] is None


def test_undefined_metrics_are_null_with_a_reason(tmp_path: Path) -> None:
    task, _, outputs = classes_case()
    split = split_of(task, Values(np.zeros(200, np.int64)), outputs)
    found = write_report(tmp_path, task=task, splits={"test": split}).metrics
    assert found["test"]["auroc"]["value"] is None
    assert "one class" in found["test"]["auroc"]["reason"]
    assert "cannot be told" in found["comparison"]["sentence"]
    assert "NaN" not in (tmp_path / "metrics.json").read_text()


def test_input_columns_stay_and_formulas_are_neutralised(tmp_path: Path) -> None:
    task, targets, outputs = classes_case(NASTY)
    report_of(tmp_path, (task, targets, outputs))
    with (tmp_path / "predictions_test.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0])[:5] == ["name", "sequence", "label", "comment", "prediction"]
    assert {row["comment"] for row in rows} == {"'=1+1"}
    assert [row["name"] for row in rows] == [f"p{i}" for i in range(200)]
    assert not any(row["prediction"].startswith("=") for row in rows)


def test_columns_of_the_same_name_get_a_number(tmp_path: Path) -> None:
    task, targets, outputs = classes_case()
    split = split_of(task, targets, outputs)
    table = split.table.append_column("prediction", pa.array(["mine"] * 200))
    write_report(tmp_path, task=task, splits={"test": EvaluatedSplit(targets, outputs, table)})
    frame = read(tmp_path)
    assert set(frame["prediction"]) == {"mine"}
    assert set(frame["prediction_2"]) <= {"a", "b", "c"}


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    return page


def test_page_escapes_what_comes_from_data(tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        classes_case(NASTY),
        run_info={"title": NASTY[0], "settings": {NASTY[1]: NASTY[0]}},
        data_info={"file": NASTY[1]},
        warnings=[NASTY[0]],
    )
    text = report.page.read_text(encoding="utf-8")
    page = parsed(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")


@pytest.mark.parametrize("case", [classes_case, sets_case, numbers_case, residues_case, residue_numbers_case])
def test_page_is_whole_and_asks_nobody(tmp_path: Path, case: Any) -> None:
    report = report_of(tmp_path, case())
    text = report.page.read_text(encoding="utf-8")
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    page = parsed(text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    images = [str(a["src"]) for tag, a in page.tags if tag == "img"]
    assert len(images) == len([name for name in report.files if name.endswith(".png")]) >= 3
    for image in images:
        with Image.open(BytesIO(base64.b64decode(image.split(",", 1)[1]))) as picture:
            assert picture.width > 300


def test_report_twice_is_the_same_but_for_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        report_of(tmp_path / name, classes_case())
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_plots_leave_no_global_state(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    report_of(tmp_path, classes_case())
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("count", [2, 13, 30, 45])
def test_many_classes_can_be_drawn(tmp_path: Path, count: int) -> None:
    names = tuple(f"class number {i} with a rather long name" for i in range(count))
    report = report_of(tmp_path, classes_case(names, n=400))
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width < 2600
    assert len(report.metrics["per_class"]["test"]) == count


def test_many_points_and_several_targets_can_be_drawn(tmp_path: Path) -> None:
    report_of(tmp_path / "many", numbers_case(n=4000))
    task, targets, outputs = numbers_case(targets=4)
    targets.values[::2, 1] = np.nan
    columns = {f"label{i}": targets.values[:, i].astype(str) for i in range(4)}
    split = EvaluatedSplit(targets, outputs, pa.table(columns))
    report = write_report(tmp_path / "several", task=task, splits={"test": split})
    assert [row["target"] for row in report.metrics["per_target"]["test"]] == ["t0", "t1", "t2", "t3"]
    assert "prediction_t3" in read(tmp_path / "several")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows_are_no_crash(tmp_path: Path, rows: int) -> None:
    for i, case in enumerate((classes_case, sets_case, numbers_case, residues_case, residue_numbers_case)):
        task, targets, outputs = case()
        chosen = list(range(rows))
        report_of(tmp_path / str(i), (task, targets.take(chosen), outputs.take(chosen)))


def test_history_takes_the_last_improvement() -> None:
    history = read_history(EVENTS)
    assert history.steps == [5, 10, 15]
    assert history.best == 1
    assert history.validation_loss == [1.4, 1.2, 1.3]
    assert history.metrics["mcc"][:2] == [0.2, 0.4]
    assert math.isnan(history.metrics["mcc"][2])
    assert history.axis == ("epoch", [1, 2, 3])
    within = read_history([{**event, "epoch": 1} for event in EVENTS])
    assert within.axis == ("optimizer step", [5, 10, 15])
    assert len(read_history([])) == 0
