from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from profactory.errors import ConfigError, DataError
from profactory.evaluation.metrics import check_monitor, compute_metrics, known_metrics, score
from profactory.evaluation.names import positive_class
from profactory.evaluation.ranking import f1_max
from profactory.tasks import Task, TaskKind, Values
from tests.unit.evaluation.cases import (
    classes_case,
    numbers_case,
    residue_numbers_case,
    residues_case,
    sets_case,
    softmax,
)


def same(found: float, expected: float) -> None:
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_several_classes_equal_scikit_learn(seed: int) -> None:
    task, targets, outputs = classes_case(seed=seed)
    truth, scores = targets.values, outputs.values
    predicted = scores.argmax(axis=1)
    found = compute_metrics(task, targets, outputs)
    same(found["accuracy"], sk.accuracy_score(truth, predicted))
    same(found["balanced_accuracy"], sk.balanced_accuracy_score(truth, predicted))
    same(found["precision_macro"], sk.precision_score(truth, predicted, average="macro"))
    same(found["recall_macro"], sk.recall_score(truth, predicted, average="macro"))
    same(found["f1_macro"], sk.f1_score(truth, predicted, average="macro"))
    same(found["f1_micro"], sk.f1_score(truth, predicted, average="micro"))
    same(found["mcc"], sk.matthews_corrcoef(truth, predicted))
    same(found["auroc"], sk.roc_auc_score(truth, scores, multi_class="ovr", average="macro"))
    one_hot = np.eye(3)[truth]
    same(found["auprc"], sk.average_precision_score(one_hot, scores, average="macro"))


def test_two_classes_are_about_the_second() -> None:
    task, targets, outputs = classes_case(("no", "yes"), seed=3)
    truth, predicted = targets.values, outputs.values.argmax(axis=1)
    assert positive_class(task) == "yes"
    scores = score(task, targets, outputs)
    same(scores.values["precision"], sk.precision_score(truth, predicted))
    same(scores.values["recall"], sk.recall_score(truth, predicted))
    same(scores.values["f1"], sk.f1_score(truth, predicted))
    same(scores.values["auroc"], sk.roc_auc_score(truth, outputs.values[:, 1]))
    same(scores.values["auprc"], sk.average_precision_score(truth, outputs.values[:, 1]))
    assert any("'yes'" in note for note in scores.notes)


def test_table_per_class_equals_scikit_learn() -> None:
    task, targets, outputs = classes_case(seed=4)
    predicted = outputs.values.argmax(axis=1)
    report = sk.classification_report(targets.values, predicted, target_names=task.classes, output_dict=True)
    for i, row in enumerate(score(task, targets, outputs).table):
        expected = report[str(row["class"])]
        assert row["support"] == expected["support"]
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            same(float(row[ours]), expected[theirs])
        same(float(row["auroc"]), sk.roc_auc_score(targets.values == i, outputs.values[:, i]))


def test_class_absent_from_labels_and_predictions_does_not_count() -> None:
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b", "never"))
    outputs = np.array([[0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0], [0.9, 0.1, 0.0]], np.float32)
    scores = score(task, Values(np.array([0, 1, 1, 0])), Values(outputs))
    # By hand: a: precision 2/3, recall 1; b: precision 1, recall 1/2.
    same(scores.values["precision_macro"], (2 / 3 + 1) / 2)
    same(scores.values["recall_macro"], 0.75)
    same(scores.values["f1_macro"], (0.8 + 2 / 3) / 2)
    same(scores.values["auroc"], 1.0)  # both rows of b rank above both of a
    assert math.isnan(float(scores.table[2]["auroc"]))
    assert any("never" in note for note in scores.notes)


def test_one_class_only_is_nan_with_a_reason() -> None:
    task, _, outputs = classes_case(n=30)
    scores = score(task, Values(np.zeros(30, np.int64)), outputs)
    for name in ("mcc", "auroc", "auprc"):
        assert math.isnan(scores.values[name])
        assert "one class" in scores.reasons[name]
    assert math.isfinite(scores.values["accuracy"])


def test_constant_prediction_has_mcc_zero_as_in_scikit_learn() -> None:
    task, targets, _ = classes_case(n=60)
    constant = Values(np.tile(np.float32([0.5, 0.3, 0.2]), (60, 1)))
    found = compute_metrics(task, targets, constant)
    assert found["mcc"] == 0.0
    assert found["auroc"] == 0.5


def test_no_rows_is_nan_everywhere() -> None:
    for task, targets, outputs in (classes_case(), sets_case(), numbers_case(), residues_case()):
        scores = score(task, targets.take([]), outputs.take([]))
        assert set(scores.values) == set(known_metrics(task)) == set(scores.reasons)
        assert all(math.isnan(value) for value in scores.values.values())


def test_outputs_that_are_not_finite_are_named() -> None:
    task, targets, outputs = numbers_case()
    outputs.values[3] = np.nan
    scores = score(task, targets, outputs)
    assert math.isnan(scores.values["mse"])
    assert "1 predictions are not finite" in scores.reasons["mse"]


def test_labels_and_outputs_of_different_proteins_are_refused() -> None:
    task, targets, outputs = classes_case()
    with pytest.raises(DataError, match="do not pair"):
        compute_metrics(task, targets.take([0, 1]), outputs)


def test_sets_of_classes_equal_scikit_learn() -> None:
    task, targets, outputs = sets_case()
    truth, scores = targets.values > 0.5, outputs.values
    predicted = scores >= 0.5
    found = compute_metrics(task, targets, outputs)
    for name, average in (("f1_micro", "micro"), ("f1_macro", "macro")):
        same(found[name], sk.f1_score(truth, predicted, average=average))
    same(found["precision_macro"], sk.precision_score(truth, predicted, average="macro"))
    same(found["recall_macro"], sk.recall_score(truth, predicted, average="macro"))
    for suffix, average in (("", "macro"), ("_micro", "micro")):
        same(found["auroc" + suffix], sk.roc_auc_score(truth, scores, average=average))
        same(found["auprc" + suffix], sk.average_precision_score(truth, scores, average=average))


def naive_f1_max(truth: np.ndarray, scores: np.ndarray) -> float:
    kept = [i for i in range(len(truth)) if truth[i].any()]
    best = 0.0
    for threshold in np.unique(scores[kept]):
        precisions, recalls = [], []
        for i in kept:
            chosen = scores[i] >= threshold
            hits = (chosen & truth[i]).sum()
            if chosen.any():
                precisions.append(hits / chosen.sum())
            recalls.append(hits / truth[i].sum())
        precision, recall = np.mean(precisions), np.mean(recalls)
        if precision + recall > 0:
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


@pytest.mark.parametrize("digits", [1, 2, 9])
def test_f1_max_equals_a_naive_loop(digits: int) -> None:
    _, targets, outputs = sets_case(n=60, seed=digits)
    scores = outputs.values.round(digits)  # one digit: many ties
    truth = targets.values > 0.5
    value, threshold = f1_max(truth, scores)
    same(value, naive_f1_max(truth, scores))
    assert threshold in scores


def test_f1_max_by_hand() -> None:
    truth = np.array([[True, False], [True, True]])
    scores = np.array([[0.9, 0.6], [0.8, 0.1]])
    # At 0.8: precision (1 + 1)/2, recall (1 + 1/2)/2 -> 2*.75/1.75; no other threshold is better.
    value, threshold = f1_max(truth, scores)
    same(value, 2 * 0.75 / 1.75)
    assert threshold == 0.8


def test_sets_with_an_empty_class_and_unlabelled_proteins() -> None:
    task, targets, outputs = sets_case()
    targets.values[:, 2] = 0
    targets.values[:5] = 0
    scores = score(task, targets, outputs)
    assert math.isfinite(scores.values["auroc"])
    assert any("5 proteins" in note or "proteins have no class" in note for note in scores.notes)
    assert any("go2" in note for note in scores.notes)
    nothing = score(task, Values(np.zeros_like(targets.values)), outputs)
    assert math.isnan(nothing.values["f1_max"])
    assert math.isnan(nothing.values["auroc_micro"])
    assert nothing.reasons["f1_max"]


def test_numbers_equal_scikit_learn_and_scipy() -> None:
    task, targets, outputs = numbers_case()
    truth, values = targets.values[:, 0].astype(float), outputs.values[:, 0].astype(float)
    found = compute_metrics(task, targets, outputs)
    same(found["mse"], sk.mean_squared_error(truth, values))
    same(found["rmse"], sk.root_mean_squared_error(truth, values))
    same(found["mae"], sk.mean_absolute_error(truth, values))
    same(found["r2"], sk.r2_score(truth, values))
    same(found["pearson"], stats.pearsonr(truth, values).statistic)
    same(found["spearman"], stats.spearmanr(truth, values).statistic)


def test_several_targets_with_gaps_are_measured_where_labelled() -> None:
    task, targets, outputs = numbers_case(targets=3)
    targets.values[::3, 1] = np.nan
    scores = score(task, targets, outputs)
    expected = []
    for i in range(3):
        known = ~np.isnan(targets.values[:, i])
        truth, values = targets.values[known, i].astype(float), outputs.values[known, i].astype(float)
        expected.append(stats.spearmanr(truth, values).statistic)
        same(float(scores.table[i]["spearman"]), expected[-1])
        assert scores.table[i]["support"] == known.sum()
    same(scores.values["spearman"], float(np.mean(expected)))


@pytest.mark.parametrize("which", ["labels", "predictions"])
def test_constant_numbers_are_nan_with_a_reason(which: str) -> None:
    task, targets, outputs = numbers_case()
    (targets if which == "labels" else outputs).values[:] = 7.25
    scores = score(task, targets, outputs)
    assert math.isnan(scores.values["spearman"])
    assert math.isnan(scores.values["pearson"])
    assert which in scores.reasons["pearson"]
    assert math.isfinite(scores.values["mse"])
    assert math.isnan(scores.values["r2"]) == (which == "labels")


def test_one_row_is_no_crash() -> None:
    for task, targets, outputs in (classes_case(), sets_case(), numbers_case(), residues_case()):
        assert set(compute_metrics(task, targets.take([0]), outputs.take([0]))) == set(known_metrics(task))


def test_residues_count_where_labelled() -> None:
    task, targets, outputs = residues_case()
    kept = targets.values >= 0
    truth, predicted = targets.values[kept], outputs.values[kept].argmax(axis=1)
    scores = score(task, targets, outputs)
    same(scores.values["accuracy"], sk.accuracy_score(truth, predicted))
    same(scores.values["mcc"], sk.matthews_corrcoef(truth, predicted))
    same(scores.values["auroc"], sk.roc_auc_score(truth, outputs.values[kept], multi_class="ovr"))
    each = []
    for i in range(len(targets)):
        labels, out = targets[i], outputs[i]
        if (labels >= 0).any():
            each.append(np.mean(out.argmax(axis=1)[labels >= 0] == labels[labels >= 0]))
    same(scores.values["accuracy_per_protein"], float(np.mean(each)))
    assert any("have no label" in note for note in scores.notes)


def test_residue_numbers_count_where_labelled() -> None:
    task, targets, outputs = residue_numbers_case()
    kept = np.isfinite(targets.values)
    truth, values = targets.values[kept].astype(float), outputs.values[kept, 0].astype(float)
    found = compute_metrics(task, targets, outputs)
    same(found["mae"], sk.mean_absolute_error(truth, values))
    same(found["spearman"], stats.spearmanr(truth, values).statistic)
    each = []
    for i in range(len(targets)):
        known = np.isfinite(targets[i])
        each.append(stats.pearsonr(targets[i][known], outputs[i][known, 0]).statistic)
    assert found["pearson_per_protein"] == pytest.approx(np.mean(each), abs=1e-6)


def test_residues_beyond_the_models_length_do_not_count() -> None:
    task, targets, outputs = residues_case(unlabelled=0)
    short = Values.concat([outputs[i][:20] for i in range(len(outputs))], per_residue=True)
    cut = Values.concat([targets[i][:20] for i in range(len(targets))], per_residue=True)
    scores = score(task, targets, short)
    assert scores.values == compute_metrics(task, cut, short)
    assert any("maximum length" in note for note in scores.notes)


def test_a3_no_metric_depends_on_what_else_is_computed() -> None:
    """Predecessor A3: each further metric lost two more residues; perfect predictions scored 0.049."""
    task, targets, _ = residues_case(unlabelled=0)
    perfect = Values(np.eye(3, dtype=np.float32)[targets.values], targets.offsets)
    for _ in range(2):
        found = compute_metrics(task, targets, perfect)
        assert {name for name, value in found.items() if value != 1.0} == set()


def test_a4_binary_auroc_ranks_by_the_probability() -> None:
    """Predecessor A4: sigmoid of one of two logits, 0.814 instead of 0.954."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=2000)
    shared = 2 * rng.normal(size=2000)  # moves both logits, changes no probability
    logits = np.stack([shared, shared + 2.4 * (2 * truth - 1) + 2 * rng.normal(size=2000)], axis=1)
    task = Task(TaskKind.SINGLE_LABEL, ("0", "1"))
    found = compute_metrics(task, Values(truth), Values(task.probabilities(logits)))["auroc"]
    assert found == pytest.approx(sk.roc_auc_score(truth, logits[:, 1] - logits[:, 0]), abs=1e-6)
    assert found > sk.roc_auc_score(truth, logits[:, 1]) + 0.05


def test_a5_auroc_is_not_that_of_the_predicted_class() -> None:
    """Predecessor A5: AUROC of the argmax."""
    task, targets, outputs = classes_case(("0", "1"), n=500, seed=5)
    found = compute_metrics(task, targets, outputs)["auroc"]
    assert found != sk.roc_auc_score(targets.values, outputs.values.argmax(axis=1))
    same(found, sk.roc_auc_score(targets.values, outputs.values[:, 1]))


def test_a6_macro_metrics_are_not_all_the_accuracy() -> None:
    """Predecessor A6: micro averages, so that four metrics were one number."""
    task, _, outputs = classes_case(n=300, seed=6)
    skewed = np.random.default_rng(0).choice(3, size=300, p=[0.8, 0.15, 0.05])
    found = compute_metrics(task, Values(skewed), outputs)
    assert len({round(found[k], 6) for k in ("accuracy", "precision_macro", "recall_macro", "f1_macro")}) == 4


def test_a8_regression_is_measured_in_the_units_of_the_labels() -> None:
    """Predecessor A8: errors of normalised labels."""
    task = Task(TaskKind.REGRESSION)
    found = compute_metrics(
        task, Values(np.float32([[40], [50], [75]])), Values(np.float32([[43], [50], [71]]))
    )
    same(found["mae"], (3 + 0 + 4) / 3)
    same(found["mse"], 25 / 3)


def test_order_of_rows_does_not_matter() -> None:
    for task, targets, outputs in (classes_case(), sets_case(), numbers_case(), residues_case()):
        order = np.random.default_rng(1).permutation(len(targets))
        mixed = compute_metrics(task, targets.take(order), outputs.take(order))
        assert mixed == pytest.approx(compute_metrics(task, targets, outputs), rel=1e-9)


def test_monitor_is_validated() -> None:
    task, _, _ = classes_case()
    assert check_monitor(task, "loss") == "loss"
    assert check_monitor(task, "f1_macro") == "f1_macro"
    with pytest.raises(ConfigError, match="auroc") as caught:
        check_monitor(task, "auc_roc")
    assert "--monitor auroc" in str(caught.value)
    with pytest.raises(ConfigError):
        check_monitor(task, "spearman")
    with pytest.raises(ConfigError):
        check_monitor(task, "precision")  # of which of three classes?


def test_default_monitors_exist() -> None:
    for kind in TaskKind:
        task = Task(kind, ("a", "b"))
        assert task.default_monitor in known_metrics(task)


def test_values_are_plain_floats() -> None:
    for task, targets, outputs in (classes_case(("a", "b")), sets_case(), numbers_case(), residues_case()):
        found = compute_metrics(task, targets, outputs)
        assert list(found) == list(known_metrics(task))
        json.dumps(found)


def test_float_outputs_need_not_sum_to_one_exactly() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=50)
    outputs = softmax(rng.normal(size=(50, 4)).astype(np.float16).astype(np.float32))
    task = Task(TaskKind.SINGLE_LABEL, tuple("abcd"))
    assert 0 < compute_metrics(task, Values(truth), Values(outputs))["auroc"] < 1
