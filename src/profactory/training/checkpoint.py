"""Checkpoints that are whole or not there.

A checkpoint is a folder ``checkpoint-<step>`` with safetensors files (trained weights, optimizer, random
generators), ``state.json`` (position in the data, early stopping, best evaluation) and, written last,
``manifest.json`` with the SHA-256 of each. It is written under a temporary name, flushed to the disk and
renamed; older ones are removed only afterwards.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from profactory.errors import CheckpointError, RunError
from profactory.files import atomic_dir, fsync_path, readable_bytes, sha256_file
from profactory.training.manifest import seal, unseal

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
STATE = "state.json"
_NAME = re.compile(r"checkpoint-(\d+)")
_TEMPORARY = ".checkpoint-*.tmp"
_SPARE_BYTES = 1 << 16  # headers, JSON and folders

log = logging.getLogger("profactory")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Parameters
    ----------
    path
        Its folder.
    tensors
        By file (``model``, ``optimizer``, ``rng``) and name.
    state
        Content of ``state.json``.
    """

    path: Path
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the place of a step's checkpoint."""
    return folder / f"checkpoint-{step}"


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """Return the checkpoints by step, oldest first, valid or not."""
    if not folder.is_dir():
        return {}
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint; on return it is on the disk.

    Parameters
    ----------
    folder
        Of all checkpoints of the run; this process must hold the run's lock.
    step
        Optimizer steps done.
    tensors
        By file and name.
    state
        For ``state.json``; no NaN or infinity.

    Raises
    ------
    RunError
        The disk is full or cannot be written; nothing is left behind and older checkpoints are intact.
    """
    target = checkpoint_path(folder, step)
    needed = _SPARE_BYTES + sum(t.nbytes for group in tensors.values() for t in group.values())
    try:
        folder.mkdir(exist_ok=True)  # a run directory that has vanished is not made anew
        remove_unfinished(folder)
        if (free := shutil.disk_usage(folder).free) < needed:
            raise _no_room(target, needed, f"{readable_bytes(free)} are free")
        with atomic_dir(target) as temporary:
            _write_files(temporary, step, tensors, state)
    except (OSError, SafetensorError) as error:
        raise _no_room(target, needed, str(error)) from error
    return target


def _write_files(
    temporary: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    for stem, group in tensors.items():
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in group.items()}
        save_file(whole, temporary / f"{stem}.safetensors")
    (temporary / STATE).write_text(json.dumps(state, allow_nan=False, indent=1), encoding="utf-8")
    files = sorted(temporary.iterdir())
    for file in files:
        fsync_path(file)  # before the manifest that vouches for it
    content = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "files": {file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in files},
    }
    (temporary / MANIFEST).write_bytes(seal(content))


def verify_checkpoint(path: Path) -> None:
    """Check that a checkpoint is complete and unchanged since it was written.

    Raises
    ------
    CheckpointError
        Naming the file at fault and what is wrong with it.
    """
    if problem := _damage(path):
        raise CheckpointError(
            f"Checkpoint {path} is damaged: {problem}.",
            expected="files as they were written",
            fix="profactory resume RUN goes on from the newest intact checkpoint",
        )


def _damage(path: Path) -> str:
    """Return what is wrong with a checkpoint, or an empty string."""
    try:
        content = unseal((path / MANIFEST).read_bytes())
        if content["schema_version"] > SCHEMA_VERSION:
            return f"it was written by a newer version (format {content['schema_version']})"
        if path.name != f"checkpoint-{content['step']}":
            return f"{MANIFEST} is that of step {content['step']}"
        return next(_damaged_files(path, content["files"]), "")
    except (OSError, ValueError) as error:
        return f"{MANIFEST} cannot be used ({error})"


def _damaged_files(path: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, expected in files.items():
        file = path / name
        if not file.is_file():
            yield f"{name} is missing"
        elif (size := file.stat().st_size) != expected["bytes"]:
            yield f"{name} has {size:,} bytes instead of {expected['bytes']:,}"
        elif sha256_file(file) != expected["sha256"]:
            yield f"{name} has other content (checksum)"


def load_checkpoint(path: Path) -> Checkpoint:
    """Verify and read a checkpoint.

    Raises
    ------
    CheckpointError
        It is damaged.
    """
    verify_checkpoint(path)
    tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    return Checkpoint(path, tensors, json.loads((path / STATE).read_text(encoding="utf-8")))


def newest_valid(folder: Path) -> Path | None:
    """Return the newest checkpoint that is intact; warn of each newer one that is not."""
    for path in reversed(list_checkpoints(folder).values()):
        problem = _damage(path)
        if not problem:
            return path
        log.warning("Checkpoint %s is damaged and not used: %s.", path, problem)
    return None


def prune_checkpoints(folder: Path, *, keep: int, best: int | None) -> None:
    """Remove all but the `keep` newest checkpoints and the one of step `best`."""
    steps = list(list_checkpoints(folder))
    for step in steps[: max(0, len(steps) - keep)]:
        if step != best:
            _remove(checkpoint_path(folder, step))


def _remove(path: Path) -> None:
    """Remove a checkpoint; renamed first, so that a half-removed one is never taken for one."""
    doomed = path.with_name(f".{path.name}.old.tmp")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left half written or half removed."""
    for path in folder.glob(_TEMPORARY):
        shutil.rmtree(path, ignore_errors=True)


def _no_room(target: Path, needed: int, reason: str) -> RunError:
    return RunError(
        f"Checkpoint {target} cannot be written: {reason}.",
        expected=f"{readable_bytes(needed)} of free disk space in {target.parent}",
        fix="free some space and continue with `profactory resume`; earlier checkpoints are intact",
    )
