"""Pre-trained networks from a folder: configuration cleaned, weights checked, no code executed."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils import logging as transformers_logging

from profactory.errors import ConfigError, ModelLoadError
from profactory.models.families import FAMILIES, Family
from profactory.models.safetensors_files import TensorInfo, read_header
from profactory.models.zoo import read_config

log = logging.getLogger("profactory")

# Fields that name code, change how attention or weights are computed, or change what is returned.
_IGNORED = re.compile(
    r"auto_map|auto_mapping|custom_pipelines|trust_remote_code|_?attn_implementation.*|_experts_implementation.*"
    r"|parent_library|_target_|_component_|_name_or_path|quantization_config|output_.*|return_dict|use_return_dict"
    r"|profactory|transformers_weights"
)
_LIMITS = {
    ("num_hidden_layers", "num_layers"): 1000,
    ("hidden_size", "d_model"): 65_536,
    ("intermediate_size", "d_ff"): 1 << 20,
    ("vocab_size",): 1 << 20,
    ("max_position_embeddings", "n_positions"): 1 << 20,
    ("num_attention_heads", "num_heads"): 4096,
}
# What the reader of legacy weights raises on anything that is no tensor; named without importing pickle.
_NO_TENSOR = vars(torch.serialization)["pickle"].UnpicklingError
_FAILURES = (
    _NO_TENSOR,
    OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError,
    SafetensorError, StrictDataclassError,
)  # fmt: skip


def code_fields(config: dict[str, Any]) -> list[str]:
    """Return the top-level fields of a configuration that name code or switch implementations."""
    harmless = ("profactory", "_name_or_path", "use_return_dict", "return_dict", "output_")
    return [key for key in config if _IGNORED.fullmatch(key) and not key.startswith(harmless)]


def load_network(
    folder: Path,
    family: Family,
    *,
    dtype: torch.dtype,
    attention: str,
) -> torch.nn.Module:
    """Load the network of a model folder, in evaluation mode.

    Raises
    ------
    ModelLoadError
        If configuration and weights do not fit together, or a file is missing or damaged.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelLoadError(
            f"{folder} holds an adapter, not a model.", fix="give the model that the adapter was made for"
        )
    safe = _find_weights(folder)
    if family.remote_code:
        return _load_remote(folder, dtype, safe)
    raw = read_config(folder)
    config = _make_config(folder, family, raw)
    model_class = getattr(transformers, family.model_class)
    if safe:
        _check_weights(folder, model_class, config, family)
    options = {"attn_implementation": _attention(model_class, attention), **family.load_options}
    with _translated(folder), _quiet():
        network, info = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=safe,
            weights_only=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    _check_complete(folder, info, family)
    return network.eval()  # type: ignore[no-any-return]


def sketch_network(folder: Path) -> torch.nn.Module | None:
    """Build the network of a model folder without its numbers; None if it takes code from a repository."""
    raw = read_config(folder)
    kinds = (family for family in FAMILIES.values() if family.model_type == raw.get("model_type"))
    family = next(kinds, None)
    if family is None or family.remote_code:
        return None
    config = _make_config(folder, family, raw)
    with torch.device("meta"), _translated(folder):
        network: torch.nn.Module = getattr(transformers, family.model_class)(config, **family.load_options)
    return network


def _make_config(folder: Path, family: Family, raw: dict[str, Any]) -> Any:
    ignored = code_fields(raw)
    if ignored:
        log.debug("%s: fields of config.json that are not used: %s", folder, ", ".join(ignored))
    cleaned = {key: value for key, value in raw.items() if not _IGNORED.fullmatch(key)}
    for names, limit in _LIMITS.items():
        for name in names:
            value = cleaned.get(name)
            if value is not None and not (type(value) is int and 0 < value <= limit):
                raise ModelLoadError(
                    f"{folder / 'config.json'}: {name} is {value!r}.", expected=f"1 to {limit:,}"
                )
    with _translated(folder):
        return getattr(transformers, family.config_class).from_dict(cleaned)


def _find_weights(folder: Path) -> bool:
    """Return whether the weights are safetensors; say so when they are of the legacy format."""
    if (folder / "model.safetensors").is_file() or (folder / "model.safetensors.index.json").is_file():
        return True
    if any((folder / name).is_file() for name in ("pytorch_model.bin", "pytorch_model.bin.index.json")):
        log.warning(
            "%s has weights in the legacy format pytorch_model.bin; they are read as plain tensors "
            "(weights_only), anything else in the file is refused.",
            folder,
        )
        return False
    raise ModelLoadError(
        f"{folder} has no weights.",
        expected="model.safetensors (or model.safetensors.index.json and its parts, or pytorch_model.bin)",
        fix="download or copy it again",
    )


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder; an index may only name files beside itself."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{index} is not an index of weights: {error}") from error
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name)):
            raise ModelLoadError(f"{index} names {name!r}.", expected="safetensors files of the same folder")
    return [folder / name for name in names]


def _check_weights(folder: Path, model_class: Any, config: Any, family: Family) -> None:
    """Compare shapes in the files' headers with those of the configuration, before any allocation."""
    found: dict[str, TensorInfo] = {}
    for file in weight_files(folder):
        found |= read_header(file)
    with torch.device("meta"), _translated(folder):
        expected = model_class(config, **family.load_options).state_dict()
    prefix = f"{model_class.base_model_prefix}."
    for name, info in found.items():
        wanted = expected.get(name, expected.get(name.removeprefix(prefix)))
        if wanted is not None and tuple(wanted.shape) != info.shape:
            raise ModelLoadError(
                f"{folder}: the tensor {name!r} has shape {list(info.shape)}, and config.json asks for "
                f"{list(wanted.shape)}.",
                expected="config.json and weights of one model",
            )


def _check_complete(folder: Path, info: dict[str, Any], family: Family) -> None:
    """Refuse a model part of which would be random numbers."""
    missing = [
        key
        for key in info["missing_keys"]
        if not any(part in key.split(".") for part in family.unused) and not key.endswith("inv_freq")
    ]
    if missing:
        raise ModelLoadError(
            f"{folder}: {len(missing)} tensors of the model have no weights, such as {min(missing)!r}.",
            expected="all weights of the model",
            fix="download or copy it again",
        )


def _attention(model_class: Any, attention: str) -> str:
    if attention not in ("auto", "sdpa", "eager"):
        raise ConfigError(f"attention is {attention!r}.", expected="auto, sdpa or eager")
    supported = bool(getattr(model_class, "_supports_sdpa", False))
    if attention == "auto":
        return "sdpa" if supported else "eager"
    if attention == "sdpa" and not supported:
        raise ConfigError(f"{model_class.__name__} has no sdpa attention.", fix="attention auto or eager")
    return attention


def check_runnable(folder: Path, model_type: str, *, trust_remote_code: bool) -> None:
    """Refuse models that need code from their repository, unless the user trusts it.

    Raises
    ------
    ModelLoadError
        Saying what is needed.
    """
    family = next(family for family in FAMILIES.values() if family.model_type == model_type)
    if not family.remote_code:
        return
    if not trust_remote_code:
        raise ModelLoadError(
            f"Models of the family {family.name!r} run only with Python code from their repository, "
            "which is not executed unless you say so.",
            fix="read the *.py files of the repository; if you trust them, add --trust-remote-code",
        )
    elsewhere = [str(name) for name in _auto_map(folder).values() if "--" in str(name)]
    if elsewhere:
        raise ModelLoadError(
            f"{folder / 'config.json'} asks for code from another repository: {', '.join(elsewhere)}.",
            expected="code beside the weights, which is what --trust-remote-code covers",
        )


def read_code(folder: Path) -> dict[str, Any]:
    """Return what a saved model has to keep of the code of its backbone's repository; nothing runs it here.

    Returns
    -------
    dict
        ``classes``: names by which the code is found; ``files``: name to content of the modules.
    """
    return {
        "classes": _auto_map(folder),
        "files": {file.name: file.read_bytes() for file in sorted(folder.glob("*.py"))},
    }


def _auto_map(folder: Path) -> dict[str, Any]:
    """Return the classes of a repository's code, as its authors wrote them or a saved model keeps them."""
    config = read_config(folder, limit=64 << 20)
    saved = config.get("profactory", {}).get("backbone", {}).get("code")
    found = config.get("auto_map", saved)
    return found if isinstance(found, dict) else {}


def _load_remote(folder: Path, dtype: torch.dtype, safe: bool) -> torch.nn.Module:
    log.warning("Running Python code from %s (--trust-remote-code).", folder)
    classes = _auto_map(folder)
    with _translated(folder), _quiet():
        name = classes.get("AutoModel") or classes["AutoModelForMaskedLM"]
        model_class: Any = get_class_from_dynamic_module(name, folder, local_files_only=True)
        config = model_class.config_class.from_pretrained(folder, local_files_only=True)
        network = model_class.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=safe, local_files_only=True
        )
    return network.eval()  # type: ignore[no-any-return]


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Turn the failures of the library's loader into our error."""
    try:
        yield
    except _FAILURES as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelLoadError(
            f"The model in {folder} cannot be loaded: {first}",
            expected="configuration and weights that belong together",
            fix="download or copy it again",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's report about heads that we do not use, and its bars for local files."""
    before = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()
