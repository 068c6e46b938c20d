"""Structure strings: whether the method or the model's tokens read them, and in which columns they are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from profactory.config import TrainConfig
from profactory.config.methods import STRUCTURE_SETTINGS, implied_method, misplaced
from profactory.data.dataset import Dataset
from profactory.data.structure_columns import check_strings, find_structure_columns, match_structure_columns
from profactory.data.structure_strings import KINDS
from profactory.errors import ColumnError, ConfigError, Problem
from profactory.models.architecture import read_model_type
from profactory.models.families import FAMILIES, recognise
from profactory.models.fetching import fetch
from profactory.models.vocabulary import open_tokenizer
from profactory.models.zoo import ModelSpec, read_config

log = logging.getLogger("profactory")


def known_family(config: TrainConfig, spec: ModelSpec, columns: Sequence[str] = ()) -> ModelSpec:
    """Return the model with its family, if that decides whether its tokens hold structure.

    A model that neither the catalogue nor this machine has is downloaded for it, but only if there are
    structures that it might read.

    Parameters
    ----------
    config, spec
        What was asked, and the model that it names.
    columns
        Of the table, once it is read.

    Raises
    ------
    ModelLoadError
        Its files cannot be got or read.
    """
    if spec.family or not (spec.local or asks_for_structures(config) or find_structure_columns(columns)):
        return spec
    spec, folder = fetch(spec, trust_remote_code=config.trust_remote_code)
    model_type = read_model_type(read_config(folder), spec)
    if not any(one.model_type == model_type and one.spelling.structure for one in FAMILIES.values()):
        return spec
    tokenizer = open_tokenizer(folder, model_type, trust_remote_code=config.trust_remote_code)
    family = recognise(model_type, tokenizer.vocabulary)
    return replace(spec, family=family.name)


def asks_for_structures(config: TrainConfig) -> bool:
    """Whether something was said about structures."""
    return not set(STRUCTURE_SETTINGS).isdisjoint(config.given)


def check_structure_settings(config: TrainConfig, spec: ModelSpec) -> None:
    """Refuse settings of structures where neither the method nor the model reads any.

    Raises
    ------
    ConfigError
    """
    if reasons := misplaced(config.method, config.given, structure_tokens=bool(spec.structure)):
        raise ConfigError(
            "The options cannot be used together.",
            problems=[Problem(reason) for reason in reasons],
            fix="see docs/structures.md",
        )


def find_structures(
    config: TrainConfig, dataset: Dataset, spec: ModelSpec, trained: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Find the structure strings that method or model reads, and check every one; empty if there are none.

    Parameters
    ----------
    config
        What was asked.
    dataset
        The table.
    spec
        The model, its family known if the table may have strings for it.
    trained
        Of a model that goes on: the strings that it reads, and the columns in which they were.

    Raises
    ------
    ColumnError, RowError, ConfigError
        There are none, or some do not fit their sequences.
    """
    names = dataset.table.column_names
    method: str | None = config.method
    if method == "auto":
        method = implied_method(config.given, structure_tokens=bool(spec.structure))
    if trained is not None:
        columns = _as_trained(config, names, trained)
    elif method == "ses-adapter":
        columns = _beside(config, names, spec)
    else:
        columns = _in_tokens(config, names, spec)
    if columns:
        check_strings(dataset, columns)
        log.info("Structure strings: %s", ", ".join(f"{kind} ({name})" for kind, name in columns.items()))
    return columns


def _as_trained(config: TrainConfig, names: Sequence[str], trained: Mapping[str, str]) -> dict[str, str]:
    """Return the columns for a model that goes on."""
    if not trained and asks_for_structures(config):
        raise ConfigError(
            f"The model of {config.init} was trained without structures and does not read any.",
            fix="leave the settings of structures out, or train anew without --init",
        )
    return match_structure_columns(names, trained)


def _beside(config: TrainConfig, names: Sequence[str], spec: ModelSpec) -> dict[str, str]:
    """Return the columns for the method ses-adapter."""
    if spec.structure and not spec.structure_or_sequence:
        raise ConfigError(
            f"{spec.name} reads structures in its tokens, and the method ses-adapter would read them again.",
            fix="leave --method out, or take any other",
        )
    if config.pooling == "cls":
        raise ConfigError(
            "The method ses-adapter changes residues, and pooling cls does not look at them.",
            fix="use --pooling mean, attention, light-attention or max",
        )
    found = find_structure_columns(names, config.structure_columns)
    lettered = {name: kind for name, kind in KINDS.items() if kind.letters}
    columns = {kind: column for kind, column in found.items() if kind in lettered}
    if not columns:
        usual = "; ".join(f"{kind.title}: {', '.join(kind.columns)}" for kind in lettered.values())
        raise ColumnError(
            "The method ses-adapter needs structure strings, and the table has no column of them.",
            expected=f"a column called ({usual})",
            fix="--structure-columns 3di=COLUMN ss8=COLUMN, or another --method",
        )
    return columns


def _in_tokens(config: TrainConfig, names: Sequence[str], spec: ModelSpec) -> dict[str, str]:
    """Return the column for tokens that hold a structure letter; empty for all other models."""
    if not spec.structure or (spec.structure_or_sequence and not asks_for_structures(config)):
        return {}
    kind = KINDS[spec.structure]
    found = find_structure_columns(names, config.structure_columns)
    if config.structure_columns is not None and (useless := found.keys() - {spec.structure}):
        raise ConfigError(
            f"{spec.name} does not read {' and '.join(KINDS[one].title for one in useless)}.",
            expected=f"{spec.structure}=COLUMN ({kind.title})",
        )
    if spec.structure in found:
        if spec.structure_or_sequence:
            log.info("%s reads %s in the place of the residues.", spec.name, kind.title)
        return {spec.structure: found[spec.structure]}
    if spec.needs_structure or asks_for_structures(config):
        other = "take a model that reads sequences" if spec.needs_structure else "leave structures out"
        raise ColumnError(
            f"There are no {kind.title}, which {spec.name} reads.",
            expected=f"a column called {', '.join(kind.columns)}; {kind.source}",
            fix=f"--structure-columns {spec.structure}=COLUMN, or {other}",
        )
    log.info(
        "No column has %s: %s is told that the structure is unknown (see docs/structures.md).",
        kind.title,
        spec.name,
    )
    return {}
