"""Data set descriptions in JSON, as VenusFactory and other programs use them, in place of a table.

``{"dataset": "user/name", "problem_type": "single_label_classification", "num_labels": 2, "metrics": "mcc"}``
names the data and what their labels mean. Every key is used, known to have no meaning here (and said so), or
refused: a misspelt key must not be passed over in silence.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profactory.errors import ConfigError
from profactory.tasks import TaskKind

LARGEST = 1 << 20  # bytes; a description is short
_MARKS = ("dataset", "train_file", "problem_type")
_TASKS = {
    "residue_single_label_classification": TaskKind.RESIDUE_CLASSIFICATION,
    "token_classification": TaskKind.RESIDUE_CLASSIFICATION,
    **{str(kind): kind for kind in TaskKind},
}
_FILES = {"train_file": "train", "valid_file": "validation", "test_file": "test"}
_TRANSFORMS = {
    "standard": "standardize",
    "min_max": "min-max",
    "log": "log",
    "quantile": "rank",
    "none": "none",
}
_METRICS = {"spearman_corr": "spearman", "aupr": "auprc", "f1_positive": "f1"}
_UNUSED = {
    "metrics": "all metrics of the task are computed",
    "num_labels": "the labels are counted",
    "monitor_strategy": "the direction of a metric is known",
    "pdb_type": "structures are not read",
    "pdb_dir": "structures are not read",
    "structure_seq": "structure tokens are not read",
    "structure_merge_key": "structure tokens are not read",
    "structure_merge_key_format": "structure tokens are not read",
    "gnn_config": "there is no graph network",
    "gnn_model_path": "there is no graph network",
    "c_alpha_max_neighbors": "there is no graph network",
}


@dataclass
class Description:
    """What a description says.

    Parameters
    ----------
    path
        The JSON file.
    source
        Name of the data: a path, or a data set of the Hub; empty if there are `files`.
    files
        Files of the splits.
    settings
        Settings of training by name: columns, ``task``, ``monitor``, ``label_transform``.
    unused
        Keys that have no meaning here, each with the reason.
    """

    path: Path
    source: str = ""
    files: list[tuple[Path, str]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def read_description(source: str | Path) -> Description | None:
    """Return the description that a file holds, or None if it is anything else, such as a table.

    Raises
    ------
    ConfigError
        With every key that is unknown or has a value that cannot be meant.
    """
    path = Path(source)
    content = _content(path)
    if content is None:
        return None
    described, wrong = Description(path), []
    for key, value in content.items():
        if key in _READERS:
            problem = _READERS[key](described, key, value)
            wrong += [problem] if problem else []
        elif key in _UNUSED:
            described.unused.append(f"{key} ({_UNUSED[key]})")
        else:
            near = difflib.get_close_matches(key, [*_READERS, *_UNUSED], n=1)
            wrong.append(f"{key!r} is no key" + (f"; did you mean {near[0]!r}?" if near else ""))
    if not described.source and not described.files:
        wrong.append("neither 'dataset' nor 'train_file' names the data")
    if wrong:
        raise ConfigError(f"{path}: " + "; ".join(wrong) + ".", fix="mend the data set description")
    return described


def _content(path: Path) -> dict[str, Any] | None:
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > LARGEST:
        return None
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        return None  # the reader of tables says what is wrong with it
    return content if isinstance(content, dict) and any(mark in content for mark in _MARKS) else None


def _dataset(described: Description, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        return f"'dataset' is {value!r} and not a name"
    beside = described.path.parent / value
    described.source = str(beside) if beside.exists() else value
    return f"'dataset' names another description, {value!r}" if _content(Path(described.source)) else ""


def _file(described: Description, key: str, value: Any) -> str:
    if not value:
        return ""
    path = described.path.parent / str(value)
    path = path if path.exists() else Path(str(value))
    if not path.is_file():
        return f"{key!r} names {value!r}, which is no file"
    described.files.append((path, _FILES[key]))
    return ""


def _task(described: Description, key: str, value: Any) -> str:
    if value not in _TASKS:
        return f"'problem_type' is {value!r} and none of {', '.join(_TASKS)}"
    described.settings["task"] = _TASKS[value]
    return ""


def _column(described: Description, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        return f"{key!r} is {value!r} and not the name of a column"
    role = key.removesuffix("_name")
    described.settings[role] = [value] if role == "label_column" else value
    return ""


def _monitor(described: Description, key: str, value: Any) -> str:
    if not isinstance(value, str):
        return f"'monitor' is {value!r} and not the name of a metric"
    name = value.removeprefix("val_").removeprefix("valid_")
    described.settings["monitor"] = _METRICS.get(name, name)
    return ""


def _normalise(described: Description, key: str, value: Any) -> str:
    if value in (None, "", False):
        return ""
    if value not in _TRANSFORMS:
        return f"'normalize' is {value!r} and none of {', '.join(_TRANSFORMS)}"
    described.settings["label_transform"] = _TRANSFORMS[value]
    return ""


_READERS: dict[str, Callable[[Description, str, Any], str]] = {
    "dataset": _dataset,
    **dict.fromkeys(_FILES, _file),
    "problem_type": _task,
    "sequence_column_name": _column,
    "label_column_name": _column,
    "monitor": _monitor,
    "normalize": _normalise,
}
