"""Weights in four bits: the base of QLoRA (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314).

Only the linear layers inside the transformer blocks are quantised, to NF4 with one scale for each 64 or 32
numbers. Quantising what was quantised gives the same numbers again, so a saved model is reloaded on the very
base that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from profactory.errors import MissingExtraError

#: Numbers that share a scale, the more the less memory. On a processor bitsandbytes 0.50 reads wrong weights
#: where rows share a scale, so the inputs of a layer must be a multiple; 480, of ESM-2 with 35 million
#: parameters, is none of 64.
BLOCKS = (64, 32)


def quantise(network: Any, blocks: tuple[nn.Module, ...]) -> None:
    """Replace the linear layers of transformer blocks by such with weights in four bits.

    Layers that the library keeps in full precision are left alone, and those that no block size fits.

    Raises
    ------
    MissingExtraError
        ``bitsandbytes`` is not installed.
    """
    try:
        from bitsandbytes.nn.modules import Linear4bit, Params4bit
    except ImportError:
        raise MissingExtraError("The method qlora", "qlora") from None
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    for block in blocks:
        for parent, name, layer in _linear_layers(block):
            size = next((size for size in BLOCKS if layer.in_features % size == 0), None)
            if name in kept or size is None:
                continue
            small = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
            numbers = layer.weight.data
            weight: Any = Params4bit(
                numbers, quant_type="nf4", blocksize=size, compress_statistics=False, module=small
            )
            small.weight, small.bias = weight.to(numbers.device), layer.bias
            # A shortcut in bf16, taken on some processors only, would give other numbers there.
            small.support_avx512bf16_for_cpu = False
            # Or it would take the type of its first input, and turn the bias into it for good.
            small.compute_dtype, small.compute_type_is_set = torch.float32, True
            setattr(parent, name, small)
    network.is_loaded_in_4bit = True  # asked by PEFT


def is_quantised(module: nn.Module) -> bool:
    """Whether a module is a linear layer with weights in four bits."""
    return hasattr(getattr(module, "weight", None), "quant_state")


def dequantised(weight: Tensor) -> Tensor:
    """Return the numbers that weights in four bits stand for; other weights as they are."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    numbers: Tensor = dequantize_4bit(weight.data, state)
    return numbers


def merge_quantised(network: nn.Module) -> None:
    """Replace layers in four bits, with or without LoRA beside them, by plain ones that give the same."""
    for parent, name, layer in list(_children(network)):
        base = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
        if not is_quantised(base):
            continue
        weight = dequantised(base.weight)
        if base is not layer:
            weight = weight + layer.get_delta_weight("default").to(weight.dtype)
        plain = nn.Linear(base.in_features, base.out_features, base.bias is not None, device="meta")
        plain.weight = nn.Parameter(weight, requires_grad=False)
        plain.bias = base.bias
        setattr(parent, name, plain)


def count(parameter: Tensor) -> int:
    """Return how many numbers a parameter holds; two in each byte where there are four bits for one."""
    return parameter.numel() * (2 if getattr(parameter, "quant_state", None) is not None else 1)


def _linear_layers(module: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    found = _children(module)
    return [(parent, name, child) for parent, name, child in found if isinstance(child, nn.Linear)]


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            yield parent, name, child
