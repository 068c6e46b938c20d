"""The form has every setting of the configuration, and gives it back as it was."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profactory.config import TrainConfig
from profactory.errors import ConfigError
from profactory.web.form import (
    FRONT,
    TERMINAL_ONLY,
    fill_form,
    folded_sections,
    form_fields,
    kind_of,
    make_control,
    read_form,
)
from profactory.web.words import Words

ENGLISH = Words("en")


def test_every_setting_is_on_the_page_once() -> None:
    folded = [name for _, names in folded_sections(ENGLISH) for name in names]
    assert sorted([*FRONT, *folded, *TERMINAL_ONLY]) == sorted(TrainConfig.model_fields)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", form_fields())
def test_every_setting_has_a_control_with_label_and_help(name: str, language: str) -> None:
    control = make_control(name, Words(language))
    assert control.label
    assert control.info


def test_an_untouched_form_asks_for_nothing() -> None:
    assert read_form(fill_form({})) == {}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "epochs": st.integers(1, 500),
            "learning_rate": st.floats(1e-8, 0.1),
            "split_ratios": st.sampled_from([(0.7, 0.2, 0.1), (0.5, 0.25, 0.25)]),
            "label_column": st.lists(
                st.text("abc ,xyz", min_size=1).filter(str.strip), min_size=1, max_size=3
            ),
            "method": st.sampled_from(["lora", "full", "freeze"]),
            "task": st.sampled_from(["regression", "residue_classification"]),
            "seed": st.integers(1, 2**31 - 1),
            "layer": st.sampled_from([0, -2, "mix"]),
            "features": st.just(["charge", "length"]),
            "sequence_column": st.sampled_from(["seq", "Protein Sequence"]),
        },
    )
)
def test_settings_survive_the_form(settings: dict[str, Any]) -> None:
    found = read_form(fill_form(settings))
    asked, kept = TrainConfig.build(settings), TrainConfig.build(found)
    for name in settings:
        before, after = getattr(asked, name), getattr(kept, name)
        assert math.isclose(before, after, rel_tol=1e-5) if isinstance(before, float) else before == after


def test_numbers_may_be_typed_as_people_do() -> None:
    assert read_form({"learning_rate": " 2e-5 ", "split_ratios": "0.7, 0.2, 0.1", "epochs": "3"}) == {
        "learning_rate": 2e-5,
        "split_ratios": (0.7, 0.2, 0.1),
        "epochs": 3,
    }


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        read_form({"epochs": "many", "learning_rate": "1e", "split_ratios": "a b"})
    assert len(refusal.value.problems) == 3
    with pytest.raises(ConfigError, match="epochs"):
        read_form({"epochs": "-3"})


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int | None, "whole"),
        (float, "number"),
        (bool, "switch"),
        (str | None, "text"),
        (list[str] | None, "list"),
        (int | Literal["mix"], "text"),
    ],
)
def test_kinds_of_controls(annotation: Any, kind: str) -> None:
    assert kind_of(annotation) == kind
