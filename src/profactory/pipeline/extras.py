"""What a run trains and reads beside sequences, found and checked before a model is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from profactory.config import TrainConfig
from profactory.config.methods import METHODS, implied_method
from profactory.data.dataset import Dataset
from profactory.data.structure_columns import check_strings, find_structure_columns, match_structure_columns
from profactory.data.structure_strings import KINDS
from profactory.errors import ColumnError, ConfigError, MissingExtraError
from profactory.models.adapters import choose_targets
from profactory.models.architecture import check_trainable_layers, checked_layer
from profactory.models.descriptors import check_descriptors
from profactory.models.loading import sketch_network
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task

log = logging.getLogger("profactory")


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


def find_structures(
    config: TrainConfig, dataset: Dataset, trained: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Find the structure strings that the method reads, and check every one; empty if it reads none.

    Parameters
    ----------
    config
        What was asked.
    dataset
        The table.
    trained
        Of a model that goes on: the strings that it reads, and the columns in which they were.

    Raises
    ------
    ColumnError, RowError, ConfigError
        There are none, or some do not fit their sequences.
    """
    method = implied_method(config.given) if config.method == "auto" else config.method
    if method != "ses-adapter":
        return {}
    if config.pooling == "cls":
        raise ConfigError(
            "The method ses-adapter changes residues, and pooling cls does not look at them.",
            fix="use --pooling mean, attention, light-attention or max",
        )
    names = dataset.table.column_names
    if trained is not None:
        columns = match_structure_columns(names, trained)
    else:
        columns = find_structure_columns(names, config.structure_columns)
    if not columns:
        usual = "; ".join(f"{kind.title}: {', '.join(kind.columns)}" for kind in KINDS.values())
        raise ColumnError(
            "The method ses-adapter needs structure strings, and the table has no column of them.",
            expected=f"a column called ({usual})",
            fix="--structure-columns 3di=COLUMN ss8=COLUMN, or another --method",
        )
    check_strings(dataset, columns)
    log.info("Structure strings: %s", ", ".join(f"{kind} ({column})" for kind, column in columns.items()))
    return columns
