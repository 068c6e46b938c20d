"""The one description of a training run: command-line flags, YAML and web form come from here.

Every field's docstring is its help text. Fields left at ``None`` or ``"auto"`` are chosen for the
data and the machine when the run starts, and the choice is printed with its reason.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from profactory.config.data import DataSettings, SplitMethod
from profactory.config.machine import MachineSettings
from profactory.config.model import ModelSettings
from profactory.config.settings import Settings
from profactory.config.training import TrainingSettings
from profactory.errors import ConfigError, Problem

__all__ = ["SECTIONS", "SplitMethod", "TrainConfig", "read_yaml"]

SECTIONS: tuple[type[Settings], ...] = (DataSettings, ModelSettings, TrainingSettings, MachineSettings)


# Fields come in the order of the bases from last to first.
class TrainConfig(MachineSettings, TrainingSettings, ModelSettings, DataSettings):
    """What to train and how."""

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Make a configuration from plain values, naming everything wrong at once.

        Raises
        ------
        ConfigError
            For unknown names (with the nearest right one), values out of range and options that
            exclude each other.
        """
        try:
            config = cls(**values)
        except ValidationError as error:
            problems = [_problem(item) for item in error.errors()]
            raise _config_error(problems) from None
        config.check()
        return config

    @classmethod
    def group_of(cls, name: str) -> str:
        """Return the title of the section that a field is in."""
        return next(section.group for section in SECTIONS if name in section.model_fields)

    def check(self) -> None:
        """Refuse options that exclude each other, all of them at once.

        Raises
        ------
        ConfigError
            With one problem per contradiction.
        """
        found = [reason for section in SECTIONS for reason in section.contradictions(self)]
        if self.precision == "fp16" and self.device == "cpu":
            found.append("precision fp16 needs a GPU; take bf16 or fp32 on a processor")
        if found:
            raise _config_error([Problem(reason) for reason in found])


def read_yaml(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """Read a file of settings: one written by hand, or the ``config.yaml`` of a run.

    Returns
    -------
    source, settings
        What the file says about ``data``, if it does, and fields of :class:`TrainConfig`, not yet checked.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no settings.
    """
    import yaml

    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"The configuration {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The configuration {file} is not a list of `name: value` lines.")
    source = values.pop("data", None)
    return None if source is None else str(source), values


def _config_error(problems: list[Problem]) -> ConfigError:
    count = len(problems)
    return ConfigError(
        f"The options cannot be used ({count} problem{'' if count == 1 else 's'}).",
        problems=problems,
        fix="see `profactory train --help`",
    )


def _problem(item: Any) -> Problem:
    """Put one of pydantic's findings into our words."""
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, TrainConfig.model_fields, n=1)
        return Problem(f"no option is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    message = item["msg"][0].lower() + item["msg"][1:]
    return Problem(f"{name}: {message}", value=str(item["input"]))
