"""Embeddings of a frozen model, computed once and kept on disk.

``embeddings/<key>/`` holds shards of raw little-endian rows and, written last, ``manifest.json``. The key is
a hash of all that decides the numbers: weights, layer, pooling, precision, maximum length and the set of
sequences, with their structure strings for models whose tokens hold them. Order and repetition of the
sequences do not matter, so splits, folds and seeds share one entry. Sequences are told apart by a hash of 128
bits and read again when they are embedded, so that ten million take memory for their places only.
A shard's name contains the hash of its content; it appears by renaming a finished file. An interrupted
computation therefore goes on with the first missing shard, and two processes that compute the same entry do
not disturb each other. Every shard is checked each time before it is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from profactory.data.batching import Indices
from profactory.data.integers import small_type
from profactory.errors import TrainingError
from profactory.files import atomic_file, atomic_write_bytes, cache_dir, readable_bytes, sha256_file
from profactory.progress import Progress
from profactory.training.features import Features
from profactory.training.manifest import seal, unseal

SCHEMA_VERSION = 3
MANIFEST = "manifest.json"
BLOCK = 1 << 16  # hashes that are compared at a time
SHARD_BYTES = 64 << 20
SHARD_RESIDUES = 1 << 18  # so that an interruption costs minutes even with a large model
#: Entries that take no more than this share of the free memory are read into it.
MEMORY_SHARE = 0.25

log = logging.getLogger("profactory")


class Encoder(Protocol):
    """A frozen model, as the cache sees it."""

    @property
    def identity(self) -> dict[str, Any]:
        """Return all that decides the numbers, as JSON: weights hash, layer, pooling, precision, ..."""

    @property
    def width(self) -> int:
        """Return the numbers per row."""

    @property
    def per_residue(self) -> bool:
        """Return whether there is a row per residue, or one per sequence."""

    @property
    def max_length(self) -> int:
        """Return how many residues of a sequence are used."""

    def encode(
        self, sequences: Sequence[str], structures: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """Return the rows of sequences one after the other; batches them by itself."""


@dataclass(frozen=True, eq=False)
class _Layout:
    """Where each of the distinct sequences, by length, has its rows.

    Where there are structure strings, two sequences are the same if their structures are as well.
    """

    sequences: Sequence[str]  # all of them
    structures: Sequence[str] | None
    content: bytes  # names the set of the distinct ones
    sample: Indices  # (n,) sample -> distinct sequence
    first: Indices  # (u,) distinct sequence -> its first sample
    lengths: Indices  # (u,) residues after truncation
    rows: Indices  # (u,)
    edges: Indices  # (shards + 1,) first distinct sequence of each shard, and how many there are
    width: int

    @property
    def n_shards(self) -> int:
        return len(self.edges) - 1

    def sums(self, numbers: Indices) -> Indices:
        """Return the sum of numbers (u,) in each shard."""
        return np.asarray(np.add.reduceat(numbers, self.edges[:-1], dtype=np.int64))

    @property
    def shard_rows(self) -> Indices:
        return self.sums(self.rows)

    def encode(self, encoder: Encoder, number: int) -> NDArray[np.float32]:
        """Compute the rows of a shard."""
        chosen = self.first[slice(*self.edges[number : number + 2])]
        sequences = [self.sequences[i] for i in chosen]
        if self.structures is None:
            return encoder.encode(sequences)
        return encoder.encode(sequences, [self.structures[i] for i in chosen])


class EmbeddingCache:
    """The folder of all cached embeddings.

    Parameters
    ----------
    root
        Where; the ``embeddings`` folder of ProFactory's cache if not given.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_dir() / "embeddings"

    def get(
        self,
        encoder: Encoder,
        sequences: Sequence[str],
        structures: Sequence[str] | None = None,
        *,
        in_memory: bool = True,
    ) -> Features:
        """Return the embeddings of sequences, computing what is missing.

        Parameters
        ----------
        encoder
            The frozen model.
        sequences
            As cleaned by :mod:`profactory.data`; at least one.
        structures
            For models whose tokens hold structure: one string for each sequence.
        in_memory
            Read entries that are small beside the free memory into it; without, they stay on disk.

        Raises
        ------
        TrainingError
            The disk has not enough room (checked before anything is computed).
        """
        layout = _lay_out(encoder, sequences, structures)
        folder = self.root / _key(encoder, layout)
        shards = _finished_shards(folder, encoder, layout)
        if shards is None:
            shards = self._compute(folder, encoder, layout)
        return _open(folder, shards, encoder, layout, MEMORY_SHARE if in_memory else 0.0)

    def key(self, encoder: Encoder, sequences: Sequence[str], structures: Sequence[str] | None = None) -> str:
        """Return the name of an entry."""
        return _key(encoder, _lay_out(encoder, sequences, structures))

    def bytes_needed(self, encoder: Encoder, sequences: Sequence[str]) -> int:
        """Return the size that the entry of these sequences has, computed already or not."""
        layout = _lay_out(encoder, sequences)
        return int(layout.rows.sum()) * layout.width * 4

    def _compute(self, folder: Path, encoder: Encoder, layout: _Layout) -> list[str]:
        found = [_intact_shard(folder, number) for number in range(layout.n_shards)]
        missing = [number for number, name in enumerate(found) if name is None]
        residues = layout.sums(layout.lengths)
        self._ensure_room(int(layout.shard_rows[missing].sum()) * layout.width * 4, encoder)
        if len(missing) < layout.n_shards:
            log.info("Going on with embeddings: %d of %d parts missing.", len(missing), layout.n_shards)
        with Progress("embedding", int(residues[missing].sum()), unit="residues") as progress:
            for number in missing:
                found[number] = self._write_shard(folder, number, layout.encode(encoder, number))
                progress.advance(int(residues[number]))
        names = [name for name in found if name is not None]
        atomic_write_bytes(folder / MANIFEST, seal({**_description(encoder, layout), "shards": names}))
        return names

    def _write_shard(self, folder: Path, number: int, rows: NDArray[np.float32]) -> str:
        data = np.ascontiguousarray(rows, "<f4")
        name = f"shard-{number:05d}-{hashlib.sha256(data.data).hexdigest()}.bin"
        try:
            with atomic_file(folder / name) as temporary:
                temporary.write_bytes(data.data)
        except OSError as error:
            raise _no_room(self.root, data.nbytes, error.strerror or str(error)) from error
        return name

    def _ensure_room(self, needed: int, encoder: Encoder) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise _no_room(self.root, needed, f"{readable_bytes(free)} are free", encoder.per_residue)


def _key(encoder: Encoder, layout: _Layout) -> str:
    identity = json.dumps(encoder.identity, sort_keys=True).encode()
    return hashlib.sha256(identity + b"\n" + layout.content).hexdigest()[:32]


def _hashes(sequences: Sequence[str], structures: Sequence[str] | None) -> NDArray[np.bytes_]:
    """Return a hash of all that is read of each sample: its sequence, and its structure string if any."""
    texts = zip(sequences, strict=True) if structures is None else zip(sequences, structures, strict=True)
    digests = (hashlib.blake2b("\t".join(text).encode(), digest_size=16).digest() for text in texts)
    return np.fromiter(digests, "S16", len(sequences))


def _distinct(hashes: NDArray[np.bytes_]) -> tuple[bytes, Indices, Indices]:
    """Return a name of the set, the first sample of each member, and the member of each sample.

    As ``np.unique`` would, in a fifth of its memory.
    """
    kind = small_type(len(hashes))
    order = np.argsort(hashes, kind="stable").astype(kind)
    new, content, last = np.ones(len(order), bool), hashlib.sha256(), None
    for start in range(0, len(order), BLOCK):
        ordered, fresh = hashes[order[start : start + BLOCK]], new[start : start + BLOCK]
        fresh[0] = ordered[0] != last
        fresh[1:] = ordered[1:] != ordered[:-1]
        last = ordered[-1]
        content.update(ordered[fresh].view(np.uint8).data)
    first = order[new]
    sample = np.empty_like(order)
    sample[order] = np.cumsum(new, dtype=kind) - 1
    return content.digest(), first, sample


def _lay_out(encoder: Encoder, sequences: Sequence[str], structures: Sequence[str] | None = None) -> _Layout:
    """Order the distinct sequences by length (little padding), and cut them into shards."""
    if not len(sequences):
        raise ValueError("there are no sequences to embed")
    content, first, sample = _distinct(_hashes(sequences, structures))
    whole = np.fromiter(map(len, sequences), np.int32, len(sequences))[first]
    order = np.argsort(whole, kind="stable").astype(first.dtype)
    place = np.empty_like(order)
    place[order] = np.arange(len(order), dtype=order.dtype)
    sample, first = place[sample], first[order]
    lengths = whole[order].clip(max=encoder.max_length)
    del whole, order, place
    rows = lengths if encoder.per_residue else np.broadcast_to(np.int32(1), lengths.shape)
    edges = _edges(rows, lengths, encoder.width * 4)
    return _Layout(sequences, structures, content, sample, first, lengths, rows, edges, encoder.width)


def _edges(rows: Indices, lengths: Indices, row_bytes: int) -> Indices:
    """Cut into shards: one is full when it has enough rows or enough work behind it, whichever is first."""
    fill = np.cumsum(rows, dtype=np.float64)
    fill *= row_bytes / SHARD_BYTES
    work = np.cumsum(lengths, dtype=np.float64)
    work /= SHARD_RESIDUES
    np.maximum(fill, work, out=fill)
    del work
    fill -= fill[0]
    np.floor(fill, out=fill)
    return np.array([0, *(np.flatnonzero(fill[1:] > fill[:-1]) + 1), len(fill)])


def _description(encoder: Encoder, layout: _Layout) -> dict[str, Any]:
    """Return what the manifest says beside the names of the shards."""
    return {
        "schema_version": SCHEMA_VERSION,
        "identity": encoder.identity,
        "sequences": len(layout.first),
        "width": layout.width,
        "rows": layout.shard_rows.tolist(),
    }


def _finished_shards(folder: Path, encoder: Encoder, layout: _Layout) -> list[str] | None:
    """Return the names of the shards of an entry if it is complete and of this very model."""
    try:
        content = unseal((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("Cached embeddings %s are damaged and computed again: %s (%s).", folder, MANIFEST, error)
        return None
    names = [str(name) for name in content.pop("shards", [])]
    if content != _description(encoder, layout):
        log.warning("Cached embeddings %s are of another model or version and computed again.", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    intact = [_is_intact(folder / name) for name in names]  # all of them, so that each damaged one is named
    return names if all(intact) else None


def _intact_shard(folder: Path, number: int) -> str | None:
    """Return the name of a finished shard, if there is one."""
    files = sorted(folder.glob(f"shard-{number:05d}-*.bin"))
    return next((file.name for file in files if _is_intact(file)), None)


def _is_intact(file: Path) -> bool:
    """Whether a shard's content is what its name says; a damaged one is named and removed."""
    if not file.is_file():
        log.warning("Cached embeddings: %s is missing and computed again.", file)
        return False
    if sha256_file(file) == file.stem.rpartition("-")[2]:
        return True
    log.warning("Cached embeddings: %s is damaged and computed again.", file)
    file.unlink(missing_ok=True)
    return False


def _open(
    folder: Path, shards: Sequence[str], encoder: Encoder, layout: _Layout, memory_share: float
) -> Features:
    counts, width = layout.shard_rows, layout.width
    maps: list[NDArray[Any]] = [
        np.memmap(folder / name, dtype="<f4", mode="r", shape=(int(count), width))
        for name, count in zip(shards, counts, strict=True)
    ]
    if int(counts.sum()) * width * 4 <= memory_share * psutil.virtual_memory().available:
        maps = [np.concatenate(maps)]
    start, at = layout.sample, layout.sample  # one row for each distinct sequence
    if encoder.per_residue:
        start = (np.cumsum(layout.rows, dtype=small_type(int(counts.sum()))) - layout.rows)[at]
    return Features(maps, start, layout.lengths[at], encoder.per_residue)


def _no_room(root: Path, needed: int, reason: str, per_residue: bool = False) -> TrainingError:
    remedies = ["free some space", "PROFACTORY_CACHE=/a/larger/disk"]
    if per_residue:
        remedies.append("--pooling mean (one vector per protein instead of one per residue) or --max-length")
    return TrainingError(
        f"The embeddings cannot be stored in {root}: {reason}.",
        expected=f"{readable_bytes(needed)} of free disk space",
        fix="; ".join(remedies),
    )
