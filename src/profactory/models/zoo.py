"""The catalogue of protein language models, and what a name may mean. Free of torch."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from profactory.errors import ConfigError, ModelLoadError, UnknownModelError
from profactory.models.families import FAMILIES, Spelling

_HERE = Path(__file__).parent
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")
_REVISION = re.compile(r"[\w][\w./-]{0,127}")
MINI = "mini"


@dataclass(frozen=True)
class ModelSpec:
    """A pre-trained model: where it is and what is known about it.

    Parameters
    ----------
    name
        Short name of the catalogue, or what the user typed.
    source
        Folder, or Hub id ``user/name``.
    revision
        Commit, tag or branch of a Hub model; a commit of 40 hexadecimal digits is pinned.
    family
        Name of a :class:`~profactory.models.families.Family`; empty until ``config.json`` was read.
    parameters, layers, width
        Size; None where not known.
    max_length
        Longest sequence in residues that the model was made for; None where not known.
    licence
        SPDX id or name of the weights' licence; empty where not known.
    bundled
        Whether the model is inside this package.
    title
        One line for the list.
    """

    name: str
    source: str
    revision: str | None = None
    family: str = ""
    parameters: int | None = None
    layers: int | None = None
    width: int | None = None
    max_length: int | None = None
    licence: str = ""
    bundled: bool = False
    title: str = ""

    @property
    def local(self) -> bool:
        """Whether the source is a folder of this machine."""
        return self.bundled or Path(self.source).is_dir()

    @property
    def pinned(self) -> bool:
        """Whether the revision names one commit for ever."""
        return bool(self.revision and re.fullmatch(r"[0-9a-f]{40}", self.revision))

    @property
    def kept_elsewhere(self) -> bool:
        """Whether the Hub is sure to keep these very weights."""
        return self.pinned and not self.local

    @property
    def spelling(self) -> Spelling | None:
        """How sequences are written for the tokenizer; None until the family is known."""
        return FAMILIES[self.family].spelling if self.family else None

    @property
    def structure(self) -> str:
        """Kind of structure string that the tokens hold; empty if none, or the family is not known yet."""
        return "" if self.spelling is None else self.spelling.structure

    @property
    def structure_or_sequence(self) -> bool:
        """Whether the model reads structure strings in the place of residues, and so only if asked."""
        return self.spelling is not None and bool(self.spelling.structure_prefix)

    @property
    def needs_structure(self) -> bool:
        """Whether the model cannot run without such strings."""
        return bool(self.family) and FAMILIES[self.family].needs_structure

    @property
    def remote_code(self) -> bool:
        """Whether the model runs only by Python code from its repository."""
        return bool(self.family) and FAMILIES[self.family].remote_code

    @property
    def weights_bytes(self) -> int | None:
        """Memory for the weights in 32 bits; training and long sequences need more."""
        return None if self.parameters is None else 4 * self.parameters

    def to_dict(self) -> dict[str, Any]:
        """Return what `profactory models --json` shows."""
        keys = ("name", "source", "revision", "family", "parameters", "layers", "width", "max_length")
        shown = {key: getattr(self, key) for key in keys}
        extra = {
            "licence": self.licence,
            "title": self.title,
            "bundled": self.bundled,
            "weights_bytes": self.weights_bytes,
            "remote_code": self.remote_code,
        }
        return {**shown, **extra}


def list_models() -> list[ModelSpec]:
    """Return the catalogue, the bundled model first."""
    return list(_catalogue().values())


def resolve(name: str, *, revision: str | None = None) -> ModelSpec:
    """Find the model that `name` means.

    Parameters
    ----------
    name
        ``mini``, a short name of the catalogue, a folder (of a model, or of the run that made it), or a Hub
        id ``user/name``.
    revision
        Commit, tag or branch of a Hub model, instead of the catalogue's.

    Raises
    ------
    UnknownModelError
        If it is none of these; the nearest names are offered.
    ModelLoadError
        If a folder holds no model.
    ConfigError
        If `revision` is given for a folder or is no revision.
    """
    spec = _find(name)
    if revision is None:
        return spec
    if spec.local:
        raise ConfigError(f"--revision has no meaning for {name!r}, which is a folder.", fix="leave it out")
    if not _REVISION.fullmatch(revision):
        raise ConfigError(
            f"{revision!r} is no revision.", expected="a commit, tag or branch of the model's repository"
        )
    return replace(spec, revision=revision)


def _find(name: str) -> ModelSpec:
    known = _catalogue().get(name.lower()) or _by_hub_id().get(name.lower())
    if known:
        return known
    folder = Path(name).expanduser()
    if name and folder.is_dir():
        of_run = (folder / "status.json").is_file() and (folder / "model" / "config.json").is_file()
        return describe_folder(folder / "model" if of_run else folder)
    if _HUB_ID.fullmatch(name) and not name.startswith((".", "~")):
        return ModelSpec(name=name, source=name, revision="main")
    choices = [*_catalogue(), *_by_hub_id()]
    near = list(dict.fromkeys(difflib.get_close_matches(name.lower(), choices, n=4, cutoff=0.5)))
    raise UnknownModelError(
        f"No model is called {name!r}.",
        expected="a name of the catalogue, a folder with config.json, or a Hub id user/name",
        fix=f"did you mean {', '.join(near)}?" if near else "see `profactory models list`",
    )


def describe_folder(folder: Path) -> ModelSpec:
    """Describe a model folder by its ``config.json``.

    Raises
    ------
    ModelLoadError
        If there is no readable ``config.json``.
    """
    config = read_config(folder)
    return ModelSpec(
        name=str(folder),
        source=str(folder.resolve()),
        layers=_whole(config, "num_hidden_layers", "num_layers"),
        width=_whole(config, "hidden_size", "d_model"),
    )


def read_config(folder: Path, limit: int = 1 << 20) -> dict[str, Any]:
    """Read ``config.json`` of a model folder.

    Raises
    ------
    ModelLoadError
        If it is missing, larger than `limit` bytes, or not an object in JSON.
    """
    file = folder / "config.json"
    try:
        if file.stat().st_size > limit:
            raise ModelLoadError(
                f"{file} is larger than {limit:,} bytes.", expected="a model's configuration"
            )
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelLoadError(
            f"{folder} holds no model: config.json is missing.",
            expected="a folder with config.json, model.safetensors and the tokenizer's files",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file} cannot be read: {error}", expected="an object in JSON") from error
    if not isinstance(config, dict):
        raise ModelLoadError(f"{file} is not an object in JSON.")
    return config


def _whole(config: dict[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int), None)


@cache
def _catalogue() -> dict[str, ModelSpec]:
    entries = tomllib.loads((_HERE / "zoo.toml").read_text(encoding="utf-8"))["model"]
    specs = [_mini()] + [ModelSpec(**{"revision": "main", **entry}) for entry in entries]
    return {spec.name: spec for spec in specs}


@cache
def _by_hub_id() -> dict[str, ModelSpec]:
    return {spec.source.lower(): spec for spec in _catalogue().values() if not spec.bundled}


def _mini() -> ModelSpec:
    folder = _HERE / MINI
    spec = ModelSpec(
        name=MINI,
        source=str(folder),
        family="esm",
        licence="Apache-2.0",
        bundled=True,
        title="Bundled: small, ESM-2 architecture, works offline",
    )
    if not (folder / "config.json").is_file():
        return spec
    config = read_config(folder)
    layers, width, inner = (int(config[k]) for k in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    block = 4 * width * (width + 1) + width * (inner + 1) + inner * (width + 1) + 4 * width
    # The language-model head is not counted: hidden states do not pass through it.
    parameters = layers * block + int(config["vocab_size"]) * width + 2 * width
    longest = int(config["max_position_embeddings"]) - 4
    return replace(spec, layers=layers, width=width, parameters=parameters, max_length=longest)
