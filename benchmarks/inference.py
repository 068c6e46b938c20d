"""Embedding sequences with a model of ESM-2's shape: residues per second beside plain AutoModel loops.

usage: python benchmarks/inference.py [--repeats 3] [--cases 8M 35M 150M] [--only NAME …] [--out FILE]

All contenders read the same sequences (lengths log-normal around 250 residues, as in Swiss-Prot) with the
same random weights, and return the mean of the residues' last hidden states. What came out is compared with
the eager fp32 loop: `difference` is the largest absolute difference over the standard deviation of the
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import material
import measuring
import numpy as np

CASES = {
    "8M": {"shape": "8M", "count": 400},
    "35M": {"shape": "35M", "count": 120},
    "150M": {"shape": "150M", "count": 40},
}
BATCH = 32


def loop(attention: str, *, ordered: bool, dtype: str = "float32") -> measuring.Contender:
    """Return the loop that most scripts have: AutoModel, a padding tokenizer, batches of 32."""

    def contender(case: Mapping[str, Any]) -> dict[str, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder, sequences = given(case)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(
            folder, attn_implementation=attention, dtype=getattr(torch, dtype), add_pooling_layer=False
        ).eval()
        out = np.empty((len(sequences), model.config.hidden_size), np.float32)
        for rows in batches(sequences, ordered):
            batch = tokenizer([sequences[i] for i in rows], padding=True, return_tensors="pt")
            with torch.inference_mode():
                states = model(**batch).last_hidden_state.float()  # (batch, tokens, width)
            for row, state in zip(rows, states, strict=True):
                out[row] = state[1 : 1 + len(sequences[row])].mean(0).numpy()
        return outcome(case, sequences, out)

    return contender


def profactory(engine: str, precision: str) -> measuring.Contender:
    """Return what `profactory embed` does."""

    def contender(case: Mapping[str, Any]) -> dict[str, Any]:
        from profactory.models.backbone import Backbone
        from profactory.models.protein_model import Design, ProteinModel
        from profactory.models.zoo import resolve
        from profactory.tasks import Task, TaskKind
        from profactory.training.loss_model import FrozenEncoder

        folder, sequences = given(case)
        backbone = Backbone.load(resolve(str(folder)))
        design = Design(method="freeze", pooling="mean", max_length=1022)
        model = ProteinModel.assemble(backbone, Task(TaskKind.REGRESSION), design)
        out = FrozenEncoder(model, precision=precision).encode(sequences)
        return outcome(case, sequences, out)

    return contender


def given(case: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Return the model's folder and the sequences of a case."""
    return material.esm2(case["shape"]), material.sequences(4 if case["small"] else case["count"])


def batches(sequences: list[str], ordered: bool) -> Iterator[list[int]]:
    """Yield rows in the order of the file, or sorted by length."""
    rows = (
        sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        if ordered
        else list(range(len(sequences)))
    )
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def outcome(case: Mapping[str, Any], sequences: list[str], out: np.ndarray) -> dict[str, Any]:
    """Return the residues read, and the difference to what the first contender left behind."""
    kept = material.esm2(case["shape"]) / f"reference-{len(sequences)}.npy"
    if not kept.is_file():
        np.save(kept, out)
    wanted = np.load(kept)
    return {
        "residues": sum(map(len, sequences)),
        "difference": round(float(np.abs(out - wanted).max() / wanted.std()), 6),
    }


CONTENDERS = {
    "eager, file order": loop("eager", ordered=False),
    "sdpa, file order": loop("sdpa", ordered=False),
    "sdpa, sorted": loop("sdpa", ordered=True),
    "profactory torch fp32": profactory("torch", "fp32"),
    "profactory torch bf16": profactory("torch", "bf16"),
}

if __name__ == "__main__":
    measuring.run(CONTENDERS, CASES, reference="sdpa, file order")
