"""Masking, and the token ids of other vocabularies."""

from __future__ import annotations

import numpy as np
import pytest

from profactory.pretraining.batches import Batch
from profactory.pretraining.corpus import (
    CLS,
    EOS,
    FIRST_STANDARD,
    LAST_STANDARD,
    MASK,
    NO_LABEL,
    VOCABULARY,
)
from profactory.pretraining.masking import IGNORE, Vocabulary, mask_tokens, masked_tensors


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = rng.integers(FIRST_STANDARD, LAST_STANDARD + 1, size=(500, 200))
    tokens[:, 0], tokens[:, -1] = CLS, EOS
    tokens[:, 5] = VOCABULARY.index("X")
    return tokens


def test_masking_selects_15_percent_and_splits_them_80_10_10(tokens: np.ndarray) -> None:
    ids, labels = mask_tokens(tokens, np.random.default_rng(1))
    selected = labels != IGNORE
    standard = (tokens >= FIRST_STANDARD) & (tokens <= LAST_STANDARD)
    count = selected.sum()
    assert count / standard.sum() == pytest.approx(0.15, abs=0.005)
    kept = (ids == tokens)[selected].mean()
    masked = (ids == MASK)[selected].mean()
    assert masked == pytest.approx(0.8, abs=0.01)
    assert kept == pytest.approx(0.1 + 0.1 / 20, abs=0.01)  # a random residue is the true one 1 time in 20
    assert 1 - masked - kept == pytest.approx(0.1 * 19 / 20, abs=0.01)


def test_only_standard_residues_are_hidden_and_the_rest_is_untouched(tokens: np.ndarray) -> None:
    ids, labels = mask_tokens(tokens, np.random.default_rng(1))
    assert (labels[:, [0, 5, -1]] == IGNORE).all()
    np.testing.assert_array_equal(ids[labels == IGNORE], tokens[labels == IGNORE])
    np.testing.assert_array_equal(labels[labels != IGNORE], tokens[labels != IGNORE])


def test_masking_depends_on_the_generator_alone(tokens: np.ndarray) -> None:
    first = mask_tokens(tokens, np.random.default_rng(1))
    np.testing.assert_array_equal(first[0], mask_tokens(tokens, np.random.default_rng(1))[0])
    assert (first[1] != mask_tokens(tokens, np.random.default_rng(2))[1]).any()


def test_a_vocabulary_with_other_names_and_places_is_found() -> None:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ACDEFGHIKLMNPQRSTVWYX"]
    vocabulary = Vocabulary.of({name: i for i, name in enumerate(names)}, dict.fromkeys("UZOB", "X"))
    spelled = [names[i] for i in vocabulary.ids]
    assert spelled[:4] == ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    assert spelled[4:29] == list("LAGVSERTIDPKQNFYMHWCXXXXX")
    assert (spelled[29:32], spelled[32]) == (["[PAD]"] * 3, "[MASK]")
    assert [names[i] for i in vocabulary.residues] == list("LAGVSERTIDPKQNFYMHWC")


def test_tensors_are_in_the_ids_of_the_network() -> None:
    tokens = np.array([[CLS, FIRST_STANDARD, LAST_STANDARD, EOS]])
    nothing = np.full_like(tokens, NO_LABEL)
    batch = Batch(tokens, nothing, nothing, np.zeros((1, 0), np.float32), np.zeros(1, np.bool_))
    shifted = Vocabulary(np.arange(33) + 100)
    found = masked_tensors(batch, np.random.default_rng(0), shifted, probability=0.999999)
    assert found["masked_labels"].tolist() == [[IGNORE, 100 + FIRST_STANDARD, 100 + LAST_STANDARD, IGNORE]]
    assert found["input_ids"][0, [0, 3]].tolist() == [100 + CLS, 100 + EOS]
    assert found["is_residue"].tolist() == [[False, True, True, False]]
    assert (found["ss8"] == IGNORE).all()
