"""Features of frozen networks and the logistic regression on top of them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from profactory.pretraining.corpus import CLS, EOS, FIRST_STANDARD, LAST_STANDARD, PAD, encode

Array = npt.NDArray[Any]
Embedder = Callable[[list[str]], list[Array]]

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
MAX_RESIDUES = 1022
WINDOW = 15
#: Residues the per-residue regression is fitted on: more change the third decimal only.
FITTED_RESIDUES = 150_000
SEED = 0


@dataclass(frozen=True)
class Split:
    """Features and labels of one split; `groups` says which records belong together when resampling."""

    features: Array  # (items, dim)
    labels: Array  # (items,)
    groups: Array  # (items,)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@torch.inference_mode()
def residue_states(model: Any, sequences: list[str], token_budget: int = 8192) -> list[Array]:
    """Last hidden states of the residues of each sequence, (length, dim) float16, longest batch first."""
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    states: list[Array] = [np.zeros(0)] * len(sequences)
    while order:
        longest = min(len(sequences[order[0]]), MAX_RESIDUES) + 2
        count = max(1, token_budget // longest)
        chosen, order = order[:count], order[count:]
        ids = np.full((len(chosen), longest), PAD, dtype=np.int64)
        for row, index in enumerate(chosen):
            tokens = encode(sequences[index][:MAX_RESIDUES])
            ids[row, : len(tokens) + 2] = [CLS, *tokens, EOS]
        tensor = torch.from_numpy(ids)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.esm(input_ids=tensor, attention_mask=(tensor != PAD).long()).last_hidden_state
        for row, index in enumerate(chosen):
            length = min(len(sequences[index]), MAX_RESIDUES)
            states[index] = hidden[row, 1 : length + 1].to(torch.float16).numpy()
    return states


def mean_embeddings(model: Any) -> Embedder:
    """Embed sequences, a chunk at a time, as means over their residues."""

    def embed(sequences: list[str]) -> list[Array]:
        means: list[Array] = []
        for start in range(0, len(sequences), 500):
            states = residue_states(model, sequences[start : start + 500])
            means += [s.astype(np.float32).mean(0) for s in states]
        return means

    return embed


def composition(sequences: list[str]) -> list[Array]:
    """Share of each of the 20 standard residues."""
    return [
        np.bincount(encode(s), minlength=LAST_STANDARD + 1)[FIRST_STANDARD : LAST_STANDARD + 1] / len(s)
        for s in sequences
    ]


def one_hot_windows(sequences: list[str]) -> list[Array]:
    """One-hot codes of the residues around each residue; beyond the ends is a 21st code."""
    half, codes = WINDOW // 2, LAST_STANDARD - FIRST_STANDARD + 2
    windows = []
    for sequence in sequences:
        index = np.clip(encode(sequence).astype(np.int64) - FIRST_STANDARD, 0, codes - 1)
        padded = np.pad(index, half, constant_values=codes - 1)
        view = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)  # (length, window)
        windows.append(np.eye(codes, dtype=np.float16)[view].reshape(len(sequence), -1))
    return windows


def sequence_splits(rows: list[dict[str, str]], embed: Embedder) -> dict[str, Split]:
    """Features and labels of every split of a sequence task."""
    features = np.stack(embed([row["sequence"] for row in rows])).astype(np.float32)
    labels = np.array([row["label"] for row in rows])
    names = np.array([row["split"] for row in rows])
    return {
        name: Split(features[names == name], labels[names == name], np.arange((names == name).sum()))
        for name in np.unique(names)
    }


def residue_splits(rows: list[dict[str, str]], embed: Embedder) -> dict[str, Split]:
    """Features and labels of every split of secondary structure, the training residues thinned out."""
    splits = {}
    for name in sorted({row["split"] for row in rows}):
        part = [row for row in rows if row["split"] == name]
        features = np.concatenate(embed([row["sequence"] for row in part]))
        labels = np.concatenate([np.array(list(row["ss3"][:MAX_RESIDUES])) for row in part])
        groups = np.repeat(np.arange(len(part)), [min(len(row["ss3"]), MAX_RESIDUES) for row in part])
        keep = np.arange(len(labels))
        if name == "train":
            keep = np.random.default_rng(SEED).permutation(keep)[:FITTED_RESIDUES]
        splits[name] = Split(features[keep].astype(np.float32), labels[keep], groups[keep])
    return splits


def probe(splits: dict[str, Split], report_split: str) -> dict[str, Any]:
    """Accuracy of the logistic regression that is best on the validation split."""
    scaler = StandardScaler().fit(splits["train"].features)
    scaled = {name: scaler.transform(split.features) for name, split in splits.items()}
    best: tuple[float, float, LogisticRegression] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
        model.fit(scaled["train"], splits["train"].labels)
        score = float(model.score(scaled["valid"], splits["valid"].labels))
        if best is None or score > best[0]:
            best = (score, strength, model)
    assert best is not None  # noqa: S101 - STRENGTHS is not empty
    right = best[2].predict(scaled[report_split]) == splits[report_split].labels
    low, high = _interval(right, splits[report_split].groups)
    return {
        "accuracy": round(float(right.mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "validation_accuracy": round(best[0], 4),
        "C": best[1],
    }


def _interval(right: Array, groups: Array) -> tuple[float, float]:
    """95 % bootstrap interval over whole records (residues of a chain are no independent samples)."""
    rng = np.random.default_rng(SEED)
    hits, sizes = np.bincount(groups, weights=right), np.bincount(groups)
    draws = rng.integers(0, len(sizes), size=(1000, len(sizes)))
    scores = hits[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
