"""What a sweep tries: read from a file, refused as a whole, enumerated."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from profactory.config.search import Range, Search
from profactory.errors import ConfigError


def test_values_lists_and_ranges_are_told_apart() -> None:
    search = Search.read(
        {
            "epochs": 3,
            "model": ["mini", "esm2-8m"],
            "learning_rate": {"low": 1, "high": 2, "log": True},
            "head_hidden": {"low": 0, "high": 64},
            "label_column": ["a", "b"],
            "split_ratios": [0.6, 0.2, 0.2],
        }
    )
    assert search.fixed == {"epochs": 3, "label_column": ["a", "b"], "split_ratios": [0.6, 0.2, 0.2]}
    assert search.choices == {"model": ("mini", "esm2-8m")}
    assert search.ranges == {"learning_rate": Range(1.0, 2.0, log=True), "head_hidden": Range(0, 64)}
    assert search.ranges["head_hidden"].whole
    assert not search.ranges["learning_rate"].whole


def test_combinations_without_meaning_are_left_out_and_none_comes_twice() -> None:
    search = Search.read({"lora_rank": [4, 8], "method": ["freeze", "lora"], "pooling": ["mean", "max"]})
    assert search.tried[0] == "method"
    grid = search.grid()
    assert len(grid) == 2 + 4
    assert {"method": "freeze", "pooling": "max"} in grid
    assert {"method": "lora", "pooling": "max", "lora_rank": 8} in grid
    assert all(("lora_rank" in combination) == (combination["method"] == "lora") for combination in grid)


def test_what_is_fixed_for_another_method_is_left_out() -> None:
    search = Search.read({"lora_rank": 4, "method": ["freeze", "lora"]})
    assert search.settings({"method": "freeze"}) == {"method": "freeze"}
    assert search.settings({"method": "lora"}) == {"method": "lora", "lora_rank": 4}


def test_a_power_of_ten_without_a_point_is_a_number() -> None:
    values = yaml.safe_load("learning_rate: {low: 1e-4, high: 1e-2, log: true}")
    assert values["learning_rate"]["low"] == "1e-4"  # as YAML has it
    assert Search.read(values).ranges["learning_rate"] == Range(1e-4, 1e-2, log=True)


def test_ranges_have_no_grid() -> None:
    assert Search.read({"dropout": {"low": 0, "high": 0.5}, "pooling": ["mean", "max"]}).grid() == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 3}, "nothing to try"),
        ({"epochs": []}, "the list is empty"),
        ({"epochs": [1, 1]}, "listed twice"),
        ({"epochs": [[1], [2]]}, "alternatives are words, numbers"),
        ({"learning_rat": [0.1, 0.2]}, "did you mean 'learning_rate'"),
        ({"dropout": [0.1, 2.0]}, "dropout: input should be less than 1"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, "low must be below high"),
        ({"dropout": {"low": 0.0, "high": 0.1, "log": True}}, "above 0 on a logarithmic scale"),
        ({"dropout": {"low": 0.1}}, "a range is"),
        ({"dropout": {"low": 0.1, "high": 0.2, "steps": 3}}, "a range is"),
        ({"pooling": {"low": 1, "high": 2}}, "pooling is no number"),
        ({"split": ["random", "stratified"]}, "would not be measured alike"),
        ({"seed": {"low": 0, "high": 9}}, "would not be measured alike"),
        ({"folds": 3, "pooling": ["mean", "max"]}, "folds cannot be part of a sweep"),
        ({"batch_size": 4, "tokens_per_batch": [100, 200]}, "were both given"),
    ],
)
def test_what_cannot_be_tried_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Search.read(values)


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Search.read({"dropout": [0.1, 2.0], "modell": ["x", "y"], "epochs": [0, 5]})
    assert len(caught.value.problems) == 3
