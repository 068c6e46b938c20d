"""Models, sequences and tables of the benchmarks: the same weights and letters for every contender."""

from __future__ import annotations

import csv
import gzip
import random
import shutil
import tempfile
from pathlib import Path

from profactory.models.zoo import resolve

#: Layers, width and heads of ESM-2; ``tiny`` is for tests of the benchmarks themselves.
SHAPES = {"tiny": (2, 32, 2), "8M": (6, 320, 20), "35M": (12, 480, 20), "150M": (30, 640, 20)}
DATA = "bundled:demo-location"
LETTERS = "ACDEFGHIKLMNPQRSTVWY"


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
        # As in the published models; the library's own default is 0.1, which slows training down.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    EsmForMaskedLM(config).save_pretrained(folder)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(Path(resolve("mini").source) / name, folder)
    return folder


def sequences(count: int, *, shortest: int = 40, longest: int = 1000) -> list[str]:
    """Return proteins with lengths as in Swiss-Prot: log-normal around 250 residues, in the given range."""
    rng = random.Random(0)
    lengths = [min(longest, max(shortest, round(rng.lognormvariate(5.52, 0.55)))) for _ in range(count)]
    return ["".join(rng.choices(LETTERS, k=length)) for length in lengths]


def location_table(file: Path, train: int, validation: int, test: int) -> Path:
    """Write some rows of the bundled set of cellular locations, chosen once, with a column ``split``."""
    from profactory.data.bundled import bundled_path

    with gzip.open(bundled_path(DATA), "rt", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    random.Random(0).shuffle(rows)
    wanted = {"train": train, "valid": validation, "test": test}
    chosen = [row for part, count in wanted.items() for row in _of(rows, part)[:count]]
    with file.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)
    return file


def _of(rows: list[dict[str, str]], part: str) -> list[dict[str, str]]:
    return [row for row in rows if row["split"] == part]
