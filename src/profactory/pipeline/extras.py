"""What a run trains and reads beside sequences, found and checked before a model is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from profactory.config import TrainConfig
from profactory.config.methods import METHODS
from profactory.errors import ConfigError, MissingExtraError
from profactory.models.adapters import choose_targets
from profactory.models.architecture import check_trainable_layers, checked_layer
from profactory.models.descriptors import check_descriptors
from profactory.models.loading import sketch_network
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task


def check_packages(config: TrainConfig) -> None:
    """Refuse a method the package of which is not installed.

    Raises
    ------
    MissingExtraError
    """
    if config.method != "auto" and METHODS[config.method].quantised and find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"The method {config.method}", "qlora")


def check_layers(config: TrainConfig, spec: ModelSpec) -> None:
    """Refuse layers that the model does not have, as far as that is known before it is loaded.

    Raises
    ------
    ConfigError
        Saying which there are.
    """
    if spec.layers is not None:
        layer = checked_layer(config.layer, spec.layers)
        used = spec.layers if isinstance(layer, str) else layer % (spec.layers + 1)
        if "unfreeze_layers" in config.given:
            check_trainable_layers(config.unfreeze_layers, used)
    if config.lora_target_modules is not None and spec.local:
        network = sketch_network(Path(spec.source))
        if network is not None:
            paths = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
            choose_targets(paths, config.lora_target_modules, spec.name)


def check_features(config: TrainConfig, task: Task) -> None:
    """Refuse features that do not exist or have no place in the task.

    Raises
    ------
    ConfigError, MissingExtraError
    """
    if not config.features:
        return
    if task.per_residue:
        raise ConfigError(
            f"features are numbers of a whole sequence, and {task.kind} has an output for each residue.",
            fix="leave --features out",
        )
    check_descriptors(config.features)
