"""How a backbone is fine-tuned: what of it is trained.

A method is one entry in :data:`TUNERS`, beside its facts in :data:`profactory.config.methods.METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from profactory.config.methods import METHODS
from profactory.errors import ConfigError
from profactory.models import adapters
from profactory.models.architecture import check_trainable_layers
from profactory.models.backbone import Backbone
from profactory.models.quantised import count, quantise


@dataclass(frozen=True)
class Tuning:
    """Options of the tuning methods; each reads those that belong to it.

    Parameters
    ----------
    rank, alpha, dropout
        Of LoRA and its kin: rank; scale (the update is multiplied by alpha / rank); dropout in front.
    target_modules
        Names of linear layers to adapt; the family's usual ones if None.
    last_layers
        How many layers the method ``last-layers`` trains.
    """

    rank: int = 8
    alpha: float = 16
    dropout: float = 0.05
    target_modules: tuple[str, ...] | None = None
    last_layers: int = 2

    def __post_init__(self) -> None:
        if self.target_modules is not None:
            object.__setattr__(self, "target_modules", tuple(self.target_modules))
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"LoRA with rank {self.rank}, alpha {self.alpha}, dropout {self.dropout} makes no sense.",
                expected="rank at least 1, alpha above 0, dropout from 0 to below 1",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tuning:
        """Rebuild from :meth:`to_dict`; what an earlier version did not write has its default."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


class ParameterCounts(NamedTuple):
    """Numbers of parameters."""

    trainable: int
    total: int


def _freeze(backbone: Backbone, tuning: Tuning) -> None:
    """Train nothing."""


def _full(backbone: Backbone, tuning: Tuning) -> None:
    """Train every weight that takes part in the output."""
    untrained = {*backbone.family.unused, *backbone.family.fixed}
    beyond = {id(p) for module in backbone.beyond() for p in module.parameters()}
    for name, parameter in backbone.network.named_parameters():
        taking_part = not untrained & set(name.split(".")) and id(parameter) not in beyond
        parameter.requires_grad_(taking_part)


def _last_layers(backbone: Backbone, tuning: Tuning) -> None:
    """Train the last layers that take part in the output.

    Nothing below them has a gradient, so nothing below is kept for the backward pass.
    """
    stack, used = backbone.stack, backbone.used_layers
    check_trainable_layers(tuning.last_layers, used)
    trained = [*stack.blocks[used - tuning.last_layers : used]]
    trained += stack.after if used == backbone.n_layers else ()
    for module in trained:
        module.requires_grad_(True)


def _qlora(backbone: Backbone, tuning: Tuning) -> None:
    """LoRA beside weights in four bits."""
    if backbone.spec.kept_elsewhere:
        backbone.weights_hash()  # of what a saved model refers to; one that holds the weights holds these
    quantise(backbone.network, backbone.stack.blocks)
    adapters.adapt(adapters.lora, backbone, tuning)


TUNERS: Mapping[str, Callable[[Backbone, Tuning], None]] = {
    "freeze": _freeze,
    "last-layers": _last_layers,
    "lora": partial(adapters.adapt, adapters.lora),
    "dora": partial(adapters.adapt, adapters.dora),
    "adalora": partial(adapters.adapt, adapters.adalora),
    "ia3": partial(adapters.adapt, adapters.ia3),
    "qlora": _qlora,
    "ses-adapter": _freeze,  # the trained part is not in the backbone, see ProteinModel
    "full": _full,
}


def apply_method(backbone: Backbone, method: str, tuning: Tuning | None = None) -> None:
    """Choose what of a backbone is trained; once for each backbone.

    Parameters
    ----------
    backbone
        As loaded; changed in place.
    method
        A name of :data:`TUNERS`.
    tuning
        Its options.

    Raises
    ------
    ConfigError
        If the method is unknown or does not fit, or a target module matches nothing.
    """
    tuning = tuning or Tuning()
    if method not in TUNERS:
        raise ConfigError(f"No tuning method is called {method!r}.", expected=", ".join(TUNERS))
    if backbone.method != "freeze":
        raise ConfigError(f"The model is already prepared for {backbone.method!r}.", fix="load it again")
    if tuning.target_modules is not None and not METHODS[method].adapter:
        raise ConfigError(
            f"Target modules have no meaning with the method {method!r}.", fix="use --method lora"
        )
    TUNERS[method](backbone, tuning)
    backbone.method = method
    backbone.train(False)


def parameter_counts(module: nn.Module) -> ParameterCounts:
    """Count the parameters that are trained, and all."""
    parameters = list(module.parameters())
    return ParameterCounts(
        sum(count(p) for p in parameters if p.requires_grad), sum(count(p) for p in parameters)
    )
