from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from profactory.config import Configuration, PretrainConfig, TrainConfig, read_yaml
from profactory.config.methods import METHODS, MethodName, implied_method
from profactory.errors import ConfigError
from profactory.tasks import TaskKind


def test_every_problem_is_named_at_once_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.build({"methd": "lora", "learning_rate": -1})
    reasons = " | ".join(problem.reason for problem in caught.value.problems)
    assert "did you mean 'method'" in reasons
    assert "learning_rate" in reasons


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_size": 8, "tokens_per_batch": 4096}, "give one"),
        ({"limit": 8, "sample": 0.5}, "give one"),
        ({"warmup_steps": 8, "warmup_ratio": 0.5}, "give one"),
        ({"method": "freeze", "lora_target_modules": ["query"]}, "no meaning"),
        ({"method": "ia3", "lora_rank": 4}, "it belongs to lora, dora, adalora"),
        ({"method": "freeze", "unfreeze_layers": 2}, "it belongs to last-layers"),
        ({"lora_rank": 4, "unfreeze_layers": 2}, "no method has"),
        ({"split_ratios": (0.8, 0.1, 0.2)}, "add up to 1"),
        ({"split_ratios": (1.0, 0.0, 0.0)}, "leave rows"),
        ({"precision": "fp16", "device": "cpu"}, "needs a GPU"),
    ],
)
def test_options_that_exclude_each_other_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrainConfig.build(values)


def test_what_is_typed_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 7\nseed: 3\n")
    source, values = read_yaml(file)
    config = TrainConfig.build({**values, "seed": 5})
    assert (source, config.epochs, config.seed) == (None, 7, 5)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [1\n", "epochs: many\n"])
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        TrainConfig.build(read_yaml(file)[1])


@pytest.mark.parametrize(
    ("configuration", "groups"),
    [
        (TrainConfig, {"Data", "Model", "Training", "Machine"}),
        (PretrainConfig, {"Sequences", "Model", "Objectives", "Training", "Machine"}),
    ],
)
def test_every_field_has_help_and_a_group(configuration: type[Configuration], groups: set[str]) -> None:
    for name, field in configuration.model_fields.items():
        assert field.description, name
        assert configuration.group_of(name) in groups


def test_the_page_that_explains_is_that_of_the_command() -> None:
    with pytest.raises(ConfigError, match="profactory pretrain --help"):
        PretrainConfig.build({"init": "mini", "size": "8m"})


def test_each_method_is_a_choice_with_its_options_among_the_settings() -> None:
    assert {"auto", *METHODS} == set(get_args(MethodName))
    for name, method in METHODS.items():
        assert set(method.options) <= TrainConfig.model_fields.keys(), name
        given = {option: TrainConfig.model_fields[option].default for option in method.options}
        if "augment" in given:
            given["augment"] = ["mask", "crop"]  # what the others of its kind are for
        TrainConfig.build({"method": name, **given})


def test_options_tell_which_method_is_meant() -> None:
    assert implied_method(["lora_rank", "epochs"]) == "lora"
    assert implied_method(["unfreeze_layers"]) == "last-layers"
    assert implied_method(["epochs"]) is None
    TrainConfig.build({"lora_target_modules": None, "method": "freeze"})  # nothing was given


def test_a_path_is_as_good_as_its_text(tmp_path: Path) -> None:
    assert TrainConfig.build({"model": tmp_path}).model == str(tmp_path)


def test_one_text_is_as_good_as_a_list_of_it() -> None:
    config = TrainConfig.build({"label_column": "solubility", "augment": "mask", "task": "regression"})
    assert (config.label_column, config.augment) == (["solubility"], ["mask"])
    with pytest.raises(ConfigError, match="augment"):
        TrainConfig.build({"augment": "bend"})


def test_settings_among_other_arguments_are_read_and_the_rest_is_left() -> None:
    read = TrainConfig.read({"task": "regression", "epochs": "3", "fix": True})
    assert read == {"task": TaskKind.REGRESSION, "epochs": 3, "fix": True}
