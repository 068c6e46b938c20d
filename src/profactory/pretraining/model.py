"""The network: ESM-2 architecture in the layout of Hugging Face, built, run fast, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import EsmConfig, EsmForMaskedLM

from profactory.errors import ModelError
from profactory.files import atomic_file, atomic_write_json, atomic_write_text
from profactory.pretraining.corpus import MASK, PAD, VOCABULARY

_HEAD_WIDTH = 64


def build_config(hidden_size: int = 256, layers: int = 4, max_positions: int = 1026) -> EsmConfig:
    """Configuration of an ESM-2 network with heads 64 wide (narrow heads are slow on a CPU).

    ``token_dropout`` is off: with it, hidden states depend on how many masks a sequence holds.
    """
    return EsmConfig(
        vocab_size=len(VOCABULARY),
        pad_token_id=PAD,
        mask_token_id=MASK,
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=hidden_size // _HEAD_WIDTH,
        intermediate_size=4 * hidden_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=max_positions,
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
    frequencies = model.esm.rotary_embeddings.inv_freq[:_LOCAL_FREQUENCIES]
    half = _HEAD_WIDTH // 2
    for index, layer in enumerate(model.esm.encoder.layer):
        attention = layer.attention.self
        offsets = _FIRST_OFFSETS[min(index, len(_FIRST_OFFSETS) - 1)]
        for head, offset in enumerate(offsets[: attention.num_attention_heads]):
            if offset is None:
                continue
            cosine, sine = head * _HEAD_WIDTH, head * _HEAD_WIDTH + half
            phase = frequencies * offset
            attention.query.bias[cosine : cosine + _LOCAL_FREQUENCIES] = _LOCAL_BIAS
            attention.key.bias[cosine : cosine + _LOCAL_FREQUENCIES] = _LOCAL_BIAS * phase.cos()
            attention.key.bias[sine : sine + _LOCAL_FREQUENCIES] = -_LOCAL_BIAS * phase.sin()


def fast_encode(model: Any, input_ids: Tensor) -> Tensor:
    """Last hidden states of an unpadded batch, by fewer and larger operations than the stock code.

    Same parameters and same mathematics as ``model.esm(input_ids)`` (a test compares them); the three
    projections of attention are one product, and the whole is plain enough for `torch.compile`: 26 % faster
    on a CPU. Only for unpadded input, no dropout and ``token_dropout=False``.

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
    dim = trunk.config.hidden_size
    cos, sin = _rotary_tables(trunk, input_ids.shape[1])
    states = F.embedding(input_ids, trunk.embeddings.word_embeddings.weight)  # (batch, length, dim)
    for layer in trunk.encoder.layer:
        states = states + _attention(layer.attention, states, cos, sin)
        normed = F.layer_norm(states, (dim,), layer.LayerNorm.weight, layer.LayerNorm.bias, 1e-5)
        states = states + layer.output.dense(F.gelu(layer.intermediate.dense(normed)))
    last = trunk.encoder.emb_layer_norm_after
    return F.layer_norm(states, (dim,), last.weight, last.bias, 1e-5)


def _rotary_tables(trunk: Any, length: int) -> tuple[Tensor, Tensor]:
    angle = torch.arange(length)[:, None] * trunk.rotary_embeddings.inv_freq  # (length, half head)
    cos, sin = angle.cos(), angle.sin()
    if torch.is_autocast_enabled("cpu"):
        cos, sin = cos.to(torch.bfloat16), sin.to(torch.bfloat16)
    return cos, sin


def _attention(block: Any, states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, length, dim = states.shape
    parts = (block.self.query, block.self.key, block.self.value)
    normed = F.layer_norm(states, (dim,), block.LayerNorm.weight, block.LayerNorm.bias, 1e-5)
    weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    joint = F.linear(normed, weight, bias).view(batch, length, 3, -1, _HEAD_WIDTH)
    query, key, value = joint.permute(2, 0, 3, 1, 4)  # each (batch, heads, length, head)
    mixed = F.scaled_dot_product_attention(_rotate(query, cos, sin), _rotate(key, cos, sin), value)
    result: Tensor = block.output.dense(mixed.transpose(1, 2).reshape(batch, length, dim))
    return result


def _rotate(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def export_model(model: EsmForMaskedLM, folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write the language model in the layout of Hugging Face: weights in 16 bits, tokenizer, no other heads.

    float16 rather than bfloat16: the weights of a small network are far from the limits of its range, and it
    keeps three more bits of each. The configuration says float32, so a loaded model computes in float32.
    """
    weights = {
        name: tensor.detach()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.decoder.weight"  # tied to the embeddings
    }
    largest = max(float(tensor.abs().max()) for tensor in weights.values())
    if not largest < torch.finfo(dtype).max:  # also true of NaN
        raise ModelError(
            f"The largest weight is {largest:g}.",
            expected=f"finite weights in the range of {dtype}",
            fix="export with dtype=torch.float32, or use an earlier checkpoint",
        )
    narrow = {
        # Rotary frequencies span four decades; in 16 bits the far positions would drift.
        name: tensor.to(torch.float32 if name.endswith("inv_freq") else dtype).contiguous()
        for name, tensor in weights.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / "model.safetensors") as temporary:
        save_file(narrow, temporary, metadata={"format": "pt"})
        temporary.chmod(0o644)  # safetensors makes it private; an installed package is read by every user
    _write_config(model.config, folder)
    _write_tokenizer(folder, model.config.max_position_embeddings - 2)


def _write_config(config: Any, folder: Path) -> None:
    values = {key: value for key, value in config.to_diff_dict().items() if not key.startswith("_")}
    values = {key: value for key, value in values.items() if value is not None}
    values |= {"architectures": ["EsmForMaskedLM"], "dtype": "float32"}
    atomic_write_json(folder / "config.json", dict(sorted(values.items())))


def _write_tokenizer(folder: Path, max_length: int) -> None:
    atomic_write_text(folder / "vocab.txt", "\n".join(VOCABULARY) + "\n")
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    atomic_write_json(folder / "special_tokens_map.json", special)
    tokenizer = {"tokenizer_class": "EsmTokenizer", "model_max_length": max_length + 2, **special}
    atomic_write_json(folder / "tokenizer_config.json", tokenizer)
