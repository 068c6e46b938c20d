"""Tiny pre-trained models with random weights, in the layout that model repositories have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

# The 33 tokens of ESM-1b, ESM-1v and ESM-2, in the order of their ids.
_ESM_TOKENS = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>"
ESM_VOCABULARY = tuple(_ESM_TOKENS.split())


def tiny_esm(
    directory: Path, *, layers: int = 2, width: int = 32, heads: int = 2, seed: int = 0, **config: Any
) -> Path:
    """Write an ESM-2 model with random weights and the real tokenizer's files.

    Parameters
    ----------
    directory
        Folder to write into; made if needed.
    layers, width, heads
        Size of the network.
    seed
        Seed of the weights.
    config
        Further fields of ``EsmConfig``.

    Returns
    -------
    Path
        `directory`.
    """
    from transformers import EsmConfig, EsmForMaskedLM

    fields = {
        "vocab_size": len(ESM_VOCABULARY),
        "pad_token_id": 1,
        "mask_token_id": 32,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 1026,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": True,
        "layer_norm_eps": 1e-5,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    save_tiny(EsmForMaskedLM, EsmConfig(**{**fields, **config}), directory, seed)
    write_esm_tokenizer(directory)
    return directory


def save_tiny(model_class: Any, config: Any, directory: Path, seed: int) -> None:
    """Write `config` and random weights that depend on the seed alone.

    The weights are spread wider than a fresh initialisation, so that a wrong position or mask shows.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, 0.2)
                elif name.endswith("bias"):
                    parameter.normal_(0.0, 0.05)
    model.save_pretrained(directory)


def write_esm_tokenizer(directory: Path, vocabulary: Sequence[str] = ESM_VOCABULARY) -> None:
    """Write the tokenizer files of an ESM repository."""
    (directory / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    special = {f"{name}_token": f"<{name}>" for name in ("cls", "eos", "mask", "pad", "unk")}
    write_json(directory / "special_tokens_map.json", special)
    write_json(directory / "tokenizer_config.json", {"tokenizer_class": "EsmTokenizer", **special})


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write plain JSON."""
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")


# --- the other families

PROTBERT_VOCABULARY = tuple(
    "[PAD] [UNK] [CLS] [SEP] [MASK] L A G V E S I K R D T P N Q F Y M H C W X U B Z O".split()  # noqa: SIM905
)
STRUCTURE_LETTERS = "pynwrqhgdlvtmfsaeikc#"
SAPROT_VOCABULARY = (
    *("<cls>", "<pad>", "<eos>", "<unk>", "<mask>"),
    *(residue + structure for residue in "ACDEFGHIKLMNPQRSTVWY#" for structure in STRUCTURE_LETTERS),
)
FAMILY_NAMES = (
    *("esm", "esm1b", "saprot", "esmc", "bert", "prott5", "prostt5", "ankh", "ankh3"),
    *("roformer", "roformer-subword"),
)


def tiny_repo(family: str, directory: Path, *, seed: int = 0) -> Path:
    """Write a tiny repository of a family: the library's own classes, random weights, the real tokenizer.

    `family` is a name of :data:`FAMILY_NAMES`; ``esm1b`` is the family ``esm`` with learned positions.
    """
    _MAKERS[family](directory, seed)
    return directory


def _esm1b(directory: Path, seed: int) -> None:
    tiny_esm(
        directory,
        seed=seed,
        position_embedding_type="absolute",
        emb_layer_norm_before=True,
        max_position_embeddings=66,
    )


def _saprot(directory: Path, seed: int) -> None:
    tiny_esm(directory, seed=seed, vocab_size=len(SAPROT_VOCABULARY), mask_token_id=4)
    write_esm_tokenizer(directory, SAPROT_VOCABULARY)


def _esmc(directory: Path, seed: int) -> None:
    from transformers import EsmcConfig, EsmcForMaskedLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    save_tiny(EsmcForMaskedLM, EsmcConfig(**sizes, max_position_embeddings=128), directory, seed)


def _bert(directory: Path, seed: int) -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(PROTBERT_VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    save_tiny(BertForMaskedLM, config, directory, seed)
    (directory / "vocab.txt").write_text("\n".join(PROTBERT_VOCABULARY), encoding="utf-8")
    write_json(directory / "tokenizer_config.json", {"do_lower_case": False})


def _t5(directory: Path, seed: int, vocabulary_size: int, feed_forward: str = "relu") -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=vocabulary_size,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        feed_forward_proj=feed_forward,
    )
    save_tiny(T5ForConditionalGeneration, config, directory, seed)


def _prott5(directory: Path, seed: int, vocabulary_size: int = 64) -> None:
    _t5(directory, seed, vocabulary_size)
    words = [" ".join(residue for residue in RESIDUES_X) for _ in range(50)]
    # 3 special tokens, the space mark and 21 letters, and ProtT5's pieces: a space mark and a residue.
    train_sentencepiece(directory / "spiece.model", words, "bpe", 3 + 22 + 21)
    write_json(directory / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer"})


def _prostt5(directory: Path, seed: int) -> None:
    _prott5(directory, seed, 84)
    letters = {letter: 62 + index for index, letter in enumerate("algvsrednqtkhfyicwmp")}
    write_json(directory / "added_tokens.json", {"<fold2AA>": 60, "<AA2fold>": 61, **letters})


def _ankh(directory: Path, seed: int) -> None:
    from tokenizers import Tokenizer, models, processors

    _t5(directory, seed, 64, "gated-gelu")
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -1.0) for letter in RESIDUES_X)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))


def _ankh3(directory: Path, seed: int) -> None:
    _t5(directory, seed, 64, "gated-gelu")
    train_sentencepiece(directory / "spiece.model", [RESIDUES_X] * 50, "char", 48, ["[NLU]", "[S2S]"])


def _roformer(directory: Path, seed: int) -> None:
    _roformer_with(directory, seed, [])


def _roformer_subword(directory: Path, seed: int) -> None:
    _roformer_with(directory, seed, [("S", "L"), ("SL", "G"), ("A", "K"), ("K", "K")])


def _roformer_with(directory: Path, seed: int, merges: list[tuple[str, str]]) -> None:
    from tokenizers import Tokenizer, models, processors
    from transformers import RoFormerConfig, RoFormerForMaskedLM

    tokens = ["<pad>", "<cls>", "<eos>", "<unk>", "<mask>", *"ABCDEFGHIKLMNOPQRSTUVWXYZ"]
    tokens += [first + second for first, second in merges]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<cls> $A <eos>", special_tokens=[("<cls>", 1), ("<eos>", 2)]
    )
    config = RoFormerConfig(
        vocab_size=len(tokens),
        embedding_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    save_tiny(RoFormerForMaskedLM, config, directory, seed)
    tokenizer.save(str(directory / "tokenizer.json"))


RESIDUES_X = "ACDEFGHIKLMNPQRSTVWYX"


def train_sentencepiece(
    file: Path, sentences: list[str], kind: str, size: int, symbols: Sequence[str] = ()
) -> None:
    """Train a SentencePiece model with T5's special tokens."""
    import sentencepiece

    with file.open("wb") as handle:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=handle,
            model_type=kind,
            vocab_size=size,
            hard_vocab_limit=False,
            user_defined_symbols=list(symbols),
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )


_MAKERS: dict[str, Callable[[Path, int], None]] = {
    "esm": lambda directory, seed: (tiny_esm(directory, seed=seed), None)[1],
    "esm1b": _esm1b,
    "saprot": _saprot,
    "esmc": _esmc,
    "bert": _bert,
    "prott5": _prott5,
    "prostt5": _prostt5,
    "ankh": _ankh,
    "ankh3": _ankh3,
    "roformer": _roformer,
    "roformer-subword": _roformer_subword,
}
