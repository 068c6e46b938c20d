from __future__ import annotations

import math

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from profactory.data.composition import composition
from profactory.evaluation import features
from profactory.evaluation.baselines import baselines, fit_baselines
from profactory.evaluation.metrics import compute_metrics
from profactory.tasks import Task, TaskKind, Values

RESIDUES = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def sequences(n: int, seed: int = 0, low: int = 30, high: int = 90) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(RESIDUES, rng.integers(low, high))) for _ in range(n)]


def share(texts: list[str], residue: str) -> np.ndarray:
    return np.array([text.count(residue) / len(text) for text in texts])


def test_composition_by_hand() -> None:
    found = composition(["AAC", "XXYY", ""])
    assert found[0, :2].tolist() == [2 / 3, 1 / 3]
    assert found[1, 19] == 0.5  # X counts in the length and nowhere else
    assert found[2].sum() == 0
    assert composition([]).shape == (0, 20)


def test_windows_by_hand() -> None:
    around = features.windows(["ACD", "W"], np.array([3, 1]))
    assert around.shape == (4, 15)
    outside = features.OUTSIDE
    assert around[0].tolist() == [outside] * 7 + [0, 1, 2] + [outside] * 5
    assert around[3].tolist() == [outside] * 7 + [18] + [outside] * 7


def test_look_up_equals_the_one_hot_product() -> None:
    around = features.windows(sequences(5), np.array([len(s) for s in sequences(5)]))
    rng = np.random.default_rng(0)
    weights, intercept = rng.normal(size=(3, 15 * features.LETTERS)), rng.normal(size=3)
    expected = features.one_hot(around) @ weights.T + intercept
    assert np.allclose(features.linear_scores(around, weights, intercept), expected)


def test_majority_predicts_frequencies_means_and_the_most_frequent_class() -> None:
    texts = sequences(6)
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
    out = baselines(task, texts, Values(np.array([1, 1, 0, 1, 0, 1])), texts[:2], Values(np.array([0, 1])))
    assert np.allclose(out["majority"].values, [[1 / 3, 2 / 3]] * 2)
    several = Task(TaskKind.REGRESSION, targets=("x", "y"))
    numbers = np.float32([[1, np.nan], [3, 10], [5, 20], [7, np.nan], [9, 30], [5, 20]])
    out = baselines(several, texts, Values(numbers), texts[:1], Values(numbers[:1]))
    assert np.allclose(out["majority"].values, [[5, 20]])


def test_composition_baseline_of_classes_equals_scikit_learn() -> None:
    texts = sequences(300)
    truth = (share(texts, "L") > np.median(share(texts, "L"))).astype(np.int64)
    task = Task(TaskKind.SINGLE_LABEL, ("low", "high"))
    found = baselines(task, texts, Values(truth), texts, Values(truth))["composition"].values
    table = StandardScaler().fit_transform(composition(texts))
    model = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(table, truth)
    assert np.abs(found - model.predict_proba(table)).max() < 5e-3
    assert np.allclose(found.sum(axis=1), 1, atol=1e-6)


def test_composition_baseline_of_numbers_equals_scikit_learn() -> None:
    texts = sequences(200)
    truth = (10 * share(texts, "K") - share(texts, "W")).astype(np.float32)
    found = baselines(Task(TaskKind.REGRESSION), texts, Values(truth[:, None]), texts, Values(truth[:, None]))
    table = StandardScaler().fit_transform(composition(texts))
    expected = Ridge(alpha=10.0).fit(table, truth.astype(float)).predict(table)
    assert np.allclose(found["composition"].values[:, 0], expected, atol=1e-5)


def test_strength_is_chosen_on_validation() -> None:
    """Labels of pure noise: the strongest regularisation is best on rows that were not fitted."""
    texts, others = sequences(80), sequences(400, seed=1)
    rng = np.random.default_rng(0)
    noise = (20 * share(texts, "A") + 3 * rng.normal(size=80)).astype(np.float32)
    truth = (20 * share(others, "A")).astype(np.float32)
    task = Task(TaskKind.REGRESSION)
    chosen = fit_baselines(task, texts, Values(noise[:, None]), validation=(others, Values(truth[:, None])))
    assert any("chosen on validation" in note for note in chosen.notes)
    assert not any(
        "chosen on validation" in n for n in fit_baselines(task, texts, Values(noise[:, None])).notes
    )


def test_class_that_never_occurs_in_training_has_probability_zero() -> None:
    texts = sequences(60)
    truth = np.array([0, 2] * 30)
    task = Task(TaskKind.SINGLE_LABEL, ("a", "never", "c"))
    for outputs in baselines(task, texts, Values(truth), texts, Values(truth)).values():
        assert (outputs.values[:, 1] == 0).all()
        assert np.allclose(outputs.values.sum(axis=1), 1, atol=1e-6)


def test_one_class_in_training_leaves_composition_out() -> None:
    texts = sequences(20)
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
    fitted = fit_baselines(task, texts, Values(np.zeros(20, np.int64)))
    assert set(fitted.predict(texts, Values(np.zeros(20, np.int64)))) == {"majority"}
    assert "left out" in fitted.notes[0]


def test_sets_of_classes_with_constant_columns() -> None:
    texts = sequences(100)
    truth = np.stack([share(texts, "G") > 0.05, np.zeros(100), np.ones(100)], axis=1).astype(np.float32)
    task = Task(TaskKind.MULTI_LABEL, ("glycine", "never", "always"))
    found = baselines(task, texts, Values(truth), texts, Values(truth))["composition"].values
    assert compute_metrics(task, Values(truth), Values(found))["auroc"] > 0.9
    assert (found[:, 1] < 0.05).all()
    assert (found[:, 2] > 0.95).all()


def test_residue_baseline_learns_what_a_window_tells() -> None:
    texts = sequences(150)
    lengths = [len(text) for text in texts]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # A residue is "b" if the residue before it is hydrophobic: no single residue tells, a window does.
    truth = np.concatenate([[0, *(int(c in "AILMFVW") for c in text[:-1])] for text in texts])
    truth[::7] = -1
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, ("a", "b"))
    out = baselines(task, texts, Values(truth, offsets), texts, Values(truth, offsets))
    assert compute_metrics(task, Values(truth, offsets), out["composition"])["accuracy"] > 0.97
    assert math.isclose(compute_metrics(task, Values(truth, offsets), out["majority"])["auroc"], 0.5)
    numbers = np.where(truth < 0, np.nan, 3.0 * truth + 1).astype(np.float32)
    residue_numbers = Task(TaskKind.RESIDUE_REGRESSION)
    out = baselines(residue_numbers, texts, Values(numbers, offsets), texts, Values(numbers, offsets))
    assert compute_metrics(residue_numbers, Values(numbers, offsets), out["composition"])["pearson"] > 0.97


def test_residue_baseline_for_truncated_outputs() -> None:
    texts = sequences(30)
    lengths = np.array([len(text) for text in texts])
    offsets = np.concatenate([[0], lengths.cumsum()])
    truth = np.random.default_rng(0).integers(2, size=offsets[-1])
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, ("a", "b"))
    fitted = fit_baselines(task, texts, Values(truth, offsets))
    short = np.concatenate([[0], np.minimum(lengths, 25).cumsum()])
    out = fitted.predict(texts, Values(np.zeros(short[-1]), short))
    whole = fitted.predict(texts, Values(truth, offsets))["composition"]
    assert np.array_equal(out["composition"][3], whole[3][:25])
