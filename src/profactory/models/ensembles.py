"""The folder of an ensemble: members that are models of their own, with what they share stored once.

::

    config.json           a section "profactory" with task, calibration and the members' names
    members/NAME/         the folder of a model; frozen backbones are in the first one only
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from profactory.config.methods import METHODS
from profactory.errors import ModelLoadError
from profactory.files import atomic_dir, sha256_bytes
from profactory.models.protein_model import ProteinModel
from profactory.models.saving import SCHEMA_VERSION, VERSION, load_model, read_section, saved_fingerprint
from profactory.models.zoo import read_config
from profactory.tasks import Calibration, Task

WEIGHTS = "model.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def save_ensemble(
    directory: Path,
    members: Mapping[str, Path],
    *,
    task: Task,
    calibration: Calibration,
    provenance: Mapping[str, Any],
) -> Path:
    """Write the folder of an ensemble atomically, from the folders of its members.

    Parameters
    ----------
    directory
        The folder.
    members
        Name of each member to the folder of its model; files are linked where the disk allows, else copied.
    task, calibration
        Of the ensemble.
    provenance
        Whatever tells where the ensemble comes from; JSON values.
    """
    first, *_ = members.values()
    shared = _frozen_weights(first)
    section = {
        "schema_version": SCHEMA_VERSION,
        "version": VERSION,
        "ensemble": list(members),
        "task": task.to_dict(),
        "calibration": calibration.to_dict(),
        "provenance": dict(provenance),
    }
    with atomic_dir(directory) as folder:
        for name, source in members.items():
            skip = source is not first and shared is not None and _frozen_weights(source) == shared
            _copy(source, folder / "members" / name, WEIGHTS if skip else "")
        text = json.dumps({"profactory": section}, indent=2, allow_nan=False)
        (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    return directory


def is_ensemble(directory: Path) -> bool:
    """Whether a folder holds an ensemble."""
    section = read_config(directory, limit=64 << 20).get("profactory")
    return isinstance(section, dict) and "ensemble" in section


def load_ensemble(
    directory: Path, *, trust_remote_code: bool = False
) -> tuple[list[ProteinModel], Task, Calibration]:
    """Read what :func:`save_ensemble` wrote; members with the same frozen backbone share it in memory.

    Raises
    ------
    ModelLoadError
        As :func:`profactory.models.saving.load_model`.
    """
    section = read_section(directory)
    try:
        task, calibration = (
            Task.from_dict(section["task"]),
            Calibration.from_dict(section.get("calibration", {})),
        )
        folders = [directory / "members" / _checked(name) for name in section["ensemble"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelLoadError(
            f'The section "profactory" of {directory / "config.json"} is incomplete: {error}',
            expected="config.json as it was saved",
        ) from error
    first = load_model(folders[0], trust_remote_code=trust_remote_code)
    shared = _frozen_weights(folders[0])
    members = [first]
    for folder in folders[1:]:
        same = shared is not None and _frozen_weights(folder) == shared
        backbone = first.backbone if same else None
        members.append(load_model(folder, backbone=backbone, trust_remote_code=trust_remote_code))
    return members, task, calibration


def ensemble_fingerprint(directory: Path) -> str:
    """Return a hash of all that decides what a saved ensemble answers."""
    folders = sorted((directory / "members").iterdir())
    hashes = [saved_fingerprint(folder) for folder in (directory, *folders)]
    return sha256_bytes(" ".join(hashes).encode())


def link_equal(first: Path, other: Path) -> None:
    """Let a model's folder share the frozen backbone's file of another one, if it is the same."""
    shared = _frozen_weights(first)
    if shared is None or _frozen_weights(other) != shared or not (other / WEIGHTS).is_file():
        return
    if (other / WEIGHTS).samefile(first / WEIGHTS):  # renaming one name of a file to another does nothing
        return
    temporary = other / f".{WEIGHTS}.tmp"
    temporary.unlink(missing_ok=True)
    _link(first / WEIGHTS, temporary)
    temporary.replace(other / WEIGHTS)


def _frozen_weights(folder: Path) -> str | None:
    """Name a backbone that training did not change and nothing was put into, as it is read."""
    section = read_section(folder)
    design, backbone = section["design"], section["backbone"]
    if design["method"] not in METHODS or not METHODS[design["method"]].frozen:
        return None
    return f"{backbone['weights_sha256']} {backbone['dtype']} {design['layer']}"


def _checked(name: Any) -> str:
    """Accept nothing that could lead out of the folder."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a member")
    return name


def _copy(source: Path, target: Path, skip: str) -> None:
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.name != skip and not file.name.startswith("."):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(file, place)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; where the disk cannot, copy it. Saved files are replaced, never changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
