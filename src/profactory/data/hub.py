"""Data sets of the Hugging Face Hub: ``user/name``, pinned to a commit, as files on this machine.

Only tables and the description are fetched, and no code is run. ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` are
honoured; what was fetched before is read from the Hub's own cache without network.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from profactory.data.reading import TABLE_SUFFIXES, suffix_of
from profactory.errors import ReadError

_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_ADDRESS = re.compile(rf"(?P<name>{_PART}/{_PART})(:(?P<config>[\w.-]+))?(@(?P<revision>[\w./-]+))?")
CARD = "README.md"
NO_TABLES = ("dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True)
class HubAddress:
    """A data set on the Hub: ``user/name``, ``user/name:config``, ``user/name@revision``.

    Parameters
    ----------
    name
        ``user/name``.
    config
        One of several tables that the data set holds; empty for the default.
    revision
        Commit, tag or branch.
    """

    name: str
    config: str = ""
    revision: str = "main"

    def __str__(self) -> str:
        config = f":{self.config}" if self.config else ""
        return f"{self.name}{config}" + (f"@{self.revision}" if self.revision != "main" else "")


@dataclass(frozen=True)
class HubFiles:
    """The files of a data set, fetched.

    Parameters
    ----------
    address
        With the commit as its revision, where it is known.
    files
        Path and split (or the empty text) of each table as the data set's description says; empty if it
        says nothing.
    folder
        Where the tables lie otherwise.
    """

    address: HubAddress
    files: tuple[tuple[Path, str], ...]
    folder: Path


def parse_address(text: str) -> HubAddress | None:
    """Return the data set that a text names, or None if it rather is the path of a file.

    Examples
    --------
    >>> str(parse_address("AI4Protein/DeepLocBinary@v1"))
    'AI4Protein/DeepLocBinary@v1'
    >>> parse_address("data/proteins.csv") is None
    True
    """
    found = _ADDRESS.fullmatch(text)
    if not found or suffix_of(Path(found["name"])) in TABLE_SUFFIXES or Path(text.split("/")[0]).is_dir():
        return None
    return HubAddress(found["name"], found["config"] or "", found["revision"] or "main")


def fetch_data(address: HubAddress) -> HubFiles:
    """Fetch what is missing and tell which tables belong to the data set.

    Raises
    ------
    ReadError
        The Hub cannot be reached or has no such data set; it holds no tables, or several configurations.
    """
    folder = _snapshot(address)
    if re.fullmatch(r"[0-9a-f]{40}", folder.name):
        address = HubAddress(address.name, address.config, folder.name)
    configs = _configs(folder)
    if configs:
        chosen = _choose(address, configs)
        return HubFiles(address, _listed(folder, chosen.get("data_files"), address), folder)
    return HubFiles(address, (), _inner(folder, address))


def _snapshot(address: HubAddress) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    tables = [f"*{suffix}{packed}" for suffix in TABLE_SUFFIXES for packed in ("", ".gz")]
    try:
        return Path(
            snapshot_download(
                address.name,
                repo_type="dataset",
                revision=address.revision,
                allow_patterns=[CARD, *tables],
                local_files_only=offline(),
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = "HF_HUB_OFFLINE is set and it was not fetched before" if offline() else first
        raise ReadError(
            f"The data set {address} could not be got from the Hugging Face Hub: {reason}",
            expected="a file or folder of this machine, or a data set of a reachable Hub",
            fix="check the name; or set HF_ENDPOINT to a mirror; or on a machine with network"
            f" `hf download --repo-type dataset {address.name} --local-dir DIR`, and copy DIR here",
        ) from error


def offline() -> bool:
    """Whether the user forbade the network by ``HF_HUB_OFFLINE``."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _configs(folder: Path) -> list[dict[str, Any]]:
    """Return the configurations that the description lists in its YAML head."""
    card = folder / CARD
    head = (
        re.match(r"---\s*\n(.*?)\n---", card.read_text("utf-8", "replace"), re.S) if card.is_file() else None
    )
    try:
        about = yaml.safe_load(head.group(1)) if head else None
    except yaml.YAMLError:
        return []  # the card is for people; the names of the files tell the rest
    found = about.get("configs") if isinstance(about, dict) else None
    return [c for c in found or [] if isinstance(c, dict) and c.get("data_files")]


def _choose(address: HubAddress, configs: list[dict[str, Any]]) -> dict[str, Any]:
    names = [str(config.get("config_name", "default")) for config in configs]
    if address.config in names:
        return configs[names.index(address.config)]
    default = [config for config in configs if config.get("default")] or configs
    if not address.config and (len(default) == 1 or "default" in names):
        return default[0] if len(default) == 1 else configs[names.index("default")]
    raise _several(address, names)


def _listed(folder: Path, data_files: Any, address: HubAddress) -> tuple[tuple[Path, str], ...]:
    """Turn ``data_files`` (a pattern, a list of them, or patterns by split) into files."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = []
    for entry in entries:
        split, patterns = (
            (str(entry.get("split", "")), entry.get("path")) if isinstance(entry, dict) else ("", entry)
        )
        for pattern in patterns if isinstance(patterns, list) else [patterns]:
            plain = str(pattern).replace("**/", "*")
            found += [(folder / name, split) for name in fnmatch.filter(names, plain)]
    if not found:
        raise ReadError(
            f"The data set {address} lists no table that can be read.",
            expected="data files in " + ", ".join(TABLE_SUFFIXES),
            fix="convert it, or name its folder after `hf download`",
        )
    return tuple(found)


def _inner(folder: Path, address: HubAddress) -> Path:
    """Return the folder with the tables: the top one, ``data``, or the one with the configuration's name."""
    if address.config and not (folder / address.config).is_dir():
        raise _several(address, [path.name for path in sorted(folder.iterdir()) if path.is_dir()])
    if address.config:
        return folder / address.config
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and any(path.rglob("*.*"))]
    if _has_tables(folder) or not inner:
        return folder
    if len(inner) > 1 and folder / "data" not in inner:
        raise _several(address, [path.name for path in inner])
    return folder / "data" if folder / "data" in inner else inner[0]


def _has_tables(folder: Path) -> bool:
    files = (path for path in folder.iterdir() if path.is_file() and path.name not in NO_TABLES)
    return any(suffix_of(path) in TABLE_SUFFIXES for path in files)


def _several(address: HubAddress, names: list[str]) -> ReadError:
    known = ", ".join(names) or "none"
    return ReadError(
        f"The data set {address.name} has no configuration {address.config!r}."
        if address.config
        else f"The data set {address.name} has several configurations.",
        expected=f"one of: {known}",
        fix=f"{address.name}:{names[0]}" if names else f"leave out :{address.config}",
    )
