"""What ProFactory knows about each family of protein language models. Free of torch.

A family is recognised from the ``model_type`` of a repository's ``config.json`` and, where one
architecture is spelled in several ways, from its vocabulary; never from a name or path.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from profactory.errors import ModelLoadError

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DEFAULT_MAX_LENGTH = 2048  # residues, for architectures without a limit of their own

_RARE = dict.fromkeys("UZOBJ", "X")  # as ProtTrans and Ankh were trained
_UNKNOWN = {"J": "X"}  # ESM vocabularies know B, O, U and Z, but not "leucine or isoleucine"


@dataclass(frozen=True)
class Spelling:
    """How a sequence of residue letters is written for a tokenizer.

    Parameters
    ----------
    replace
        Letters that the vocabulary lacks, and what is written instead.
    separator
        Text between residues: a space where the tokenizer splits words.
    prefix
        Text in front of the sequence, such as ProstT5's ``<AA2fold>``.
    suffix
        Text behind every residue.
    structure
        Kind of structure string that the model reads; see :mod:`profactory.data.structure_strings`. Its
        letters, in lower case, stand in the place of `suffix` where they are known. Empty for models that
        read none.
    structure_prefix
        For models that read residues or structure, but not both at once, such as ProstT5: the text in
        front of structure letters, which then stand in the place of the residues. X is the unknown one.
    """

    replace: Mapping[str, str] = field(default_factory=dict)
    separator: str = ""
    prefix: str = ""
    suffix: str = ""
    structure: str = ""
    structure_prefix: str = ""

    def spell(self, sequence: str, structure: str | None = None) -> str:
        """Write `sequence`, with its structure string if there is one, as the tokenizer expects it."""
        if structure is not None and self.structure_prefix:
            letters = [self._mark(letter) or "X" for letter in structure.upper()]
            return self.separator.join([self.structure_prefix, *letters])
        marks = [self.suffix] * len(sequence) if structure is None else map(self._mark, structure.upper())
        pairs = zip(sequence.upper(), marks, strict=True)
        letters = [self.replace.get(letter, letter) + mark for letter, mark in pairs]
        return self.separator.join([self.prefix, *letters] if self.prefix else letters)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {
            "replace": dict(self.replace),
            "separator": self.separator,
            "prefix": self.prefix,
            "suffix": self.suffix,
            "structure": self.structure,
            "structure_prefix": self.structure_prefix,
        }

    def _mark(self, letter: str) -> str:
        """Return a structure letter as the vocabulary has it; 3Di is written with the letters of residues."""
        return letter.lower() if letter in RESIDUES else self.suffix


@dataclass(frozen=True)
class Family:
    """One architecture with one way of spelling.

    Parameters
    ----------
    name
        Ours, as in the catalogue.
    model_type
        Of ``config.json``.
    model_class, config_class
        Names of the classes in ``transformers``; empty if the repository brings its own code.
    tokenizer
        Which reader of :mod:`profactory.models.tokenizers` fits.
    before, after
        Special tokens in front of the first and behind the last residue. `before` is None where it is
        the tokenizer's choice: SentencePiece may write its space mark as a token of its own.
    has_cls
        Whether the first token stands for the whole sequence.
    lora_targets, ia3_targets
        Names of the layers that LoRA and its kin, and IA3, adapt unless the user says otherwise; see
        :func:`profactory.models.adapters.matches`.
    feed_forward
        Names of the second layer of the feed-forward block: IA3 scales what goes into it.
    unused
        Modules whose parameters take no part in computing hidden states.
    fixed
        Modules whose parameters are tables that are never trained, such as sinusoids.
    spelling
        How sequences are written.
    load_options
        Keyword arguments of the model class.
    subwords
        Whether a token may stand for several residues.
    needs_structure
        Whether the model cannot run without structure tokens, which it takes as an input of their own.
    """

    name: str
    model_type: str
    model_class: str
    config_class: str
    tokenizer: str
    before: int | None
    after: int
    has_cls: bool
    lora_targets: tuple[str, ...]
    ia3_targets: tuple[str, ...] = ()
    feed_forward: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    spelling: Spelling = Spelling()
    load_options: Mapping[str, Any] = field(default_factory=dict)
    subwords: bool = False
    needs_structure: bool = False

    @property
    def remote_code(self) -> bool:
        """Whether the model runs only by Python code from its repository."""
        return not self.model_class


_QKV = ("query", "key", "value")
_BERT_LIKE: dict[str, Any] = {
    "lora_targets": _QKV,
    "ia3_targets": ("key", "value", "layer.*.output.dense"),
    "feed_forward": ("layer.*.output.dense",),
}
_ESM: dict[str, Any] = {
    "model_type": "esm",
    "model_class": "EsmModel",
    "config_class": "EsmConfig",
    "tokenizer": "esm",
    "before": 1,
    "after": 1,
    "has_cls": True,
    **_BERT_LIKE,
    "unused": ("contact_head", "pooler"),
    "load_options": {"add_pooling_layer": False},
}
_T5: dict[str, Any] = {
    "model_type": "t5",
    "model_class": "T5EncoderModel",
    "config_class": "T5Config",
    "tokenizer": "sentencepiece",
    "after": 1,
    "has_cls": False,
    "lora_targets": ("q", "k", "v"),
    "ia3_targets": ("k", "v", "wo"),
    "feed_forward": ("wo",),
}
_ROFORMER: dict[str, Any] = {
    "model_type": "roformer",
    "model_class": "RoFormerModel",
    "config_class": "RoFormerConfig",
    "tokenizer": "fast",
    "before": 1,
    "after": 1,
    "has_cls": True,
    **_BERT_LIKE,
    "fixed": ("embed_positions",),
    "spelling": Spelling(replace=_UNKNOWN),
}
_REMOTE: dict[str, Any] = {
    "model_class": "",
    "config_class": "",
    "tokenizer": "remote",
    "before": 1,
    "after": 1,
    "has_cls": True,
    "spelling": Spelling(replace=_RARE),
}

_FAMILIES = (
    Family(name="esm", spelling=Spelling(replace=_UNKNOWN), **_ESM),
    # SaProt has no X: "#" is its unknown residue, and a second "#" the unknown structure.
    Family(
        name="saprot",
        spelling=Spelling(replace=dict.fromkeys("XUZOBJ", "#"), suffix="#", structure="3di"),
        **_ESM,
    ),
    Family(
        name="esmc",
        model_type="esmc",
        model_class="EsmcModel",
        config_class="EsmcConfig",
        tokenizer="esmc",
        before=1,
        after=1,
        has_cls=True,
        lora_targets=("q_proj", "k_proj", "v_proj"),
        ia3_targets=("k_proj", "v_proj", "down_proj"),
        feed_forward=("down_proj",),
        spelling=Spelling(replace=_UNKNOWN),
    ),
    Family(
        name="bert",
        model_type="bert",
        model_class="BertModel",
        config_class="BertConfig",
        tokenizer="bert",
        before=1,
        after=1,
        has_cls=True,
        **_BERT_LIKE,
        unused=("pooler",),
        spelling=Spelling(replace=_RARE, separator=" "),
        load_options={"add_pooling_layer": False},
    ),
    Family(name="prott5", before=0, spelling=Spelling(replace=_RARE, separator=" "), **_T5),
    Family(
        name="prostt5",
        before=1,
        spelling=Spelling(
            replace=_RARE,
            separator=" ",
            prefix="<AA2fold>",
            structure="3di",
            structure_prefix="<fold2AA>",
        ),
        **_T5,
    ),
    Family(name="ankh", before=None, spelling=Spelling(replace=_RARE), **_T5),
    Family(name="ankh3", before=None, spelling=Spelling(replace=_RARE, prefix="[NLU]"), **_T5),
    Family(name="roformer", **_ROFORMER),
    Family(name="roformer-subword", subwords=True, **_ROFORMER),
    Family(
        name="prosst",
        model_type="ProSST",
        lora_targets=("query_proj", "key_proj", "value_proj"),
        needs_structure=True,
        **_REMOTE | {"spelling": Spelling(replace=_RARE, structure="prosst")},
    ),
    Family(name="prime", model_type="proprime", lora_targets=_QKV, **_REMOTE),
    Family(name="venusplm", model_type="transformer", lora_targets=("q_proj", "k_proj", "v_proj"), **_REMOTE),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _FAMILIES}


def check_model_type(model_type: str) -> None:
    """Refuse architectures that no family has.

    Raises
    ------
    ModelLoadError
        Naming those that there are.
    """
    known = sorted({family.model_type for family in _FAMILIES})
    if model_type not in known:
        raise ModelLoadError(
            f"Models of type {model_type!r} are not supported.",
            expected=f"model_type in config.json one of: {', '.join(known)}",
            fix="see `profactory models list`",
        )


def recognise(model_type: str, vocabulary: Container[str]) -> Family:
    """Return the family of a model.

    Parameters
    ----------
    model_type
        From ``config.json``.
    vocabulary
        Tokens that the tokenizer knows; it tells apart families that share an architecture.

    Raises
    ------
    ModelLoadError
        If no family has that model type.
    """
    check_model_type(model_type)
    candidates = [family for family in _FAMILIES if family.model_type == model_type]
    return next(family for family in candidates if _speaks(family, vocabulary))


def _speaks(family: Family, vocabulary: Container[str]) -> bool:
    """Whether the vocabulary is spelled as `family` spells; the last of an architecture takes the rest."""
    tests: dict[str, bool] = {
        "esm": "M#" not in vocabulary,
        "prott5": "▁M" in vocabulary and "<AA2fold>" not in vocabulary,
        "prostt5": "<AA2fold>" in vocabulary,
        "ankh": "[NLU]" not in vocabulary,
        "roformer": not any(first + second in vocabulary for first in RESIDUES for second in RESIDUES),
    }
    return tests.get(family.name, True)
