"""Embedding sequences with a model of ESM-2's shape: residues per second beside plain AutoModel loops.

usage: python benchmarks/inference.py [--minutes 4] [--repeats 3] [--cases 8M …] [--only NAME …] [--out FILE]

All contenders read the same sequences (lengths log-normal around 250 residues, as in Swiss-Prot) with the
same random weights, and return the mean of the residues' last hidden states. `difference` is the largest
absolute difference from the library's eager fp32 network, over the standard deviation of the numbers.
The time is that of reading the sequences; loading the model, alike for all, is left out.

`multiplications alone` is no contender: it multiplies by the same weights and does nothing else, so its speed
is what bf16 matrix units allow.

esm-cpp needs another numpy than ProFactory, so it runs in an environment of its own, if ESM_CPP_PYTHON names
its Python (`python3 -m venv DIR && DIR/bin/pip install esm-cpp`).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import material
import measuring
import numpy as np

CASES = {
    "8M": {"shape": "8M", "count": 80},
    "35M": {"shape": "35M", "count": 12},
    "150M": {
        "shape": "150M",
        "count": 6,
        "contenders": [
            "sdpa, file order",
            "esm-cpp",
            "profactory fp32",
            "profactory bf16",
            "multiplications alone, bf16",
        ],
    },
}
BATCH, TOKENS = 32, 1024


def loop(attention: str, *, ordered: bool) -> measuring.Contender:
    """Return the loop that most scripts have: AutoModel, a padding tokenizer, batches of 32."""

    def contender(case: Mapping[str, Any]) -> dict[str, Any]:
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder, sequences = given(case)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModel.from_pretrained(
            folder, attn_implementation=attention, add_pooling_layer=False
        ).eval()
        out = np.empty((len(sequences), model.config.hidden_size), np.float32)
        with measuring.timed() as cost:
            for rows in batches(sequences, ordered):
                batch = tokenizer([sequences[i] for i in rows], padding=True, return_tensors="pt")
                with torch.inference_mode():
                    states = model(**batch).last_hidden_state  # (batch, tokens, width)
                for row, state in zip(rows, states, strict=True):
                    out[row] = state[1 : 1 + len(sequences[row])].mean(0).numpy()
        return {**cost, **outcome(folder, sequences, out)}

    return contender


def profactory(precision: str) -> measuring.Contender:
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
        encoder = FrozenEncoder(model, precision=precision)
        with measuring.timed() as cost:
            out = encoder.encode(sequences)
        return {**cost, **outcome(folder, sequences, out)}

    return contender


def esm_cpp(case: Mapping[str, Any]) -> dict[str, Any]:
    """Run esm-cpp's scheduler in its own environment; it returns logits, which are compared."""
    interpreter = os.environ.get("ESM_CPP_PYTHON")
    if not interpreter:
        raise measuring.UnavailableError("ESM_CPP_PYTHON does not name a Python with esm-cpp")
    folder, sequences = given(case)
    work = {"weights": str(original(folder)), "sequences": sequences}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(work, file)
        file.flush()
        script = Path(__file__).with_name("with_esm_cpp.py")
        done = subprocess.run([interpreter, script, file.name], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    wanted = logits(folder, sequences[0])
    difference = np.abs(np.array(answer.pop("first")) - wanted).max() / wanted.std()
    return {**answer, "residues": sum(map(len, sequences)), "difference": round(float(difference), 6)}


def multiplications(case: Mapping[str, Any]) -> dict[str, Any]:
    """Do nothing but the matrix multiplications of the blocks' weights, in bf16: what cannot be beaten."""
    import torch
    from torch.nn import functional as F

    shape, residues = "tiny" if case["small"] else case["shape"], sum(map(len, given(case)[1]))
    layers, width, _ = material.SHAPES[shape]
    sizes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    weights = [[torch.randn(size).bfloat16() for size in sizes] for _ in range(layers)]
    inputs = {size[1]: torch.randn(TOKENS, size[1]).bfloat16() for size in sizes}
    with torch.inference_mode(), measuring.timed() as cost:
        for start in range(0, residues, TOKENS):
            for weight in (one for layer in weights for one in layer):
                F.linear(inputs[weight.shape[1]][: residues - start], weight)
    return {**cost, "residues": residues, "difference": 0.0}


def original(folder: Path) -> Path:
    """Return the weights under the names of Meta's own files, which esm-cpp reads."""
    file = folder / "original.safetensors"
    if file.is_file():
        return file
    import torch
    from safetensors.torch import load_file, save_file

    names = {".gamma": ".weight", ".beta": ".bias"}
    found = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        for new, old in names.items():
            name = name.removesuffix(new) + old if name.endswith(new) else name
        found[name] = tensor
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width = config["hidden_size"] // config["num_attention_heads"]
    frequencies = 1.0 / 10000 ** (torch.arange(0, width, 2).float() / width)
    for layer in range(config["num_hidden_layers"]):
        place = f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"
        found[place] = frequencies.clone()
    save_file(found, file)
    return file


def logits(folder: Path, sequence: str) -> np.ndarray:
    """Return the library's logits for a sequence, ``(tokens, vocabulary)``."""
    import torch
    from transformers import AutoTokenizer, EsmForMaskedLM

    model = EsmForMaskedLM.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)([sequence], return_tensors="pt")
    with torch.inference_mode():
        found: np.ndarray = model(**batch).logits[0].numpy()
    return found


def given(case: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """Return the model's folder and the sequences of a case."""
    if case["small"]:
        return material.esm2("tiny"), material.sequences(4, longest=80)
    return material.esm2(case["shape"]), material.sequences(case["count"])


def batches(sequences: list[str], ordered: bool) -> Iterator[list[int]]:
    """Yield rows in the order of the file, or sorted by length."""
    rows = list(range(len(sequences)))
    if ordered:
        rows.sort(key=lambda i: len(sequences[i]))
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def outcome(folder: Path, sequences: list[str], out: np.ndarray) -> dict[str, Any]:
    """Return the residues read, and the difference to what the first contender left behind."""
    kept = folder / f"reference-{len(sequences)}.npy"
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
    "esm-cpp": esm_cpp,
    "profactory fp32": profactory("fp32"),
    "profactory bf16": profactory("bf16"),
    "multiplications alone, bf16": multiplications,
}

if __name__ == "__main__":
    measuring.run(CONTENDERS, CASES, reference="sdpa, file order")
