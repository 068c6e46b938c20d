"""From a model's name to a folder with its files: local, or the Hub's cache."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from profactory.errors import ModelLoadError
from profactory.models.zoo import ModelSpec

_TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
_CODE = ("*.py",)
_SAFE = ("*.safetensors", "*.safetensors.index.json")
_LEGACY = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


def fetch(spec: ModelSpec, *, trust_remote_code: bool = False) -> tuple[ModelSpec, Path]:
    """Return the folder with a model's files, downloading what is missing from the Hub.

    Only configuration, tokenizer and weights are downloaded, and Python files only with
    `trust_remote_code`. Of weights, safetensors are taken where there are any.

    Returns
    -------
    spec, folder
        For a Hub model, `spec` has the commit that was found as its revision.

    Raises
    ------
    ModelLoadError
        If the folder does not exist or the Hub cannot be reached; it says how to go on without.
    """
    if spec.local:
        return spec, Path(spec.source)
    if spec.bundled or Path(spec.source).is_absolute():
        raise ModelLoadError(
            f"The model folder {spec.source} does not exist.",
            fix="reinstall profactory" if spec.bundled else "give the folder's present path with --model",
        )
    folder = _download(spec, trust_remote_code)
    commit = folder.name
    return (replace(spec, revision=commit) if re.fullmatch(r"[0-9a-f]{40}", commit) else spec), folder


def _download(spec: ModelSpec, trust_remote_code: bool) -> Path:
    wanted = ["config.json", *_TOKENIZER_FILES, *(_CODE if trust_remote_code else ())]
    try:
        if _offline():
            return Path(snapshot_download(spec.source, revision=spec.revision, local_files_only=True))
        names = HfApi().list_repo_files(spec.source, revision=spec.revision)
        safe = any(name.endswith(".safetensors") and "/" not in name for name in names)
        wanted += _SAFE if safe else _LEGACY
        return Path(snapshot_download(spec.source, revision=spec.revision, allow_patterns=wanted))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, RuntimeError) as error:
        raise _unreachable(spec, error) from error


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def _unreachable(spec: ModelSpec, error: Exception) -> ModelLoadError:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    reason = "HF_HUB_OFFLINE is set and it was not downloaded before" if _offline() else first
    revision = "" if spec.revision in (None, "main") else f" --revision {spec.revision}"
    return ModelLoadError(
        f"The model {spec.source} could not be got from the Hugging Face Hub: {reason}",
        expected="a reachable Hub, or the model's files on this machine",
        fix=f"on a machine with network `hf download {spec.source}{revision} --local-dir DIR`, copy DIR "
        "here and give `--model DIR`; or set HF_ENDPOINT to a mirror; or take `--model mini`",
    )
