"""What is chosen for the user, method by method."""

from __future__ import annotations

from typing import Any

import pytest

from profactory.config import TrainConfig
from profactory.models.zoo import resolve
from profactory.pipeline.choices import choose
from profactory.tasks import Task, TaskKind

TASK = Task(TaskKind.SINGLE_LABEL, classes=("a", "b"))


@pytest.mark.parametrize(
    ("settings", "method", "rate", "head"),
    [
        ({}, "freeze", 1e-3, None),
        ({"lora_rank": 4}, "lora", 1e-3, None),
        ({"unfreeze_layers": 1}, "last-layers", 3e-4, 1e-3),  # a new head beside pre-trained weights
        ({"method": "full"}, "full", 3e-4, 1e-3),
        ({"method": "full", "learning_rate": 1e-4}, "full", 1e-4, None),
        ({"method": "full", "head_learning_rate": 2e-3}, "full", 3e-4, 2e-3),
    ],
)
def test_methods_and_their_learning_rates(
    settings: dict[str, Any], method: str, rate: float, head: float | None
) -> None:
    config = TrainConfig.build({"device": "cpu", **settings})
    choices = choose(config, TASK, resolve("mini"), train_rows=500)
    assert (choices.method, choices.learning_rate, choices.head_learning_rate) == (method, rate, head)
    assert choices.cached == (method == "freeze")


@pytest.mark.parametrize(
    ("settings", "cached"),
    [
        ({"layer": "mix"}, True),
        ({"layer": "mix", "pooling": "attention"}, False),  # all layers of every residue
        ({"layer": 2, "pooling": "attention"}, True),
    ],
)
def test_what_is_computed_once(settings: dict[str, Any], cached: bool) -> None:
    config = TrainConfig.build({"device": "cpu", "method": "freeze", **settings})
    assert choose(config, TASK, resolve("mini"), train_rows=500).cached is cached
