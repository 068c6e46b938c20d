"""What training will cost on this machine, before anything is loaded: memory, time, disk. Torch-free.

The numbers below were measured once, on one core of an AMD EPYC server with ESM-2 architectures of 8 and 35
million parameters, 4,096 and 8,192 tokens per batch, sequences of 254 and 1,022 residues; estimated peaks of
memory were 0.94 to 1.39 times the measured ones. They tell gigabytes from terabytes and minutes from days.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.config.methods import METHODS
from profactory.data.homology import usable_cores
from profactory.models.families import DEFAULT_MAX_LENGTH
from profactory.models.zoo import ModelSpec

SPECIAL_TOKENS = 2
MIB = 1 << 20
PROCESS_BYTES = 450 * MIB  # Python, torch, transformers
WORKING_BYTES = 80 * MIB  # what the allocator keeps beside the tensors
FORWARD_FLOPS = 6e10  # per second and core, in 32 bits
# A step of training, in forward passes. Without gradients of the weights, backward is one pass more, else
# two; the rest is dropout, the optimizer and slower small matrices.
PASSES = {"full": 3.2}
ADAPTER_PASSES = 2.5
# Bytes kept for the backward pass, per token, layer and unit of width.
KEPT_BYTES = {"fp32": 190, "bf16": 100, "fp16": 100}
LAYER_BYTES = 48  # per token and unit of width, while one layer is computed
ATTENTION_BYTES = 64  # per token and residue of the longest sequence
STEP_SECONDS = 1e-3  # of a head on stored embeddings, beside its arithmetic
BATCH_TOKENS = 4096  # unless the user says otherwise, and whenever embeddings are computed
HEAD_BATCH = 64
ADAM = 3  # gradient and two moments of each trained number, or in a checkpoint itself and two moments
CHECKPOINTS = 3  # two latest and the best
BLOCK_MATRICES = 12  # squares of the width that the weights of a block amount to
ATTENTION_MATRICES = 3  # that LoRA adapts in each layer: query, key, value


@dataclass(frozen=True)
class Estimate:
    """What training on a processor costs.

    Parameters
    ----------
    memory_bytes
        Peak of the process.
    seconds_once
        Computing all embeddings, which happens once with ``freeze``; 0 with other methods.
    seconds_per_epoch
        One pass over the sequences.
    disk_bytes
        Embeddings, checkpoints and the model; without the pre-trained weights, which lie in their own cache.
    download_bytes
        The pre-trained weights, as far as they are not on this machine for sure.
    basis
        What the numbers rest on, as a clause.
    """

    memory_bytes: int
    seconds_once: float
    seconds_per_epoch: float
    disk_bytes: int
    download_bytes: int
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class _Tokens:
    """How many sequences there are of each number of tokens."""

    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]

    @property
    def sequences(self) -> int:
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        return int(self.lengths @ self.counts)

    @property
    def longest(self) -> int:
        return int(self.lengths[-1])


def estimate(
    spec: ModelSpec,
    lengths: NDArray[Any],
    method: str = "freeze",
    *,
    precision: str = "fp32",
    tokens_per_batch: int | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    per_residue: bool = False,
    lora_rank: int = 8,
    last_layers: int = 2,
    cores: int | None = None,
) -> Estimate | None:
    """Estimate memory, time and disk of training on a processor.

    Parameters
    ----------
    spec
        The pre-trained model.
    lengths
        Residues of each sequence, shape ``(n,)``.
    method
        A name of :data:`profactory.config.methods.METHODS`; with frozen ones embeddings are computed once.
    precision
        ``fp32``, ``bf16`` or ``fp16``: what is kept for the backward pass takes half in 16 bits. Time is
        always that of 32 bits.
    tokens_per_batch, batch_size
        Limit of a micro-batch; 4,096 tokens if neither is given.
    max_length
        Residues read of each sequence; the model's limit if None.
    per_residue
        Whether one embedding per residue is stored, not one per sequence (``freeze``).
    lora_rank
        Rank of the adapter matrices.
    last_layers
        Layers that ``last-layers`` trains.
    cores
        Processor cores; all that this process may use if None.

    Returns
    -------
    Estimate or None
        None if the size of the model is not known, as for a Hub id that is not in the catalogue.
    """
    parameters, layers, width = _size(spec)
    if not parameters or not len(lengths):
        return None
    limit = max_length or spec.max_length or DEFAULT_MAX_LENGTH
    different, counts = np.unique(lengths, return_counts=True)
    tokens = _Tokens(np.minimum(different, limit) + SPECIAL_TOKENS, counts)
    facts = METHODS[method]
    frozen = facts.frozen
    batch = _batch_tokens(tokens, None if frozen else tokens_per_batch, None if frozen else batch_size)
    trained = _trained(method, parameters, layers, width, lora_rank, last_layers)
    memory = PROCESS_BYTES + WORKING_BYTES + 4 * parameters + 4 * ADAM * trained
    memory += batch * (LAYER_BYTES * width + ATTENTION_BYTES * tokens.longest)
    speed = FORWARD_FLOPS * (cores or usable_cores())
    forward = _forward_flops(tokens, parameters, layers, width) / speed
    # What a checkpoint holds, and the model at the end; one that cannot be fetched again is stored whole.
    disk = 4 * (
        CHECKPOINTS * ADAM * trained + (parameters if spec.local or facts.changes_weights else trained)
    )
    if frozen:
        rows = tokens.total if per_residue else tokens.sequences
        once, epoch = forward, tokens.sequences / HEAD_BATCH * STEP_SECONDS + 6 * rows * width**2 / speed
        disk += 4 * rows * width
    else:
        once, epoch = 0.0, forward * PASSES.get(method, ADAPTER_PASSES)
        memory += batch * layers * width * KEPT_BYTES.get(precision, KEPT_BYTES["fp32"])
    return Estimate(
        memory_bytes=memory,
        seconds_once=once,
        seconds_per_epoch=epoch,
        disk_bytes=disk,
        download_bytes=0 if spec.local else 4 * parameters,
        basis=f"on {cores or usable_cores()} cores of a server; those of a laptop may take two or three times"
        " as long",
    )


def _size(spec: ModelSpec) -> tuple[int, int, int]:
    """Return parameters, layers and width; a model's folder tells the last two, which give the first."""
    layers, width = spec.layers or 0, spec.width or 0
    return (spec.parameters or BLOCK_MATRICES * layers * width**2), layers, width


def _batch_tokens(tokens: _Tokens, limit: int | None, sequences: int | None) -> int:
    """Return the tokens of the largest micro-batch, padding included; one sequence is the least."""
    longest = tokens.longest
    if sequences:
        return longest * min(sequences, tokens.sequences)
    return max(longest, min(limit or BATCH_TOKENS, longest * tokens.sequences))


def _trained(method: str, parameters: int, layers: int, width: int, rank: int, last_layers: int) -> int:
    """Return how many numbers are trained: the head, and the model or its adapters."""
    head = width * width
    if METHODS[method].per_residue:
        return head + 2 * BLOCK_MATRICES * width**2  # attention to two kinds of strings, at most
    if METHODS[method].frozen:
        return head
    if METHODS[method].changes_weights:
        return head + (last_layers * BLOCK_MATRICES * width**2 if method == "last-layers" else parameters)
    return head + ATTENTION_MATRICES * 2 * layers * rank * width


def _forward_flops(tokens: _Tokens, parameters: int, layers: int, width: int) -> float:
    """Return the operations of one forward pass: two for each weight and token, and attention."""
    attention = 4.0 * layers * width * float(tokens.lengths.astype(np.float64) ** 2 @ tokens.counts)
    return 2.0 * parameters * tokens.total + attention
