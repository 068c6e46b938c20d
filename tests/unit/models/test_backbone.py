"""Residue i of the output is residue i of the input, whatever else is in the batch, for every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from profactory.errors import ConfigError
from profactory.models.backbone import Backbone
from profactory.models.zoo import resolve
from tests.support.models import FAMILY_NAMES, tiny_repo
from tests.unit.models.test_tokenizing import REFERENCES

Frozen = Callable[[str], Backbone]
SEQUENCES = ["MSLGAKPFGEKKFIEIKGRRM", "M", "ACDEFGHIKLMNPQRSTVWYACDEFGHIKLMNPQ", "KKKKAK"]

# The library's class, and where the first residue is among the tokens: worked out by hand.
NAIVE = {
    "esm": ("EsmModel", 1),
    "esm1b": ("EsmModel", 1),
    "saprot": ("EsmModel", 1),
    "esmc": ("EsmcModel", 1),
    "bert": ("BertModel", 1),
    "prott5": ("T5EncoderModel", 0),
    "prostt5": ("T5EncoderModel", 1),
    "ankh": ("T5EncoderModel", 0),
    "ankh3": ("T5EncoderModel", 2),  # [NLU] and SentencePiece's space mark
    "roformer": ("RoFormerModel", 1),
}


def embed(backbone: Backbone, sequences: list[str]) -> list[Tensor]:
    batch = backbone.collate(backbone.tokenize(sequences, 60))
    output = backbone(batch.input_ids, batch.attention_mask, batch.lengths)
    assert output.mask.sum(1).tolist() == [len(s) for s in sequences]
    assert not output.residues[~output.mask].any()
    return [row[: len(s)] for row, s in zip(output.residues, sequences, strict=True)]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_sequence_is_the_same_alone_and_in_any_batch(family: str, frozen: Frozen) -> None:
    backbone = frozen(family)
    alone = [embed(backbone, [sequence])[0] for sequence in SEQUENCES]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 2]):
        together = embed(backbone, [SEQUENCES[i] for i in order])
        for i, rows in zip(order, together, strict=True):
            torch.testing.assert_close(rows, alone[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_sequence_is_the_same_with_more_padding(family: str, frozen: Frozen) -> None:
    backbone = frozen(family)
    batch = backbone.collate(backbone.tokenize(SEQUENCES[:2]))
    wider = torch.nn.functional.pad(batch.input_ids, (0, 7), value=int(batch.input_ids[1, -1]))
    mask = torch.nn.functional.pad(batch.attention_mask, (0, 7))
    plain = backbone(batch.input_ids, batch.attention_mask, batch.lengths)
    padded = backbone(wider, mask, batch.lengths)
    shown = plain.residues.shape[1]
    torch.testing.assert_close(padded.residues[:, :shown], plain.residues, rtol=1e-5, atol=1e-5)
    if backbone.has_cls:
        torch.testing.assert_close(padded.cls, plain.cls, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", NAIVE)
def test_rows_equal_a_plain_call_of_the_library(
    family: str, repo: Callable[[str], Path], frozen: Frozen
) -> None:
    """A2: the predecessor read residue i from the token of residue i - 1."""
    class_name, first = NAIVE[family]
    network = getattr(transformers, class_name).from_pretrained(repo(family)).eval()
    sequence = SEQUENCES[0]
    ids = torch.tensor([REFERENCES[family](repo(family), sequence)])
    with torch.no_grad():
        hidden = network(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
    (rows,) = embed(frozen(family), [sequence])
    torch.testing.assert_close(rows, hidden[first : first + len(sequence)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_in_the_embedding_layer_a_changed_residue_moves_its_own_row_only(
    family: str, repo: Callable[[str], Path]
) -> None:
    backbone = Backbone.load(resolve(str(repo(family))), layer=0)  # nothing is mixed between positions yet
    sequence = "WSCGAHPFGEKHFIEIHGRRM"  # no pair that the tiny sub-word vocabulary joins
    (before,) = embed(backbone, [sequence])
    for place in (0, 9, 20):
        (after,) = embed(backbone, [sequence[:place] + "Y" + sequence[place + 1 :]])
        moved = (after - before).abs().amax(1)
        assert moved.nonzero().flatten().tolist() == [place]


def test_residues_of_one_subword_share_its_state(frozen: Frozen, repo: Callable[[str], Path]) -> None:
    # tokens: <cls> M SLG AK P <eos>
    (rows,) = embed(frozen("roformer-subword"), ["MSLGAKP"])
    network = transformers.RoFormerModel.from_pretrained(repo("roformer-subword")).eval()
    ids = torch.tensor([REFERENCES["roformer-subword"](repo("roformer-subword"), "MSLGAKP")])
    with torch.no_grad():
        hidden = network(input_ids=ids).last_hidden_state[0]
    expected = hidden[[1, 2, 2, 2, 3, 3, 4]]
    torch.testing.assert_close(rows, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["esm", "bert", "prott5", "esmc", "roformer"])
def test_layers_can_be_chosen(family: str, repo: Callable[[str], Path]) -> None:
    class_name, first = NAIVE[family]
    network = getattr(transformers, class_name).from_pretrained(repo(family)).eval()
    ids = torch.tensor([REFERENCES[family](repo(family), "MKTAY")])
    with torch.no_grad():
        states = network(input_ids=ids, output_hidden_states=True).hidden_states
    for layer in (0, 1, 2, -1, -2):
        backbone = Backbone.load(resolve(str(repo(family))), layer=layer)
        (rows,) = embed(backbone, ["MKTAY"])
        torch.testing.assert_close(rows, states[layer][0, first : first + 5], rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_not_there_is_refused(repo: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="no layer 3"):
        Backbone.load(resolve(str(repo("esm"))), layer=3)


def test_sdpa_equals_eager_attention(repo: Callable[[str], Path], frozen: Frozen) -> None:
    eager = Backbone.load(resolve(str(repo("esm"))), attention="eager")
    for left, right in zip(embed(eager, SEQUENCES), embed(frozen("esm"), SEQUENCES), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="no sdpa"):
        Backbone.load(resolve(str(repo("roformer"))), attention="sdpa")


def test_what_a_backbone_says_of_itself(frozen: Frozen) -> None:
    backbone = frozen("esm")
    assert (backbone.width, backbone.n_layers, backbone.max_length) == (32, 2, 1022)
    assert backbone.has_cls
    assert not frozen("prott5").has_cls
    assert not any(p.requires_grad for p in backbone.parameters())


def test_a_frozen_backbone_stays_in_evaluation_mode(repo: Callable[[str], Path], tmp_path: Path) -> None:
    from tests.support.models import tiny_esm

    dropping = tiny_esm(tmp_path / "esm", hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    backbone = Backbone.load(resolve(str(dropping))).train()
    assert not any(module.training for module in backbone.modules())
    first, second = (embed(backbone, SEQUENCES[:1])[0] for _ in range(2))
    assert torch.equal(first, second)


def test_the_hash_of_the_weights_follows_the_weights(tmp_path: Path, frozen: Frozen) -> None:
    same = Backbone.load(resolve(str(tiny_repo("esm", tmp_path / "same"))))
    other = Backbone.load(resolve(str(tiny_repo("esm", tmp_path / "other", seed=1))))
    assert same.weights_hash() == frozen("esm").weights_hash() != other.weights_hash()


def test_batches_hold_what_they_say(frozen: Frozen) -> None:
    batch = frozen("esm").collate(frozen("esm").tokenize(["MK", "A"]))
    assert batch.input_ids.tolist() == [[0, 20, 15, 2], [0, 5, 2, 1]]  # 1 is <pad>
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.lengths.tolist() == [2, 1]
    assert batch.input_ids.dtype == torch.int64
    empty = frozen("esm").collate([])
    assert empty.input_ids.shape == (0, 0)
    assert np.array_equal(empty.lengths.numpy(), np.empty(0, np.int64))


def test_lengths_survive_sub_words(frozen: Frozen) -> None:
    backbone = frozen("roformer-subword")
    batch = backbone.collate(backbone.tokenize(["MSLGAKP", "SLG", "M"]))
    assert batch.lengths.tolist() == [7, 3, 1]
