"""The table look-up against the library's tokenizers, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer as FastTokenizer
from transformers import BertTokenizer, EsmcTokenizer, EsmTokenizer

from profactory.errors import ConfigError, ModelLoadError, RowError
from profactory.models.backbone import Backbone
from profactory.models.families import FAMILIES, recognise
from profactory.models.tokenizing import build_table
from profactory.models.vocabulary import Tokenizer
from tests.support.models import PROTBERT_VOCABULARY, tiny_repo

Frozen = Callable[[str], Backbone]
LETTERS = "ACDEFGHIKLMNPQRSTVWYXBZUO"


def esm_ids(folder: Path, sequence: str) -> list[int]:
    return EsmTokenizer(str(folder / "vocab.txt"))(sequence)["input_ids"]


def saprot_ids(folder: Path, sequence: str) -> list[int]:
    known = [letter if letter in LETTERS[:20] else "#" for letter in sequence]
    return EsmTokenizer(str(folder / "vocab.txt"))("".join(f"{letter}#" for letter in known))["input_ids"]


def esmc_ids(folder: Path, sequence: str) -> list[int]:
    return EsmcTokenizer()(sequence)["input_ids"]


def bert_ids(folder: Path, sequence: str) -> list[int]:
    vocabulary = {token: i for i, token in enumerate(PROTBERT_VOCABULARY)}
    plain = "".join("X" if letter in "UZOB" else letter for letter in sequence)
    return BertTokenizer(vocab=vocabulary, do_lower_case=False)(" ".join(plain))["input_ids"]


def prott5_ids(folder: Path, sequence: str) -> list[int]:
    plain = "".join("X" if letter in "UZOB" else letter for letter in sequence)
    return [*SentencePieceProcessor(model_file=str(folder / "spiece.model")).encode(" ".join(plain)), 1]


def prostt5_ids(folder: Path, sequence: str) -> list[int]:
    return [61, *prott5_ids(folder, sequence)]  # 61 is <AA2fold> in added_tokens.json


def ankh3_ids(folder: Path, sequence: str) -> list[int]:
    plain = "".join("X" if letter in "UZOB" else letter for letter in sequence)
    return [*SentencePieceProcessor(model_file=str(folder / "spiece.model")).encode("[NLU]" + plain), 1]


def fast_ids(folder: Path, sequence: str) -> list[int]:
    return FastTokenizer.from_file(str(folder / "tokenizer.json")).encode(sequence).ids


def ankh_ids(folder: Path, sequence: str) -> list[int]:
    return fast_ids(folder, "".join("X" if letter in "UZOB" else letter for letter in sequence))


REFERENCES = {
    "esm": esm_ids,
    "esm1b": esm_ids,
    "saprot": saprot_ids,
    "esmc": esmc_ids,
    "bert": bert_ids,
    "prott5": prott5_ids,
    "prostt5": prostt5_ids,
    "ankh": ankh_ids,
    "ankh3": ankh3_ids,
    "roformer": fast_ids,
    "roformer-subword": fast_ids,
}


@pytest.mark.parametrize("family", REFERENCES)
@settings(max_examples=25, deadline=None)
@given(sequence=st.text(LETTERS, min_size=1, max_size=40))
def test_ids_equal_those_of_the_real_tokenizer(
    family: str, repo: Callable[[str], Path], frozen: Frozen, sequence: str
) -> None:
    (ids,) = frozen(family).tokenize([sequence], 60)
    assert ids.tolist() == REFERENCES[family](repo(family), sequence)


def test_prostt5_reads_structure_in_the_place_of_residues(frozen: Frozen) -> None:
    """As its card says: lower case, spaces, <fold2AA> in front; an unknown letter is ProtT5's X."""
    text = "<fold2AA> d v X a </s>".replace("X", "▁X")
    added = {"<fold2AA>": 60, "a": 62, "v": 65, "d": 69, "</s>": 1}
    processor = SentencePieceProcessor(model_file=str(Path(frozen("prostt5").spec.source) / "spiece.model"))
    expected = [added[word] if word in added else processor.piece_to_id(word) for word in text.split()]
    backbone = frozen("prostt5")
    (ids,) = backbone.tokenize(["MKTA"], 60, ["DV#A"])
    assert ids.tolist() == expected
    (other,) = backbone.tokenize(["WWWW"], 60, ["dvxa"])
    assert other.tolist() == expected  # the residues are not read
    batch = backbone.collate([ids])
    assert batch.lengths.tolist() == [4]


@pytest.mark.parametrize("family", REFERENCES)
def test_families_are_recognised_by_configuration_and_vocabulary(family: str, frozen: Frozen) -> None:
    assert frozen(family).family.name == ("esm" if family == "esm1b" else family)


def test_esm_ids_worked_out_by_hand(frozen: Frozen) -> None:
    # <cls> M K T J(as X) <eos> in the ESM vocabulary
    assert frozen("esm").tokenize(["MKTJ"])[0].tolist() == [0, 20, 15, 11, 24, 2]


def test_lower_case_is_read_as_upper_case(frozen: Frozen) -> None:
    upper, lower = frozen("esm").tokenize(["MKTX", "mktx"])
    assert upper.tolist() == lower.tolist()


def test_max_length_counts_residues_not_tokens_or_spaces(frozen: Frozen) -> None:
    """A17: with spaces between residues a limit of 30 must still keep 30 residues."""
    for family in ("bert", "prott5", "prostt5", "esm"):
        backbone = frozen(family)
        batch = backbone.collate(backbone.tokenize(["A" * 50], 30))
        assert batch.lengths.tolist() == [30]


def test_truncation_keeps_the_special_tokens(frozen: Frozen) -> None:
    (ids,) = frozen("esm").tokenize(["MKTAAA"], 3)
    assert ids.tolist() == [0, 20, 15, 11, 2]


@pytest.mark.parametrize("bad", ["MK T", "MK*", "MK1", "MKé", "MK-"])
def test_what_is_no_residue_letter_is_refused(frozen: Frozen, bad: str) -> None:
    with pytest.raises(RowError, match="no residue"):
        frozen("esm").tokenize([bad])
    with pytest.raises(RowError, match="no residue"):
        frozen("roformer-subword").tokenize([bad])


def test_empty_sequences_are_all_named(frozen: Frozen) -> None:
    with pytest.raises(RowError) as caught:
        frozen("esm").tokenize(["MK", "", "A", ""])
    assert [problem.line for problem in caught.value.problems] == [1, 3]


def test_a_text_instead_of_a_list_is_refused(frozen: Frozen) -> None:
    with pytest.raises(RowError, match="not one text"):
        frozen("esm").tokenize("MKT")


def test_more_residues_than_positions_are_refused(frozen: Frozen) -> None:
    # 66 positions, of which ESM-1b spends 2 on the padding index and 2 on special tokens
    assert frozen("esm1b").position_limit == 62
    with pytest.raises(ConfigError, match="1 to 62"):
        frozen("esm1b").tokenize(["M"], 63)
    with pytest.raises(ConfigError):
        frozen("esm").tokenize(["M"], 0)
    assert len(frozen("esm").tokenize(["M" * 3000], 3000)[0]) == 3002  # rotary positions have no limit


def test_a_tokenizer_that_joins_residues_is_refused() -> None:
    joining = Tokenizer({"<unk>": 0}, lambda text: [0, *range(len(text.replace("KT", "J"))), 2])
    with pytest.raises(ModelLoadError, match="does not write sequences"):
        build_table(joining, FAMILIES["esm"])


def test_a_vocabulary_without_amino_acids_is_refused(tmp_path: Path) -> None:
    folder = tiny_repo("esm", tmp_path / "model")
    (folder / "vocab.txt").write_text("<cls>\n<pad>\n<eos>\n<unk>\nhello\nworld", encoding="utf-8")
    from profactory.models.zoo import resolve

    with pytest.raises(ModelLoadError, match="20 amino acids are unknown"):
        Backbone.load(resolve(str(folder)))


def test_a_path_does_not_make_a_family() -> None:
    with pytest.raises(ModelLoadError, match="'gpt2' are not supported"):
        recognise("gpt2", ())
