"""Tiny pre-trained models with random weights, in the layout that model repositories have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

# The 33 tokens of ESM-1b, ESM-1v and ESM-2, in the order of their ids.
_ESM_TOKENS = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
ESM_VOCABULARY = tuple(_ESM_TOKENS.split())


def tiny_esm(
    directory: Path, *, layers: int = 2, width: int = 32, heads: int = 2, seed: int = 0, **config: Any
) -> Path:
    """Write an ESM-2 model with random weights and the real tokenizer's files.

    Parameters
    ----------
    directory
        Folder to write into; made if needed.
    layers, width, heads
        Size of the network.
    seed
        Seed of the weights.
    config
        Further fields of ``EsmConfig``.

    Returns
    -------
    Path
        `directory`.
    """
    from transformers import EsmConfig, EsmForMaskedLM

    fields = {
        "vocab_size": len(ESM_VOCABULARY),
        "pad_token_id": 1,
        "mask_token_id": 32,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 1026,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": True,
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    save_tiny(EsmForMaskedLM, EsmConfig(**{**fields, **config}), directory, seed)
    write_esm_tokenizer(directory)
    return directory


def save_tiny(model_class: Any, config: Any, directory: Path, seed: int) -> None:
    """Write `config` and random weights that depend on the seed alone.

    The weights are spread wider than a fresh initialisation, so that a wrong position or mask shows.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, 0.2)
                elif name.endswith("bias"):
                    parameter.normal_(0.0, 0.05)
    model.save_pretrained(directory)


def write_esm_tokenizer(directory: Path, vocabulary: Sequence[str] = ESM_VOCABULARY) -> None:
    """Write the tokenizer files of an ESM repository."""
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    write_json(directory / "special_tokens_map.json", special)
    write_json(directory / "tokenizer_config.json", {"tokenizer_class": "EsmTokenizer", **special})


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain JSON."""
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
