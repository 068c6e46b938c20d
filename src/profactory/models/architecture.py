"""What a configuration says of a network: its type, its layers, how long a sequence may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from profactory.errors import ConfigError, ModelLoadError
from profactory.models.families import DEFAULT_MAX_LENGTH, FAMILIES, Family, check_model_type
from profactory.models.zoo import ModelSpec

#: Instead of a layer's number: all of them.
MIX = "mix"


@dataclass(frozen=True)
class Stack:
    """The transformer blocks of a network, in order, and what is applied after them (a normalisation)."""

    blocks: tuple[nn.Module, ...]
    after: tuple[nn.Module, ...]


def find_stack(network: nn.Module, n_layers: int) -> Stack:
    """Find the blocks: the outermost list of modules that has one for each layer.

    Raises
    ------
    ModelLoadError
        If there is none, as in code that a repository brought along.
    """
    for parent in network.modules():
        children = list(parent.children())
        for place, child in enumerate(children):
            if isinstance(child, nn.ModuleList) and len(child) == n_layers:
                return Stack(tuple(child), tuple(children[place + 1 :]))
    raise ModelLoadError(
        f"{type(network).__name__} has no list of {n_layers} layers.",
        fix="use --method freeze, full or lora",
    )


def check_trainable_layers(wanted: int, used: int) -> None:
    """Refuse to train more layers than there are."""
    if not 1 <= wanted <= used:
        raise ConfigError(
            f"{wanted} layers cannot be trained.",
            expected=f"1 to {used}, the layers that take part in the output",
            fix="see --unfreeze-layers",
        )


def read_model_type(config: dict[str, Any], spec: ModelSpec) -> str:
    """Read the architecture; files from before 2020 name only the class, or nothing at all."""
    named = config.get("model_type")
    if not named:
        classes = " ".join(map(str, config.get("architectures") or ()))
        known = {family.model_type: family.model_class.removesuffix("Model") for family in FAMILIES.values()}
        named = next((kind for kind, stem in known.items() if stem and classes.startswith(stem)), "")
        named = named or (FAMILIES[spec.family].model_type if spec.family else "")
    check_model_type(str(named))
    return str(named)


def checked_layer(layer: int | str, n_layers: int) -> int | str:
    """Return `layer` if it is ``mix`` or there is one of that number; refuse it otherwise."""
    if layer == MIX:
        return layer
    if isinstance(layer, str) or not -n_layers - 1 <= layer <= n_layers:
        raise ConfigError(
            f"There is no layer {layer}.",
            expected=f"0 (embedding) to {n_layers}, -1 (last) to {-n_layers - 1}, or {MIX}",
        )
    return layer


def position_limit(family: Family, config: Any) -> int | None:
    """Residues for which the architecture has learned positions."""
    places: Any = getattr(config, "max_position_embeddings", None)
    if family.model_type == "esm" and config.position_embedding_type == "absolute":
        return int(places) - int(config.pad_token_id) - 1 - 2  # positions count from pad_token_id + 1
    if family.model_type in ("bert", "roformer"):
        return int(places) - 2
    return None


def usual_length(family: Family, config: Any, spec: ModelSpec, limit: int | None) -> int:
    """Return the residues that a sequence is read to unless the user says otherwise."""
    if spec.max_length:
        return min(spec.max_length, limit or spec.max_length)
    if family.model_type == "esm":
        return int(config.max_position_embeddings) - 4  # as limited for absolute positions
    return min(DEFAULT_MAX_LENGTH, limit or DEFAULT_MAX_LENGTH)


def check_vocabulary(folder: Path, vocabulary: Any, network: nn.Module) -> None:
    """Refuse a tokenizer with ids that the network has no embedding for."""
    rows = network.get_input_embeddings().num_embeddings  # type: ignore[operator]
    if max(vocabulary.values()) >= rows:
        raise ModelLoadError(
            f"{folder}: the tokenizer has ids up to {max(vocabulary.values())}, and the network has only "
            f"{rows} embeddings.",
            expected="a tokenizer and weights of one model",
        )


def checkpoint_gradients(network: Any, spec: ModelSpec) -> None:
    """Compute each block again in the backward pass instead of keeping what is inside.

    Raises
    ------
    ConfigError
        The architecture cannot.
    """
    if not getattr(network, "supports_gradient_checkpointing", False):
        raise ConfigError(
            f"{spec.name} has no gradient checkpointing.", fix="leave --gradient-checkpointing out"
        )
    if hasattr(network, "activation_checkpointing_enable"):
        network.activation_checkpointing_enable({"use_reentrant": False})
    else:  # the name before transformers 5.23
        network.gradient_checkpointing_enable({"use_reentrant": False})
    # Meant for the other kind of checkpoint; here it would carry gradients below what is trained.
    for hook in getattr(network, "_require_grads_hooks", ()):
        hook.remove()
