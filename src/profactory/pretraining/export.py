"""A trained language model as a folder in the layout of Hugging Face."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from profactory.errors import ModelError
from profactory.files import atomic_file, atomic_write_bytes, atomic_write_json, atomic_write_text
from profactory.pretraining.corpus import VOCABULARY


def export_model(
    model: Any,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    tokenizer_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a language model; other heads are left out.

    Of 16-bit types float16 rather than bfloat16: the weights of a small network are far from the limits of
    its range, and it keeps three more bits of each. The configuration says float32, so a loaded model
    computes in float32.

    Parameters
    ----------
    model
        With a masked-language-model head, without an adapter.
    folder
        Made if missing; files of the same name are replaced.
    dtype
        Of the weights in the file.
    tokenizer_files
        Name to content; ESM-2's if not given.

    Raises
    ------
    ModelError
        A weight is not finite or too large for `dtype`.
    """
    tied = model._tied_weights_keys if model.config.tie_word_embeddings else ()
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in tied}
    largest = max(float(tensor.abs().max()) for tensor in weights.values())
    if not largest < torch.finfo(dtype).max:  # also true of NaN
        raise ModelError(
            f"The largest weight is {largest:g}.",
            expected=f"finite weights in the range of {dtype}",
            fix="export with dtype=torch.float32, or use an earlier checkpoint",
        )
    narrow = {
        # Rotary frequencies span four decades; in 16 bits the far positions would drift.
        name: tensor.to(torch.float32 if name.endswith("inv_freq") else dtype).contiguous()
        for name, tensor in weights.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "model.safetensors") as temporary:
        save_file(narrow, temporary, metadata={"format": "pt"})
        temporary.chmod(0o644)  # safetensors makes it private; an installed package is read by every user
    _write_config(model, folder)
    if tokenizer_files is None:
        _write_tokenizer(folder, model.config.max_position_embeddings - 2)
    for name, content in (tokenizer_files or {}).items():
        atomic_write_bytes(folder / name, content)


def _write_config(model: Any, folder: Path) -> None:
    values = {key: value for key, value in model.config.to_diff_dict().items() if not key.startswith("_")}
    values = {key: value for key, value in values.items() if value is not None}
    values |= {"architectures": [type(model).__name__], "dtype": "float32"}
    atomic_write_json(folder / "config.json", dict(sorted(values.items())))


def _write_tokenizer(folder: Path, max_length: int) -> None:
    atomic_write_text(folder / "vocab.txt", "\n".join(VOCABULARY) + "\n")
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    atomic_write_json(folder / "special_tokens_map.json", special)
    tokenizer = {"tokenizer_class": "EsmTokenizer", "model_max_length": max_length + 2, **special}
    atomic_write_json(folder / "tokenizer_config.json", tokenizer)
