"""Settings as flags: what the command line understands of them is what they were."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.cli.main import make_app
from profactory.config import TrainConfig
from profactory.jobs import as_flags

EVERYTHING: dict[str, Any] = {
    "sequence_column": "-- odd name, with = and 'quotes'",
    "label_column": ["a b", "c"],
    "task": "regression",
    "split": "homology",
    "split_ratios": (0.7, 0.2, 0.1),
    "limit": 12,
    "trust_remote_code": True,
    "dropout": 0.25,
    "lora_target_modules": ["query", "value"],
    "learning_rate": 1e-05,
    "epochs": 3,
}


def understood(settings: dict[str, Any]) -> dict[str, Any]:
    _, bound, _ = make_app("train").parse_args(["train", "data.csv", *as_flags(settings)])
    return TrainConfig.build({name: value for name, value in bound.kwargs.items() if name != "json"})


@pytest.mark.parametrize("settings", [EVERYTHING, {}])
def test_the_command_line_reads_back_what_was_meant(settings: dict[str, Any]) -> None:
    assert understood(settings) == TrainConfig.build(settings)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_column_name_survives(name: str) -> None:
    assert as_flags({"sequence_column": name}) == [f"--sequence-column={name}"]


def test_what_is_off_or_open_is_not_typed() -> None:
    assert as_flags({"model": None, "trust_remote_code": False, "seed": 0}) == ["--seed=0"]
