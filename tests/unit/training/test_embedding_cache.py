"""The embedding cache: computed once, shared, checked, never used when stale or damaged."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from profactory.errors import TrainingError
from profactory.training import embedding_cache as module
from profactory.training.embedding_cache import EmbeddingCache


class ToyEncoder:
    """Rows that are a hash of residue, position and sequence; counts what it was asked for."""

    def __init__(
        self, *, per_residue: bool, width: int = 4, weights: str = "w1", max_length: int = 50
    ) -> None:
        self.per_residue, self.width, self.max_length = per_residue, width, max_length
        self.identity: dict[str, Any] = {
            "weights": weights,
            "max_length": max_length,
            "pooled": not per_residue,
        }
        self.calls: list[list[str]] = []

    def row(self, text: str) -> np.ndarray:
        digest = hashlib.sha256((self.identity["weights"] + text).encode()).digest()
        return np.frombuffer(digest, np.uint8)[: self.width].astype(np.float32) / 7

    def one(self, sequence: str) -> np.ndarray:
        used = sequence[: self.max_length]
        if not self.per_residue:
            return self.row(used)[None]
        return np.stack([self.row(f"{used}{i}") for i in range(len(used))])

    def encode(self, sequences: Sequence[str]) -> np.ndarray:
        self.calls.append(list(sequences))
        return np.concatenate([self.one(s) for s in sequences])


def random_sequences(n: int = 30, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), rng.integers(3, 70))) for _ in range(n)]


@pytest.fixture(autouse=True)
def many_small_shards(monkeypatch):
    monkeypatch.setattr(module, "SHARD_RESIDUES", 300)


@pytest.fixture(params=[True, False], ids=["in memory", "memory-mapped"])
def in_memory(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(module, "MEMORY_SHARE", 0.0)
    return request.param


def check(features, encoder, sequences) -> None:
    """Every sample has its own rows, in batches of any order."""
    order = np.random.default_rng(3).permutation(len(sequences))
    for batch in np.array_split(order, 4):
        if not encoder.per_residue:
            expected = np.concatenate([encoder.one(sequences[i]) for i in batch])
            assert torch.equal(features.vectors(batch), torch.from_numpy(expected))
            continue
        rows, mask = features.residues(batch)
        for row, keep, index in zip(rows, mask, batch, strict=True):
            expected = encoder.one(sequences[index])
            assert int(keep.sum()) == len(expected)
            assert torch.equal(row[keep], torch.from_numpy(expected))
            assert not row[~keep].any()


@pytest.mark.parametrize("per_residue", [True, False])
def test_rows_belong_to_their_sequences(per_residue, in_memory):
    encoder, sequences = ToyEncoder(per_residue=per_residue), random_sequences()
    sequences += sequences[:5]  # repeated sequences share their rows
    features = EmbeddingCache().get(encoder, sequences)
    assert len(features) == 35
    assert len(features.blocks) == 1 if in_memory else len(features.blocks) > 2
    check(features, encoder, sequences)
    assert sum(map(len, encoder.calls)) == 30
    for call in encoder.calls:  # length-sorted, so that the encoder pads little
        assert [len(s) for s in call] == sorted(len(s) for s in call)


@pytest.mark.parametrize("per_residue", [True, False])
def test_computed_once_whatever_the_order(per_residue):
    sequences = random_sequences()
    EmbeddingCache().get(ToyEncoder(per_residue=per_residue), sequences)
    again = ToyEncoder(per_residue=per_residue)
    other_order = [*sequences[::-1], sequences[4]]
    check(EmbeddingCache().get(again, other_order), again, other_order)
    assert again.calls == []


def test_other_weights_lengths_or_sequences_are_other_entries():
    sequences = random_sequences()
    cache = EmbeddingCache()
    first = cache.get(ToyEncoder(per_residue=False), sequences)
    changed = ToyEncoder(per_residue=False, weights="w2")
    second = cache.get(changed, sequences)
    assert changed.calls
    everything = np.arange(30)
    assert not torch.equal(first.vectors(everything), second.vectors(everything))
    for encoder, chosen in (
        (ToyEncoder(per_residue=False, max_length=20), sequences),
        (ToyEncoder(per_residue=True), sequences),
        (ToyEncoder(per_residue=False), sequences[:-1]),
    ):
        check(cache.get(encoder, chosen), encoder, chosen)
        assert encoder.calls


def entry(cache: EmbeddingCache) -> Path:
    (folder,) = cache.root.iterdir()
    return folder


def damage(file: Path, how: str) -> None:
    data = file.read_bytes()
    if how == "deleted":
        file.unlink()
    elif how == "flipped":
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
    else:
        file.write_bytes({"truncated": data[:-5], "empty": b"", "longer": data + b"\0" * 16}[how])


@pytest.mark.parametrize("how", ["deleted", "flipped", "truncated", "empty", "longer"])
@pytest.mark.parametrize("per_residue", [True, False])
def test_a_damaged_shard_is_named_and_only_it_is_computed_again(per_residue, how, caplog):
    sequences, cache = random_sequences(), EmbeddingCache()
    first = ToyEncoder(per_residue=per_residue)
    cache.get(first, sequences)
    victim = sorted(entry(cache).glob("shard-*"))[1]
    damage(victim, how)
    again = ToyEncoder(per_residue=per_residue)
    check(cache.get(again, sequences), again, sequences)
    assert again.calls == [first.calls[1]]
    assert victim.name in caplog.text


@pytest.mark.parametrize("how", ["deleted", "flipped", "truncated", "empty"])
def test_a_damaged_manifest_costs_nothing(how, caplog):
    sequences, cache = random_sequences(), EmbeddingCache()
    cache.get(ToyEncoder(per_residue=True), sequences)
    damage(entry(cache) / "manifest.json", how)
    again = ToyEncoder(per_residue=True)
    check(cache.get(again, sequences), again, sequences)
    assert again.calls == []
    assert how == "deleted" or "damaged" in caplog.text


def test_an_entry_of_another_model_is_never_used(caplog):
    """As if two models had the same key: what the manifest says decides."""
    sequences, cache = random_sequences(), EmbeddingCache()
    old, new = ToyEncoder(per_residue=False), ToyEncoder(per_residue=False, weights="w2")
    cache.get(old, sequences)
    (cache.root / cache.key(old, sequences)).rename(cache.root / cache.key(new, sequences))
    check(cache.get(new, sequences), new, sequences)
    assert sum(map(len, new.calls)) == 30
    assert "another model" in caplog.text


def test_an_interrupted_computation_goes_on(caplog):
    caplog.set_level(logging.INFO, "profactory")
    sequences, cache = random_sequences(), EmbeddingCache()

    class Interrupted(ToyEncoder):
        def encode(self, sequences):
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().encode(sequences)

    first = Interrupted(per_residue=True)
    with pytest.raises(KeyboardInterrupt):
        cache.get(first, sequences)
    again = ToyEncoder(per_residue=True)
    check(cache.get(again, sequences), again, sequences)
    done = {s for call in first.calls for s in call}
    assert done
    assert sorted(s for call in again.calls for s in call) == sorted(set(sequences) - done)
    assert "Going on" in caplog.text


def compute_in_child(root: Path, seed: int) -> None:
    module.SHARD_RESIDUES = 300
    sequences = random_sequences()
    np.random.default_rng(seed).shuffle(sequences)
    encoder = ToyEncoder(per_residue=True)
    check(EmbeddingCache(root).get(encoder, sequences), encoder, sequences)


def test_processes_that_compute_the_same_do_not_disturb_each_other(tmp_path):
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=compute_in_child, args=(tmp_path, seed)) for seed in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(90)
    assert [child.exitcode for child in children] == [0, 0]
    again = ToyEncoder(per_residue=True)
    EmbeddingCache(tmp_path).get(again, random_sequences())
    assert again.calls == []
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_too_little_disk_is_said_before_computing(monkeypatch):
    sequences, encoder, cache = random_sequences(), ToyEncoder(per_residue=True), EmbeddingCache()
    needed = sum(min(len(s), 50) for s in sequences) * 4 * 4
    assert cache.bytes_needed(encoder, sequences) == needed
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=needed - 1))
    with pytest.raises(TrainingError, match="PROFACTORY_CACHE") as caught:
        cache.get(encoder, sequences)
    assert encoder.calls == []
    assert "--pooling mean" in str(caught.value)


def test_a_failing_write_names_the_folder_and_leaves_no_part(monkeypatch):
    sequences, encoder, cache = random_sequences(), ToyEncoder(per_residue=False), EmbeddingCache()

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("profactory.files.fsync_path", full)
    with pytest.raises(TrainingError, match="No space left"):
        cache.get(encoder, sequences)
    assert list(entry(cache).iterdir()) == []


def test_nothing_to_embed():
    with pytest.raises(ValueError, match="no sequences"):
        EmbeddingCache().get(ToyEncoder(per_residue=False), [])
