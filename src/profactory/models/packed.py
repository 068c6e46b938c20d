"""ESM's blocks on sequences laid one behind another: nothing is padded and no attention is masked.

The library's network computes ``(batch, tokens)`` with padding under a mask. Here the tokens of a batch form
one matrix, which all but attention handles row by row; attention runs for each sequence alone. The network's
own modules are called, so adapters, dropout and gradients are as they are there, and so are the numbers up
to rounding. Used on processors: on a graphics card a call for each sequence would cost more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

#: Residues up to which the backward pass of attention in bf16 is faster through plain multiplications than
#: in torch's fused kernel (3 to 6 times at 100 to 600), which is slow there but not in fp32. Beyond, what is
#: kept for it, the square of the length for each head, costs more than it saves.
MOST_PLAIN = 700

#: Cosines and sines of the positions, ``(tokens, 1, head width)`` each.
Rotation = tuple[Tensor, Tensor]


def packable(network: nn.Module) -> Any:
    """Return the ESM network in a network (PEFT wraps it) if it can be computed here, else None."""
    from transformers import EsmModel

    outer: Any = network
    inner: Any = outer.get_base_model() if hasattr(outer, "get_base_model") else outer
    if not isinstance(inner, EsmModel):
        return None
    config = inner.config
    plain = config._attn_implementation == "sdpa" and not (config.is_decoder or config.add_cross_attention)
    # What hangs on a block (FSDP puts its weights together) acts only when the block itself is called.
    hung = any(block._forward_pre_hooks for block in inner.encoder.layer)
    return inner if plain and not hung else None


def packed_states(
    inner: Any, input_ids: Tensor, attention_mask: Tensor, *, recompute: bool = False
) -> Tensor:
    """Return the last hidden states of a padded batch.

    Parameters
    ----------
    inner
        From :func:`packable`.
    input_ids, attention_mask
        ``(batch, tokens)``; padding on the right.
    recompute
        Compute each block again in the backward pass instead of keeping what is inside.

    Returns
    -------
    Tensor
        ``(batch, tokens, width)``, zero where there is padding.
    """
    embedded = inner.embeddings(input_ids=input_ids, attention_mask=attention_mask)  # (batch, tokens, width)
    lengths: list[int] = attention_mask.sum(1).tolist()
    padded = min(lengths) < input_ids.shape[1]
    kept = attention_mask.flatten().nonzero()[:, 0] if padded else None  # (packed,)
    flat = embedded.flatten(0, 1)
    states = flat if kept is None else flat[kept]  # (packed, width)
    rotation = _rotation(inner, lengths, states.dtype)
    for block in inner.encoder.layer:
        if recompute and torch.is_grad_enabled():
            states = checkpoint(_block, block, states, lengths, rotation, use_reentrant=False)
        else:
            states = _block(block, states, lengths, rotation)
    if inner.encoder.emb_layer_norm_after:
        states = inner.encoder.emb_layer_norm_after(states)
    if kept is not None:
        states = states.new_zeros(flat.shape).index_copy(0, kept, states)
    out: Tensor = states.view(embedded.shape)
    return out


def _rotation(inner: Any, lengths: Sequence[int], dtype: torch.dtype) -> Rotation | None:
    """Return what rotary positions multiply by; None for learned positions, which the embedding adds."""
    if inner.position_embedding_type != "rotary":
        return None
    positions = torch.cat([torch.arange(length) for length in lengths])
    cosine, sine = inner.rotary_embeddings(torch.empty(0, dtype=dtype), positions[None])  # (1, packed, head)
    half = sine.shape[-1] // 2
    # With the sign in the sines, turning a vector's halves round is one copy.
    signed = torch.cat((-sine[0, :, :half], sine[0, :, half:]), dim=-1)
    return cosine[0, :, None], signed[:, None]


def _block(block: Any, states: Tensor, lengths: Sequence[int], rotation: Rotation | None) -> Tensor:
    """Compute one transformer block: ``(packed, width)`` to the same."""
    attention = block.attention
    context = _attend(attention.self, attention.LayerNorm(states), lengths, rotation)
    states = attention.output(context, states)
    # The library's own gelu makes five passes over the widest tensor for the same function.
    wide = F.gelu(block.intermediate.dense(block.LayerNorm(states)))
    out: Tensor = block.output(wide, states)
    return out


def _attend(heads: Any, states: Tensor, lengths: Sequence[int], rotation: Rotation | None) -> Tensor:
    """Return what each token's heads gather from its own sequence: ``(packed, width)``."""
    shape = (len(states), heads.num_attention_heads, heads.attention_head_size)
    query, key, value = (part(states).view(shape) for part in (heads.query, heads.key, heads.value))
    query = query * shape[2] ** -0.5
    if rotation is not None:
        query, key = (_rotate(part, rotation) for part in (query, key))
    chance = heads.dropout if heads.training else 0.0
    runs = [(length, length * len(list(same))) for length, same in groupby(lengths)]
    alone = (part.split([tokens for _, tokens in runs]) for part in (query, key, value))
    found = [_within(q, k, v, run[0], chance) for q, k, v, run in zip(*alone, runs, strict=True)]
    return (found[0] if len(found) == 1 else torch.cat(found)).flatten(1)


def _rotate(part: Tensor, rotation: Rotation) -> Tensor:
    """Turn the heads ``(packed, heads, head)`` by their positions, in fp32 as the library does."""
    cosine, sine = rotation
    exact = part.float()
    return torch.addcmul(exact * cosine, exact.roll(exact.shape[-1] // 2, -1), sine).to(part.dtype)


def _within(query: Tensor, key: Tensor, value: Tensor, length: int, chance: float) -> Tensor:
    """Attend within sequences of one length: ``(sequences x length, heads, head)`` each, and so the result.

    One call for all neighbours of a length: with peptides, calls would take many times the work itself.
    """
    query, key, value = (
        part.unflatten(0, (-1, length)).transpose(1, 2) for part in (query, key, value)
    )  # (sequences, heads, length, head)
    found: Tensor
    if query.dtype == torch.bfloat16 and query.requires_grad and query.shape[2] <= MOST_PLAIN and not chance:
        found = torch.softmax(query @ key.transpose(2, 3), dim=-1) @ value
    else:
        found = F.scaled_dot_product_attention(query, key, value, dropout_p=chance, scale=1.0)
    return found.transpose(1, 2).flatten(0, 1)
