"""Labels: expected arrays and columns are written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.errors import ColumnError, ConfigError, RowError
from profactory.tasks import (
    Task,
    TaskKind,
    Values,
    collect_names,
    infer_task,
    name_separator,
    task_of_names,
)

SINGLE = Task(TaskKind.SINGLE_LABEL, ("cytoplasm", "membrane", "nucleus"))
MULTI = Task(TaskKind.MULTI_LABEL, ("a", "b", "c"), separator=";")
REGRESSION = Task(TaskKind.REGRESSION)
TWO_TARGETS = Task(TaskKind.REGRESSION, targets=("tm", "ph"))
RESIDUE = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "E", "H"))
SITES = Task(TaskKind.RESIDUE_MULTI_LABEL, ("dna", "metal"), separator="|")
RESIDUE_NUMBERS = Task(TaskKind.RESIDUE_REGRESSION)


def fit_task(kind: TaskKind, cells: list[str], lengths: list[int] | None = None) -> Task:
    """Find the classes of cells, as those of a table are found."""
    separator = name_separator(kind, cells)
    return task_of_names(kind, collect_names(kind, cells, lengths or [0] * len(cells), separator), separator)


@pytest.mark.parametrize(
    ("cells", "lengths", "kind"),
    [
        (["0", "1", "0", "1"], [9, 9, 9, 9], TaskKind.SINGLE_LABEL),
        (["cytoplasm", "nucleus"] * 3, [50] * 6, TaskKind.SINGLE_LABEL),
        (["cell membrane", "cell wall"] * 4, [50] * 8, TaskKind.SINGLE_LABEL),
        ([f"{i}.5" for i in range(30)], [50] * 30, TaskKind.REGRESSION),
        ([str(i) for i in range(30)], [50] * 30, TaskKind.REGRESSION),
        (["1e-3", "-2.5", "3", ".5"], [50] * 4, TaskKind.REGRESSION),
        (["0 3", "1", "0 1 3", "3 1", "0", "1 0"], [50] * 6, TaskKind.MULTI_LABEL),
        (["a,b", "c", "a,c", "b", "a"], [50] * 5, TaskKind.MULTI_LABEL),
        (["HHEC", "CCE"], [4, 3], TaskKind.RESIDUE_CLASSIFICATION),
        (["0110", "001"], [4, 3], TaskKind.RESIDUE_CLASSIFICATION),
        (["[0, 1, 1]", "[1, 0]"], [3, 2], TaskKind.RESIDUE_CLASSIFICATION),
        (["a|b,,a", "?,b"], [3, 2], TaskKind.RESIDUE_MULTI_LABEL),
        (['[["a", "b"], [], null]', '[[], ["b"]]'], [3, 2], TaskKind.RESIDUE_MULTI_LABEL),
        (["a,,a", "?,b"], [3, 2], TaskKind.RESIDUE_CLASSIFICATION),
        (["0.5 0.25 1", "0.125 2.5"], [3, 2], TaskKind.RESIDUE_REGRESSION),
        (["0.5,nan,1", "[0.125, null]"], [3, 2], TaskKind.RESIDUE_REGRESSION),
        (["12.5", "13.5", "14.5", "15.25", "n/a"], [50] * 5, TaskKind.REGRESSION),
    ],
)
def test_the_task_is_inferred_from_the_cells(cells: list[str], lengths: list[int], kind: TaskKind) -> None:
    found, reason = infer_task(cells, lengths)
    assert found is kind
    assert reason


def test_a_column_of_names_is_not_taken_for_labels() -> None:
    with pytest.raises(ColumnError, match="looks like names"):
        infer_task([f"protein{i}x" for i in range(40)], [50] * 40)


def test_an_empty_column_is_named() -> None:
    with pytest.raises(ColumnError, match="empty"):
        infer_task(["", " "], [5, 5])


def test_classes_are_sorted_naturally() -> None:
    assert fit_task(TaskKind.SINGLE_LABEL, ["10", "9", "2", "10"]).classes == ("2", "9", "10")
    assert fit_task(TaskKind.SINGLE_LABEL, ["b", "a10", "a9"]).classes == ("a9", "a10", "b")


def test_one_class_is_nothing_to_learn() -> None:
    with pytest.raises(ConfigError, match="1 class"):
        fit_task(TaskKind.SINGLE_LABEL, ["x", "x"])


def test_multi_label_separator_is_found_and_used_again() -> None:
    task = fit_task(TaskKind.MULTI_LABEL, ["a; b", "c"])
    assert (task.classes, task.separator) == (("a", "b", "c"), ";")


def test_separator_of_the_classes_of_residues_is_found() -> None:
    task = fit_task(TaskKind.RESIDUE_MULTI_LABEL, [",a;b,?", "c,"], [3, 2])
    assert (task.classes, task.separator) == (("a", "b", "c"), ";")


def test_encode_by_hand() -> None:
    assert SINGLE.encode(["nucleus", " cytoplasm "], [5, 5]).values.tolist() == [2, 0]
    assert MULTI.encode(["a;c", "", '["b"]'], [5, 5, 5]).values.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert REGRESSION.encode(["1.5", "-2e1"], [5, 5]).values.tolist() == [[1.5], [-20.0]]
    two = TWO_TARGETS.encode([["1", ""], ["2", "7.5"]], [5, 5]).values
    np.testing.assert_array_equal(two, np.array([[1, np.nan], [2, 7.5]], np.float32))
    residues = RESIDUE.encode(["HC?", "EE"], [3, 2])
    assert residues.values.tolist() == [2, 0, -1, 1, 1]
    assert residues.offsets is not None
    assert residues.offsets.tolist() == [0, 3, 5]
    sites = SITES.encode([",metal|dna,?", '[["dna"], null]'], [3, 2])
    unknown = [np.nan, np.nan]
    np.testing.assert_array_equal(sites.values, [[0, 0], [1, 1], unknown, [1, 0], unknown])
    numbers = RESIDUE_NUMBERS.encode(["1,?,0.5"], [3])
    np.testing.assert_array_equal(numbers.values, np.array([1, np.nan, 0.5], np.float32))


@pytest.mark.parametrize("cell", ["1,5", "1.5 ", "nan", "inf", "", "1e39", "0x10", "1_000", "١"])
def test_numbers_are_read_strictly(cell: str) -> None:
    with pytest.raises(RowError):
        REGRESSION.encode([cell], [5])


def test_every_bad_label_is_named_not_only_the_first() -> None:
    with pytest.raises(RowError, match="2 of 3") as caught:
        SINGLE.encode(["nucleus", "golgi", ""], [5, 5, 5])
    assert [(problem.line, problem.value) for problem in caught.value.problems] == [(1, "golgi"), (2, "")]


@pytest.mark.parametrize(("cell", "length"), [("HHH", 4), ("HHHHH", 4), ("[0, 1]", 3)])
def test_residue_labels_must_be_as_long_as_the_sequence(cell: str, length: int) -> None:
    with pytest.raises(RowError, match="labels for"):
        RESIDUE.encode([cell], [length])


def test_decode_by_hand() -> None:
    single = SINGLE.decode(Values(np.array([[0.2, 0.7, 0.1]], np.float32)))
    assert single["prediction"] == ["membrane"]
    assert np.asarray(single["probability_membrane"]).tolist() == [np.float32(0.7)]
    multi = MULTI.decode(Values(np.array([[0.6, 0.4, 0.5], [0, 0, 0]], np.float32)))
    assert multi["prediction"] == ["a;c", ""]
    numbers = TWO_TARGETS.decode(Values(np.array([[1.5, 2.5]], np.float32)))
    assert list(numbers) == ["prediction_tm", "prediction_ph"]
    block = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.6, 0.2]], np.float32)
    residues = RESIDUE.decode(Values(block, np.array([0, 2, 3])))
    assert residues["prediction"] == ["CH", "E"]
    assert residues["probability_H"] == ["0.1,0.8", "0.2"]
    sites = SITES.decode(
        Values(np.array([[0.8, 0.7], [0.1, 0.2], [0.2, 0.6]], np.float32), np.array([0, 2, 3]))
    )
    assert sites["prediction"] == ["dna|metal,", "metal"]


def test_probabilities_by_hand() -> None:
    softmax = SINGLE.probabilities(np.log(np.array([[1.0, 2.0, 5.0]])))
    np.testing.assert_allclose(softmax, [[0.125, 0.25, 0.625]], rtol=1e-6)
    sigmoid = MULTI.probabilities(np.array([[0.0, np.log(3.0), -1000.0]]))
    np.testing.assert_allclose(sigmoid, [[0.5, 0.75, 0.0]], rtol=1e-6)


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_take_picks_whole_samples(lengths: list[int], order: object) -> None:
    blocks = [np.full(n, i, np.float32) for i, n in enumerate(lengths)]
    values = Values.concat(blocks, per_residue=True)
    indices = list(range(len(lengths)))
    order.shuffle(indices)  # type: ignore[attr-defined]
    taken = values.take(indices)
    assert [taken[k].tolist() for k in range(len(taken))] == [blocks[i].tolist() for i in indices]


@pytest.mark.parametrize("task", [SINGLE, MULTI, REGRESSION, TWO_TARGETS, RESIDUE, SITES, RESIDUE_NUMBERS])
def test_a_task_survives_json(task: Task) -> None:
    assert Task.from_dict(task.to_dict()) == task
