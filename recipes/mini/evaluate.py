"""How good are the frozen embeddings of a protein language model? The figures of the model card.

    python recipes/mini/evaluate.py --model src/profactory/models/mini --data DATA/tasks \
        --heldout DATA/pretraining/corpus_valid.fasta.gz --out recipes/mini/results.json

Embeddings are means over the residues of the last hidden states (secondary structure: the states of single
residues); a logistic regression is fitted on the training split for each strength of regularisation, the best
on the validation split is measured on the test split. The same is done with amino-acid composition (secondary
structure: a one-hot window of 15 residues) and with the same architecture at random weights.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from probing import (
    MAX_RESIDUES,
    SEED,
    Embedder,
    composition,
    mean_embeddings,
    one_hot_windows,
    probe,
    read_rows,
    residue_splits,
    residue_states,
    sequence_splits,
)
from transformers import EsmForMaskedLM

from profactory.files import atomic_write_json, read_json, sha256_bytes, sha256_file
from profactory.pretraining.batches import Batches, BatchSettings
from profactory.pretraining.heldout import HeldOut, Predicted
from profactory.pretraining.network import build_model
from profactory.pretraining.reading import build_corpus

SEQUENCE_TASKS = ("ec_class", "subcellular_location", "membrane_binary")
AIMS = {
    "ec_class": 0.50,
    "subcellular_location": 0.50,
    "membrane_binary": 0.92,
    "ss3": 0.70,
    "perplexity": 13.0,
}
FEATURES = ("model", "random_weights", "composition", "one_hot_window")


def heldout_figures(model: Any, fasta: Path, tokens: int) -> dict[str, Any]:
    """Held-out perplexity of hidden residues, as the report of a pretraining gives it."""
    corpus, _ = build_corpus(fasta)
    settings = BatchSettings(tokens=4096, max_length=MAX_RESIDUES + 2)
    held_out = HeldOut(Batches(corpus, np.arange(len(corpus)), SEED, settings), tokens)
    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    predicted = Predicted.together(held_out.predict(model, range(len(held_out)), autocast))
    return {
        "perplexity": round(predicted.perplexity, 3),
        "accuracy": round(predicted.accuracy, 4),
        "residues_predicted": len(predicted.loss),
    }


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, as they are written to the results file."""
    model = EsmForMaskedLM.from_pretrained(args.model, attn_implementation="sdpa").eval()
    networks = {"model": model, "random_weights": build_model(model.config, SEED).eval()}
    results: dict[str, Any] = {"split": args.split, "tasks": {}}
    if args.heldout:
        results["heldout"] = heldout_figures(model, args.heldout, args.heldout_tokens)
        _say("held-out", results["heldout"])
    for task in args.tasks:
        path = args.data / f"{'secondary_structure' if task == 'ss3' else task}.csv.gz"
        rows = _thin(read_rows(path), args.limit)
        splits_of = residue_splits if task == "ss3" else sequence_splits
        results["tasks"][task] = {}
        for name, embed in _embedders(task, networks).items():
            if name not in args.only:
                continue
            key = [task, name, args.split, args.limit, sha256_file(path), _fingerprint(networks.get(name))]
            figures = _recall(args.cache, key)
            if figures is None:
                figures = probe(splits_of(rows, embed), args.split)
                _remember(args.cache, key, figures)
            results["tasks"][task][name] = figures
            _say(f"{task} {name}", figures)
    return results


def _embedders(task: str, networks: dict[str, Any]) -> dict[str, Embedder]:
    if task == "ss3":
        of_residues: dict[str, Embedder] = {
            name: partial(residue_states, network) for name, network in networks.items()
        }
        return of_residues | {"one_hot_window": one_hot_windows}
    return {name: mean_embeddings(network) for name, network in networks.items()} | {
        "composition": composition
    }


def _fingerprint(model: Any) -> str:
    if model is None:
        return ""
    parts = (tensor.detach().float().numpy().tobytes() for tensor in model.state_dict().values())
    return sha256_bytes(b"".join(parts))


def _entry(cache: Path, key: list[Any]) -> Path:
    # The code is part of the key: figures of an older way of measuring are never taken for new ones.
    code = sha256_file(Path(__file__).with_name("probing.py"))
    return cache / f"{sha256_bytes(json.dumps([code, *key]).encode())[:24]}.json"


def _recall(cache: Path | None, key: list[Any]) -> dict[str, Any] | None:
    if cache is None or not _entry(cache, key).is_file():
        return None
    figures: dict[str, Any] = read_json(_entry(cache, key))
    return figures


def _remember(cache: Path | None, key: list[Any], figures: dict[str, Any]) -> None:
    if cache is not None:
        atomic_write_json(_entry(cache, key), figures)


def _thin(rows: list[dict[str, str]], limit: int) -> list[dict[str, str]]:
    if not limit or len(rows) <= limit:
        return rows
    return [rows[i] for i in np.random.default_rng(SEED).permutation(len(rows))[:limit]]


def _say(what: str, figures: dict[str, Any]) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}: {json.dumps(figures)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a model in Hugging Face layout")
    parser.add_argument("--data", type=Path, required=True, help="folder with the task files (*.csv.gz)")
    parser.add_argument("--heldout", type=Path, help="FASTA of held-out sequences for the perplexity")
    parser.add_argument("--heldout-tokens", type=int, default=600_000, help="tokens of it that are looked at")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    parser.add_argument(
        "--tasks", nargs="+", default=[*SEQUENCE_TASKS, "ss3"], choices=[*SEQUENCE_TASKS, "ss3"]
    )
    parser.add_argument("--split", default="test", choices=["test", "valid"])
    parser.add_argument("--limit", type=int, default=0, help="at most this many rows of a task (quick look)")
    parser.add_argument("--only", nargs="+", default=FEATURES, choices=FEATURES, help="features to measure")
    parser.add_argument(
        "--cache", type=Path, help="folder for figures already measured (baselines above all)"
    )
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    results = evaluate(args)
    if args.out:
        head = {
            "command": shlex.join(["python", *sys.argv]),
            "weights_sha256": sha256_file(args.model / "model.safetensors"),
            "aims": AIMS,
        }
        atomic_write_json(args.out, head | results)


if __name__ == "__main__":
    main()
