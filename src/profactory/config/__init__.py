"""The one description of a run: command-line flags, YAML and web form come from here.

Every field's docstring is its help text. Fields left at ``None`` or ``"auto"`` are chosen for the
data and the machine when the run starts, and the choice is printed with its reason.
"""

from __future__ import annotations

from typing import ClassVar

from profactory.config.configuration import Configuration, read_yaml
from profactory.config.data import DataSettings, SplitMethod
from profactory.config.machine import MachineSettings
from profactory.config.model import ModelSettings
from profactory.config.pretraining import PretrainConfig
from profactory.config.settings import Settings
from profactory.config.training import TrainingSettings

__all__ = ["Configuration", "PretrainConfig", "SplitMethod", "TrainConfig", "read_yaml"]


# Fields come in the order of the bases from last to first.
class TrainConfig(MachineSettings, TrainingSettings, ModelSettings, DataSettings, Configuration):
    """What to train and how."""

    sections: ClassVar[tuple[type[Settings], ...]] = (
        DataSettings,
        ModelSettings,
        TrainingSettings,
        MachineSettings,
    )
    command: ClassVar[str] = "train"
