"""Adapters of PEFT: small trained parts beside unchanged weights.

PEFT takes seconds to import, so it is imported where a model has an adapter.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from profactory.config.methods import METHODS
from profactory.errors import ConfigError
from profactory.models.backbone import Backbone
from profactory.models.dropout import use_quick_dropout
from profactory.models.quantised import merge_quantised

if TYPE_CHECKING:
    from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftModel

    from profactory.models.tuning import Tuning

# Imported by PEFT; on some processors it advertises a package.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

#: Makes the configuration of an adapter for the layers at some paths.
Recipe = Callable[[Backbone, list[str], "Tuning"], Any]


def lora(backbone: Backbone, paths: list[str], tuning: Tuning) -> LoraConfig:
    """Low-rank adaptation (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""
    from peft import LoraConfig

    return LoraConfig(**_of_lora(paths, tuning))


def dora(backbone: Backbone, paths: list[str], tuning: Tuning) -> LoraConfig:
    """LoRA for the direction of the weights, with their length trained apart (Liu et al. 2024,
    https://arxiv.org/abs/2402.09353)."""
    from peft import LoraConfig

    return LoraConfig(**_of_lora(paths, tuning), use_dora=True)


def adalora(backbone: Backbone, paths: list[str], tuning: Tuning) -> AdaLoraConfig:
    """LoRA that begins with half as much rank again and takes it from where it helps least (Zhang et al.
    2023, https://arxiv.org/abs/2303.10512).

    The schedule is set when the number of steps is known, see :class:`RankAllocation`.
    """
    from peft import AdaLoraConfig

    options = _of_lora(paths, tuning)
    rank = options.pop("r")
    return AdaLoraConfig(**options, target_r=rank, init_r=rank + max(1, rank // 2), total_step=1)


def ia3(backbone: Backbone, paths: list[str], tuning: Tuning) -> IA3Config:
    """Learned scales of keys, values and what goes into the second feed-forward layer (Liu et al. 2022,
    https://arxiv.org/abs/2205.05638)."""
    from peft import IA3Config

    inner = [path for path in paths if any(matches(name, path) for name in backbone.family.feed_forward)]
    return IA3Config(target_modules=paths, feedforward_modules=inner)


def adapt(recipe: Recipe, backbone: Backbone, tuning: Tuning) -> None:
    """Put an adapter beside the target layers of a backbone."""
    names = tuning.target_modules
    if names is None:
        family = backbone.family
        names = family.ia3_targets if recipe is ia3 else family.lora_targets
    paths = find_targets(backbone, names)
    backbone.network = attach(backbone.network, recipe(backbone, paths, tuning))


def attach(network: Any, config: Any) -> PeftModel:
    """Put an adapter of PEFT into a network; everything else in it is no longer trained."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft asks transformers by a name that transformers is about to rename.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted: PeftModel = get_peft_model(network, config)
    use_quick_dropout(adapted)
    return adapted


def find_targets(backbone: Backbone, names: Sequence[str]) -> list[str]:
    """Return the paths of the linear layers that names mean; see :func:`choose_targets`.

    Layers behind the one whose output is taken are left out.
    """
    beyond = {id(part) for module in backbone.beyond() for part in module.modules()}
    paths = [
        path
        for path, module in backbone.network.named_modules()
        if isinstance(module, nn.Linear)
        and id(module) not in beyond
        and not set(backbone.family.unused) & set(path.split("."))
    ]
    return choose_targets(paths, names, backbone.spec.name)


def choose_targets(paths: Sequence[str], names: Sequence[str], model: str) -> list[str]:
    """Return the paths that names mean, each of which must match one.

    A name matches a layer whose dotted path is it or ends with it; ``*`` stands for one part of a path.

    Raises
    ------
    ConfigError
        Listing the layers that exist.
    """
    found = {name: [path for path in paths if matches(name, path)] for name in names}
    unmatched = [name for name, hits in found.items() if not hits]
    if unmatched or not names:
        existing = sorted({path.rsplit(".", 1)[-1] for path in paths})
        asked = ", ".join(map(repr, unmatched)) or "as asked: the list is empty"
        raise ConfigError(
            f"No layer of {model} is called {asked}.",
            expected=f"names among {', '.join(existing)}, or the end of a dotted path such as {paths[0]!r}"
            if paths
            else "a layer above the embedding, see --layer",
            fix="see --lora-target-modules",
        )
    return [path for path in paths if any(path in hits for hits in found.values())]


def matches(name: str, path: str) -> bool:
    """Whether a dotted path is `name` or ends with it; ``*`` stands for one part."""
    wanted = name.split(".")
    found = path.split(".")[-len(wanted) :]
    return len(found) == len(wanted) and all(w in ("*", f) for w, f in zip(wanted, found, strict=True))


def adapter(backbone: Backbone) -> PeftModel:
    """Return the network with its adapter."""
    from peft import PeftModel

    network = backbone.network
    if not isinstance(network, PeftModel):
        raise ConfigError(f"The method {backbone.method!r} has no adapter.")
    return network


def adapter_state(backbone: Backbone) -> dict[str, Tensor]:
    """Return the adapter's tensors under PEFT's names, not copied."""
    from peft import AdaLoraConfig, get_peft_model_state_dict

    network = adapter(backbone)
    config = network.peft_config["default"]
    pattern = getattr(config, "rank_pattern", None)
    if isinstance(config, AdaLoraConfig):
        config.rank_pattern = None  # else the rows of rank that was taken away would be left out
    try:
        state: dict[str, Tensor] = get_peft_model_state_dict(network, save_embedding_layers=False)
    finally:
        if isinstance(config, AdaLoraConfig):
            config.rank_pattern = pattern
    return state


def merge_adapter(backbone: Backbone) -> None:
    """Put the adapter into the weights beside it; the backbone is then one whose weights were changed."""
    if METHODS[backbone.method].quantised:
        # PEFT would quantise the sum again, and predictions would be others.
        backbone.network = adapter(backbone).get_base_model()
        merge_quantised(backbone.network)
    else:
        backbone.network = adapter(backbone).merge_and_unload()
    backbone.network.requires_grad_(False)
    backbone.method = "full"
    backbone.weights_changed()
    backbone.eval()


def _of_lora(paths: list[str], tuning: Tuning) -> dict[str, Any]:
    return {
        "r": tuning.rank,
        "lora_alpha": tuning.alpha,
        "lora_dropout": tuning.dropout,
        "target_modules": paths,
    }
