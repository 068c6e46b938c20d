"""The network: ESM-2 architecture in the layout of Hugging Face, built, and run fast."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import EsmConfig, EsmForMaskedLM

from profactory.errors import ConfigError
from profactory.pretraining.corpus import MASK, PAD, VOCABULARY

MAX_POSITIONS = 1026


def build_config(hidden_size: int = 256, layers: int = 4, heads: int | None = None) -> EsmConfig:
    """Configuration of an ESM-2 network; heads 64 wide unless told (narrow heads are slow on a CPU).

    ``token_dropout`` is off: with it, hidden states depend on how many masks a sequence holds.

    Raises
    ------
    ConfigError
        The width cannot be divided into the heads, or a head into the pairs of a rotary position.
    """
    heads = heads or max(1, hidden_size // 64)
    if hidden_size % (2 * heads):
        raise ConfigError(
            f"A width of {hidden_size} cannot be divided into {heads} heads of even width.",
            expected="a width that is a multiple of twice the heads",
            fix=f"--width {2 * heads * max(1, round(hidden_size / (2 * heads)))}",
        )
    return EsmConfig(
        vocab_size=len(VOCABULARY),
        pad_token_id=PAD,
        mask_token_id=MASK,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=MAX_POSITIONS,
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=False,
        layer_norm_eps=1e-5,
        use_cache=False,
    )


def build_model(config: EsmConfig, seed: int) -> EsmForMaskedLM:
    """A network with random weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: EsmForMaskedLM = EsmForMaskedLM._from_config(config, attn_implementation="sdpa")
    return model


#: Where the heads of each layer look at first, as an offset along the chain; None looks everywhere.
_FIRST_OFFSETS: tuple[tuple[int | None, ...], ...] = ((-1, 1, -3, 3), (-2, 2, 4, None), (-4, 1, None, None))
_LOCAL_BIAS = 2.0
_LOCAL_FREQUENCIES = 16


@torch.no_grad()
def start_local_attention(model: Any) -> None:
    """Point some heads at near neighbours before training, by their query and key biases alone.

    Under rotary positions constant vectors q and k score ``|q||k| cos(theta * (j - i) + phase)`` for each
    frequency; equal phases at one offset make a head that looks there. From a small random start all heads
    look everywhere alike, and the first million tokens go by before any finds its neighbours.
    """
    width = model.config.hidden_size // model.config.num_attention_heads
    frequencies = model.esm.rotary_embeddings.inv_freq[:_LOCAL_FREQUENCIES]
    used, half = len(frequencies), width // 2
    for index, layer in enumerate(model.esm.encoder.layer):
        attention = layer.attention.self
        offsets = _FIRST_OFFSETS[min(index, len(_FIRST_OFFSETS) - 1)]
        for head, offset in enumerate(offsets[: attention.num_attention_heads]):
            if offset is None:
                continue
            cosine, sine = head * width, head * width + half
            phase = frequencies * offset
            attention.query.bias[cosine : cosine + used] = _LOCAL_BIAS
            attention.key.bias[cosine : cosine + used] = _LOCAL_BIAS * phase.cos()
            attention.key.bias[sine : sine + used] = -_LOCAL_BIAS * phase.sin()


def masked_head(language_model: nn.Module) -> nn.Module:
    """Return the head that predicts residues from states."""
    return cast("nn.Module", getattr(_base(language_model), "lm_head", None) or _base(language_model).cls)


def encode(language_model: nn.Module, input_ids: Tensor) -> Tensor:
    """Return the last hidden states of an unpadded batch, the fast way where there is one.

    Parameters
    ----------
    language_model
        With a masked-language-model head; with or without an adapter.
    input_ids
        ``(batch, length)`` int64, without padding.

    Returns
    -------
    Tensor
        ``(batch, length, dim)``.
    """
    if can_run_fast(language_model):
        return fast_encode(language_model, input_ids)
    return cast("Tensor", _base(language_model).base_model(input_ids=input_ids).last_hidden_state)


def can_run_fast(language_model: Any) -> bool:
    """Whether :func:`fast_encode` computes what the network computes."""
    config = language_model.config
    return (
        isinstance(language_model, EsmForMaskedLM)
        and config.position_embedding_type == "rotary"
        and not (config.token_dropout or config.emb_layer_norm_before)
        and not (config.hidden_dropout_prob or config.attention_probs_dropout_prob)
    )


def _base(language_model: nn.Module) -> Any:
    """Return the network under an adapter of PEFT (which is slow to import), or the network itself."""
    unwrap = getattr(language_model, "get_base_model", None)
    return unwrap() if unwrap else language_model


def fast_encode(model: Any, input_ids: Tensor) -> Tensor:
    """Last hidden states of an unpadded batch, by fewer and larger operations than the stock code.

    Same parameters and same mathematics as ``model.esm(input_ids)`` (a test compares them); the three
    projections of attention are one product. Only where :func:`can_run_fast`, without an adapter.

    Parameters
    ----------
    model : EsmForMaskedLM
        Its trunk ``model.esm`` is run.
    input_ids : Tensor of int64, (batch, length)
        Without padding.

    Returns
    -------
    Tensor, (batch, length, dim)
    """
    trunk = model.esm
    dim, epsilon = trunk.config.hidden_size, trunk.config.layer_norm_eps
    cos, sin = _rotary_tables(trunk, input_ids)
    states = F.embedding(input_ids, trunk.embeddings.word_embeddings.weight)  # (batch, length, dim)
    for layer in trunk.encoder.layer:
        states = states + _attention(layer.attention, states, cos, sin, epsilon)
        normed = F.layer_norm(states, (dim,), layer.LayerNorm.weight, layer.LayerNorm.bias, epsilon)
        states = states + layer.output.dense(F.gelu(layer.intermediate.dense(normed)))
    last = trunk.encoder.emb_layer_norm_after
    return F.layer_norm(states, (dim,), last.weight, last.bias, epsilon)


def _rotary_tables(trunk: Any, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    angle = positions[:, None] * trunk.rotary_embeddings.inv_freq  # (length, half head)
    device = input_ids.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else angle.dtype
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _attention(block: Any, states: Tensor, cos: Tensor, sin: Tensor, epsilon: float) -> Tensor:
    batch, length, dim = states.shape
    parts = (block.self.query, block.self.key, block.self.value)
    normed = F.layer_norm(states, (dim,), block.LayerNorm.weight, block.LayerNorm.bias, epsilon)
    weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    joint = F.linear(normed, weight, bias).view(batch, length, 3, -1, 2 * cos.shape[1])
    query, key, value = joint.permute(2, 0, 3, 1, 4)  # each (batch, heads, length, head)
    mixed = F.scaled_dot_product_attention(_rotate(query, cos, sin), _rotate(key, cos, sin), value)
    result: Tensor = block.output.dense(mixed.transpose(1, 2).reshape(batch, length, dim))
    return result


def _rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
