"""How a backbone is fine-tuned: what of it is trained.

A method is one entry in :data:`ADAPTERS` (adapters of PEFT) or one of ``freeze`` and ``full``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from profactory.errors import ConfigError
from profactory.models.backbone import Backbone


class ParameterCounts(NamedTuple):
    """Numbers of parameters."""

    trainable: int
    total: int


def _lora(targets: list[str], rank: int, alpha: int, dropout: float) -> LoraConfig:
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)


ADAPTERS: Mapping[str, Callable[[list[str], int, int, float], Any]] = {"lora": _lora}
METHODS = ("freeze", "full", *ADAPTERS)


def apply_method(
    backbone: Backbone,
    method: str,
    *,
    lora_rank: int = 8,
    lora_alpha: int = 16,
    lora_dropout: float = 0.1,
    target_modules: Sequence[str] | None = None,
) -> None:
    """Choose what of a backbone is trained; once for each backbone.

    Parameters
    ----------
    backbone
        As loaded; changed in place.
    method
        ``freeze``: nothing. ``full``: every weight that takes part in the output. ``lora``: matrices
        of low rank beside the target modules.
    lora_rank, lora_alpha, lora_dropout
        Rank; scale (the update is multiplied by alpha / rank); dropout in front of the matrices.
    target_modules
        Names of linear layers; the family's attention projections if not given.

    Raises
    ------
    ConfigError
        If the method is unknown or does not fit, or a target module matches nothing.
    """
    if method not in METHODS:
        raise ConfigError(f"No tuning method is called {method!r}.", expected=", ".join(METHODS))
    if backbone.method != "freeze":
        raise ConfigError(f"The model is already prepared for {backbone.method!r}.", fix="load it again")
    if target_modules is not None and method not in ADAPTERS:
        raise ConfigError(
            f"Target modules have no meaning with the method {method!r}.", fix="use --method lora"
        )
    if method in ADAPTERS:
        targets = find_targets(backbone, target_modules)
        _check_ranges(lora_rank, lora_alpha, lora_dropout)
        config = ADAPTERS[method](targets, lora_rank, lora_alpha, lora_dropout)
        with warnings.catch_warnings():
            # peft asks transformers by a name that transformers is about to rename.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            backbone.network = get_peft_model(backbone.network, config)  # freezes the base
    elif method == "full":
        untrained = {*backbone.family.unused, *backbone.family.fixed}
        for name, parameter in backbone.network.named_parameters():
            parameter.requires_grad_(not untrained & set(name.split(".")))
    backbone.method = method
    backbone.train(False)


def parameter_counts(module: nn.Module) -> ParameterCounts:
    """Count the parameters that are trained, and all."""
    parameters = list(module.parameters())
    return ParameterCounts(
        sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
    )


def find_targets(backbone: Backbone, names: Sequence[str] | None) -> list[str]:
    """Return the target modules, each of which must match a linear layer.

    A name matches a layer whose dotted path is it or ends with it.

    Raises
    ------
    ConfigError
        Listing the layers that exist.
    """
    wanted = list(names) if names is not None else list(backbone.family.lora_targets)
    paths = [path for path, module in backbone.network.named_modules() if isinstance(module, nn.Linear)]
    unmatched = [n for n in wanted if not any(path == n or path.endswith(f".{n}") for path in paths)]
    if unmatched or not wanted:
        existing = sorted({path.rsplit(".", 1)[-1] for path in paths})
        asked = ", ".join(map(repr, unmatched)) or "as asked: the list is empty"
        raise ConfigError(
            f"No layer of {backbone.spec.name} is called {asked}.",
            expected=f"names among {', '.join(existing)}, or the end of a dotted path such as {paths[0]!r}",
            fix="see --lora-target-modules",
        )
    return wanted


def adapter(backbone: Backbone) -> PeftModel:
    """Return the network with its adapter."""
    network = backbone.network
    if not isinstance(network, PeftModel):
        raise ConfigError(f"The method {backbone.method!r} has no adapter.")
    return network


def _check_ranges(rank: int, alpha: int, dropout: float) -> None:
    if rank < 1 or alpha <= 0 or not 0 <= dropout < 1:
        raise ConfigError(
            f"LoRA with rank {rank}, alpha {alpha}, dropout {dropout} makes no sense.",
            expected="rank at least 1, alpha above 0, dropout from 0 to below 1",
        )
