"""The tuning methods: what each is for, which settings belong to it, how fast it usually learns.

One entry in :data:`METHODS` and one function in :data:`profactory.models.tuning.TUNERS` are a method.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

MethodName = Literal[
    "auto", "freeze", "last-layers", "lora", "dora", "adalora", "ia3", "qlora", "ses-adapter", "full"
]


@dataclass(frozen=True)
class Method:
    """Facts about one method.

    Parameters
    ----------
    summary
        What is trained, in a few words.
    rates
        Usual peak learning rate on a small and on a large model.
    options
        Settings that mean something to it and not to every method.
    frozen
        Whether the backbone's output never changes, so that it can be computed once.
    per_residue
        Whether something is trained between residues and pooling, which then is not computed once.
    adapter
        Whether what is trained in the backbone is an adapter of PEFT, beside unchanged weights.
    quantised
        Whether these unchanged weights are in four bits.
    """

    summary: str
    rates: tuple[float, float]
    options: tuple[str, ...] = ()
    frozen: bool = False
    per_residue: bool = False
    adapter: bool = False
    quantised: bool = False

    @property
    def changes_weights(self) -> bool:
        """Whether the pre-trained weights themselves are trained."""
        return not (self.frozen or self.adapter)


#: Settings of structure strings: they belong to a method, or to a model whose tokens hold structure.
STRUCTURE_SETTINGS = ("structure_columns", "structures")
#: Of every method that trains something in the backbone: the others read embeddings that are computed once.
_AUGMENT = ("augment", "augment_rate", "augment_crop")
_BACKBONE = ("gradient_checkpointing", "head_learning_rate", *_AUGMENT)
_TARGETS = (*_BACKBONE, "lora_target_modules")
_LORA = (*_TARGETS, "lora_rank", "lora_alpha", "lora_dropout")

METHODS: Mapping[str, Method] = {
    "freeze": Method("a head on fixed embeddings", (1e-3, 1e-3), frozen=True),
    "lora": Method("matrices of low rank beside attention", (1e-3, 5e-4), _LORA, adapter=True),
    "dora": Method("LoRA with the length of each weight apart", (1e-3, 5e-4), _LORA, adapter=True),
    "adalora": Method("LoRA that moves rank where it helps", (2e-3, 1e-3), _LORA, adapter=True),
    "ia3": Method("scales of keys, values and feed-forward", (5e-3, 3e-3), _TARGETS, adapter=True),
    "qlora": Method("LoRA beside weights in four bits", (1e-3, 5e-4), _LORA, adapter=True, quantised=True),
    "ses-adapter": Method(
        "attention from fixed residues to structure strings",
        (1e-3, 5e-4),
        STRUCTURE_SETTINGS,
        frozen=True,
        per_residue=True,
    ),
    "last-layers": Method("the last N layers", (3e-4, 5e-5), (*_BACKBONE, "unfreeze_layers")),
    "full": Method("every weight", (3e-4, 3e-5), _BACKBONE),
}


def misplaced(method: str, given: Collection[str], *, structure_tokens: bool = False) -> list[str]:
    """Say of each given setting that has no meaning with a method where it has one.

    Parameters
    ----------
    method
        A name of :data:`METHODS`, or ``auto``: then some method must understand all of `given`.
    given
        Names of settings that the user gave; those that belong to every method do not matter.
    structure_tokens
        Whether the model's tokens hold structure, or may: then settings of structures go with any method.
    """
    if structure_tokens:
        given = [name for name in given if name not in STRUCTURE_SETTINGS]
    special = {option for entry in METHODS.values() for option in entry.options}
    wanted = [name for name in given if name in special]
    if method == "auto":
        if not wanted or implied_method(given, structure_tokens=structure_tokens):
            return []
        return [f"no method has {' and '.join(wanted)} together; give one of them"]
    return [
        f"{name} has no meaning with method {method}; it belongs to {', '.join(_having(name))}"
        for name in wanted
        if name not in METHODS[method].options
    ]


def implied_method(given: Collection[str], *, structure_tokens: bool = False) -> str | None:
    """Return the first method that understands all special settings of `given`; None if there are none.

    Settings of structures imply none if the model's tokens hold structure.
    """
    special = {option for entry in METHODS.values() for option in entry.options}
    wanted = special.intersection(given) - set(STRUCTURE_SETTINGS if structure_tokens else ())
    fitting = (name for name, entry in METHODS.items() if wanted <= set(entry.options))
    return next(fitting, None) if wanted else None


def _having(option: str) -> list[str]:
    methods = [name for name, entry in METHODS.items() if option in entry.options]
    return [*methods, "models such as SaProt and ProstT5"] if option in STRUCTURE_SETTINGS else methods
