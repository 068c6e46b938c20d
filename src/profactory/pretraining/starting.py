"""Where a pretraining starts: a new network, or one that is continued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from profactory.errors import ConfigError
from profactory.models.adapters import attach
from profactory.models.architecture import position_limit, read_model_type, usual_length
from profactory.models.families import FAMILIES, recognise
from profactory.models.fetching import fetch
from profactory.models.loading import check_runnable, load_network
from profactory.models.vocabulary import open_tokenizer, read_files
from profactory.models.zoo import ModelSpec, read_config
from profactory.pretraining.masking import Vocabulary
from profactory.pretraining.network import MAX_POSITIONS, build_config, build_model, start_local_attention

#: Blocks, width and heads by the size's name; the bundled model's, and ESM-2's
#: (Lin et al. 2023, https://doi.org/10.1126/science.ade2574).
SIZES: Mapping[str, tuple[int, int, int]] = {
    "mini": (4, 256, 4),
    "8m": (6, 320, 20),
    "35m": (12, 480, 20),
    "150m": (30, 640, 20),
}
#: Families whose networks have a masked-language-model head, and its class in transformers.
_MASKED: Mapping[str, str] = {
    "esm": "EsmForMaskedLM",
    "esmc": "EsmcForMaskedLM",
    "bert": "BertForMaskedLM",
    "roformer": "RoFormerForMaskedLM",
}
_T5 = "it learnt by filling in spans with a decoder, of which only the encoder is used here"
_REASONS: Mapping[str, str] = {
    "saprot": "its tokens are pairs of a residue and a structure letter, which sequences alone do not give",
    "roformer-subword": "its tokens stand for several residues",
    **dict.fromkeys(("prott5", "prostt5", "ankh", "ankh3"), _T5),
}


@dataclass(frozen=True)
class Start:
    """A language model before its (further) training.

    Parameters
    ----------
    model
        With a masked-language-model head, on the CPU; with an adapter if the method is ``lora``.
    vocabulary
        Its token ids.
    max_length
        Residues that it reads.
    tokenizer_files
        Name to content; None for ESM-2's.
    """

    model: Any
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    max_length: int = MAX_POSITIONS - 4
    tokenizer_files: Mapping[str, bytes] | None = None

    def finished_model(self) -> Any:
        """Return the model with its adapter, if there is one, merged into the weights."""
        merge = getattr(self.model, "merge_and_unload", None)
        return merge() if merge else self.model


def new_model(layers: int, width: int, heads: int | None, *, seed: int) -> Start:
    """Return a network with random weights whose heads look at near neighbours first."""
    model = build_model(build_config(width, layers, heads), seed)
    start_local_attention(model)
    return Start(model)


def check_continuable(spec: ModelSpec) -> None:
    """Refuse a model without a masked-language-model head, as far as its catalogue entry tells.

    Raises
    ------
    ConfigError
        Saying why it cannot be continued.
    """
    if not spec.family or spec.family in _MASKED:
        return
    reason = _REASONS.get(spec.family, "it runs only by code from its own repository")
    raise ConfigError(
        f"{spec.name} cannot be pretrained further: {reason}.",
        expected=f"a model of the families {', '.join(_MASKED)}",
        fix="--init with another model, such as esm2-8m or mini; see `profactory models list`",
    )


def continued_model(
    spec: ModelSpec, method: str, *, lora_rank: int = 8, lora_alpha: int = 16, seed: int = 0
) -> Start:
    """Load a model with its masked-language-model head, all of it or an adapter to be trained.

    Raises
    ------
    ConfigError
        Its family has no such head.
    ModelLoadError
        It cannot be got or is damaged, or the file holds no such head.
    """
    check_continuable(spec)
    spec, folder = fetch(spec)
    model_type = read_model_type(read_config(folder), spec)
    check_runnable(folder, model_type, trust_remote_code=False)
    tokenizer = open_tokenizer(folder, model_type)
    family = recognise(model_type, tokenizer.vocabulary)
    check_continuable(replace(spec, family=family.name))
    unused = tuple(name for name in family.unused if name != "lm_head")
    with_head = replace(family, model_class=_MASKED[family.name], load_options={}, unused=unused)
    model: Any = load_network(folder, with_head, dtype=torch.float32, attention="auto")
    longest = usual_length(family, model.config, spec, position_limit(family, model.config))
    untrained = {*family.unused, *family.fixed}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not untrained & set(name.split(".")))
    if method == "lora":
        model = _with_adapter(model, FAMILIES[family.name].lora_targets, lora_rank, lora_alpha, seed)
    vocabulary = Vocabulary.of(tokenizer.vocabulary, family.spelling.replace)
    return Start(model, vocabulary, longest, read_files(folder))


def _with_adapter(model: Any, targets: tuple[str, ...], rank: int, alpha: int, seed: int) -> Any:
    """Put low-rank matrices beside the attention projections (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""
    from peft import LoraConfig  # slow to import, and needed for adapters only

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return attach(model, config)
