"""Tokenizers as their repositories ship them, read as data: no class named by a file is imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profactory.errors import ModelLoadError

FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
_MAX_BYTES = 8 << 20
_PADS = ("<pad>", "[PAD]")
_UNKNOWNS = ("<unk>", "[UNK]")
_MASKS = ("<mask>", "[MASK]")


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer reduced to what embedding proteins needs.

    Parameters
    ----------
    vocabulary
        Token to id, added tokens included.
    encode
        From text to ids, special tokens included.
    """

    vocabulary: Mapping[str, int]
    encode: Callable[[str], list[int]]

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token."""
        return self._first(_PADS)

    @property
    def unknown_id(self) -> int | None:
        """Id that stands for what the vocabulary lacks."""
        return self._first(_UNKNOWNS)

    @property
    def mask_id(self) -> int | None:
        """Id of the mask of masked language modelling."""
        return self._first(_MASKS)

    def _first(self, names: tuple[str, ...]) -> int | None:
        return next((self.vocabulary[name] for name in names if name in self.vocabulary), None)


def open_tokenizer(folder: Path, model_type: str, *, trust_remote_code: bool = False) -> Tokenizer:
    """Read the tokenizer of a model folder.

    Raises
    ------
    ModelLoadError
        If its files are missing or damaged.
    """
    try:
        if model_type in _READERS:
            return _READERS[model_type](folder)
        return _remote(folder, trust_remote_code)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError) as error:
        raise ModelLoadError(
            f"The tokenizer in {folder} cannot be read: {error}",
            expected=f"one of the files {', '.join(FILES)} as the model's author published them",
        ) from error


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the tokenizer's files that a folder holds, so that a saved model can carry them."""
    found = {name: folder / name for name in FILES if (folder / name).is_file()}
    for file in found.values():
        if file.stat().st_size > _MAX_BYTES:
            raise ModelLoadError(
                f"{file} is larger than {_MAX_BYTES:,} bytes.", expected="a tokenizer's file"
            )
    return {name: file.read_bytes() for name, file in found.items()}


def _esm(folder: Path) -> Tokenizer:
    from transformers import EsmTokenizer

    return _from_transformers(EsmTokenizer(str(_existing(folder, "vocab.txt"))))


def _esmc(folder: Path) -> Tokenizer:
    from transformers import EsmcTokenizer

    return _from_transformers(EsmcTokenizer())  # one vocabulary for all checkpoints, part of the class


def _words(folder: Path) -> Tokenizer:
    """BERT and RoFormer: one residue per word, upper case."""
    from transformers import BertTokenizer

    if not (folder / "vocab.txt").is_file():
        return _fast(folder)
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
    vocabulary = {line.strip(): index for index, line in enumerate(lines) if line.strip()}
    special = _special_tokens(vocabulary)
    return _from_transformers(BertTokenizer(vocab=vocabulary, do_lower_case=False, **special))


def _special_tokens(vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """Names of the special tokens, if the vocabulary has others than BERT's."""
    if "[CLS]" in vocabulary or "<cls>" not in vocabulary:
        return {}
    names = {"cls": "<cls>", "sep": "<eos>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    return {f"{key}_token": token for key, token in names.items()}


def _pieces(folder: Path) -> Tokenizer:
    """T5: SentencePiece's own file where there is one, else ``tokenizer.json``."""
    if (folder / "spiece.model").is_file():
        return _sentencepiece(folder)
    return _fast(folder)


def _sentencepiece(folder: Path) -> Tokenizer:
    from sentencepiece import SentencePieceProcessor

    _existing(folder, "spiece.model")
    processor = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    added = _added_tokens(folder)
    size = processor.get_piece_size()
    vocabulary = {processor.id_to_piece(index): index for index in range(size)} | added
    end = processor.eos_id()

    def encode(text: str) -> list[int]:
        ids: list[int] = []
        for word in text.split():
            ids += [added[word]] if word in added else processor.encode(word)
        return [*ids, end]

    return Tokenizer(vocabulary, encode)


def _added_tokens(folder: Path) -> dict[str, int]:
    """Tokens that were added behind SentencePiece's own, from either place that has them."""
    if (folder / "added_tokens.json").is_file():
        listed = json.loads((folder / "added_tokens.json").read_text(encoding="utf-8"))
        return {str(token): int(index) for token, index in listed.items()}
    if (folder / "tokenizer_config.json").is_file():
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        entries = config.get("added_tokens_decoder", {})
        return {str(entry["content"]): int(index) for index, entry in entries.items()}
    return {}


def _fast(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer as FastTokenizer

    text = _existing(folder, "tokenizer.json").read_text(encoding="utf-8")
    json.loads(text)  # a clear error where the file is no JSON; the reader below only says "invalid"
    fast = FastTokenizer.from_str(text)
    fast.no_padding()
    fast.no_truncation()
    return Tokenizer(fast.get_vocab(with_added_tokens=True), lambda text: list(fast.encode(text).ids))


def _remote(folder: Path, trust_remote_code: bool) -> Tokenizer:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        folder, trust_remote_code=trust_remote_code, local_files_only=True
    )
    return _from_transformers(tokenizer)


def _from_transformers(tokenizer: Any) -> Tokenizer:
    return Tokenizer(tokenizer.get_vocab(), lambda text: list(tokenizer(text)["input_ids"]))


def _existing(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.is_file():
        raise ModelLoadError(
            f"{name} is missing in {folder}.", expected="the tokenizer's files beside the weights"
        )
    if file.stat().st_size > _MAX_BYTES:
        raise ModelLoadError(f"{file} is larger than {_MAX_BYTES:,} bytes.", expected="a tokenizer's file")
    return file


_READERS: Mapping[str, Callable[[Path], Tokenizer]] = {
    "esm": _esm,
    "esmc": _esmc,
    "bert": _words,
    "roformer": _words,
    "t5": _pieces,
}
