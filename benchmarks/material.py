"""Models and sequences of the benchmarks: the same weights and letters for every contender."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

from profactory.models.zoo import resolve

#: Layers, width and heads of ESM-2.
SHAPES = {"8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20)}


def esm2(shape: str) -> Path:
    """Return a folder with a model of ESM-2's shape and random weights, made when first asked for."""
    folder = Path(tempfile.gettempdir()) / f"profactory-benchmark-esm2-{shape}"
    if (folder / "model.safetensors").is_file():
        return folder
    import torch
    from transformers import EsmConfig, EsmForMaskedLM

    layers, width, heads = SHAPES[shape]
    torch.manual_seed(0)
    config = EsmConfig(
        vocab_size=33,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=1026,
        position_embedding_type="rotary",
        token_dropout=True,
        mask_token_id=32,
        pad_token_id=1,
        emb_layer_norm_before=False,
    )
    EsmForMaskedLM(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(Path(resolve("mini").source) / name, folder)
    return folder


def sequences(count: int, *, longest: int = 1000) -> list[str]:
    """Return proteins with lengths as in Swiss-Prot: log-normal around 250 residues, 40 to `longest`."""
    rng = random.Random(0)
    lengths = [min(longest, max(40, round(rng.lognormvariate(5.52, 0.55)))) for _ in range(count)]
    return ["".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
