"""Batches: one length, labels in place, a pure function of seed, epoch and torch's generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from profactory.pretraining.batches import Batch, Batches, BatchSettings, crop
from profactory.pretraining.corpus import CLS, EOS, FIRST_STANDARD, NO_LABEL, Corpus
from tests.unit.pretraining.toy import toy_corpus

SETTINGS = BatchSettings(tokens=512, max_length=128)


def _source(corpus: Corpus, seed: int = 0, settings: BatchSettings = SETTINGS) -> Batches:
    return Batches(corpus, np.arange(len(corpus)), seed, settings)


def _cropped(source: Batches, epochs: int = 1) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    for epoch in range(epochs):
        for indices in source.plan(epoch):
            yield crop(source.corpus, indices, source.length(indices), rng)


def _is_part(row: np.ndarray, corpus: Corpus) -> bool:
    residues = row[row >= FIRST_STANDARD].astype(np.uint8).tobytes()
    return any(
        residues in corpus.tokens[a:b].tobytes()
        for a, b in zip(corpus.offsets, corpus.offsets[1:], strict=False)
    )


def test_the_plan_depends_on_seed_and_epoch_alone() -> None:
    first, again = _source(toy_corpus(), 7), _source(toy_corpus(), 7)
    for epoch in (3, 0, 1):
        pairs = zip(first.plan(epoch), again.plan(epoch), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    assert not np.array_equal(np.concatenate(first.plan(0)), np.concatenate(first.plan(1)))
    assert not np.array_equal(np.concatenate(first.plan(0)), np.concatenate(_source(toy_corpus(), 8).plan(0)))


def test_what_is_loaded_depends_on_the_generator_alone() -> None:
    source = _source(toy_corpus())
    indices = source.plan(0)[0]
    torch.manual_seed(5)
    first = source.load(indices)
    other = source.load(indices)
    torch.manual_seed(5)
    again = source.load(indices)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["input_ids"], other["input_ids"])


def test_each_batch_has_one_length_within_the_budget() -> None:
    for batch in _cropped(_source(toy_corpus())):
        tokens = batch.tokens
        assert tokens.size <= SETTINGS.tokens
        assert tokens.shape[1] <= SETTINGS.max_length
        assert tokens.min() >= CLS
        # No padding: inside a row only residues, at its ends also <cls> and <eos>.
        assert (tokens[:, 1:-1] >= FIRST_STANDARD).all()
        assert set(tokens[tokens < FIRST_STANDARD].tolist()) <= {CLS, EOS}


def test_little_is_cropped_away_however_few_the_records_are() -> None:
    corpus = toy_corpus(labelled=0)
    source = _source(corpus, settings=BatchSettings(tokens=4096, max_length=512))
    kept = sum(len(indices) * source.length(indices) for indices in source.plan(0))
    assert kept > 0.8 * (corpus.lengths + 2).sum()


def test_a_number_of_sequences_limits_the_rows() -> None:
    source = _source(toy_corpus(), settings=BatchSettings(tokens=100_000, sequences=7))
    assert max(len(indices) for indices in source.plan(0)) == 7


def test_rows_are_pieces_of_records_with_their_ends_marked() -> None:
    corpus = toy_corpus()
    starts = {corpus.tokens[a : a + 10].tobytes() for a in corpus.offsets[:-1]}
    for batch in _cropped(_source(corpus)):
        for row in batch.tokens:
            assert _is_part(row, corpus)
            if row[0] == CLS:
                assert row[1:11].astype(np.uint8).tobytes() in starts


def test_residue_labels_stay_with_their_residue() -> None:
    seen = 0
    for batch in _cropped(_source(toy_corpus()), epochs=2):
        known = batch.ss8 != NO_LABEL
        seen += int(known.sum())
        assert (batch.tokens[known] >= FIRST_STANDARD).all()
        np.testing.assert_array_equal(batch.ss8[known], batch.tokens[known] % 8)
        np.testing.assert_array_equal(batch.accessibility[known], batch.tokens[known] % 10)
    assert seen > 0


def test_terms_and_the_annotated_mark_agree() -> None:
    for batch in _cropped(_source(toy_corpus())):
        np.testing.assert_array_equal(batch.terms.sum(1), batch.annotated.astype(np.float32))


def test_an_epoch_holds_every_chosen_record_once() -> None:
    corpus = toy_corpus(labelled=0)
    chosen = np.arange(0, len(corpus), 2)
    source = Batches(corpus, chosen, 0, SETTINGS)
    assert len(source) == len(chosen)
    assert sorted(np.concatenate(source.plan(0)).tolist()) == chosen.tolist()


def test_the_share_of_unannotated_records_is_thinned_in_the_plan() -> None:
    corpus = toy_corpus(labelled=0)
    settings = BatchSettings(tokens=512, max_length=512, unannotated_share=0.0)
    plan = np.concatenate(_source(corpus, settings=settings).plan(0))
    assert sorted(plan.tolist()) == np.flatnonzero(corpus.annotated).tolist()


def test_weights_of_the_pieces_of_a_batch_add_up_to_its_own() -> None:
    source = _source(toy_corpus())
    indices = source.plan(0)[0]
    halves = np.array_split(indices, 2)
    assert source.weight(indices) == sum(map(source.weight, halves))
    expected = sum(min(int(source.corpus.lengths[i]) + 2, 128) for i in indices)
    assert source.weight(indices) == float(source.load(indices)["weight"]) == expected


def test_rows_are_lines_of_the_file() -> None:
    assert _source(toy_corpus()).rows(np.array([0, 3])) == [1, 7]


def test_a_corpus_of_labelled_chains_alone_can_be_trained_on() -> None:
    source = _source(toy_corpus(records=10, labelled=10))
    assert (next(_cropped(source)).ss8 != NO_LABEL).any()


@pytest.mark.parametrize("length", [20, 21, 40])
def test_a_record_shorter_than_a_batch_is_not_lost(length: int) -> None:
    corpus = toy_corpus(records=1, labelled=0)
    short = Corpus(
        tokens=corpus.tokens[:length],
        offsets=np.array([0, length]),
        lines=np.ones(1, np.int64),
        ss8=corpus.ss8[:length],
        accessibility=corpus.accessibility[:length],
        terms=np.zeros(0, np.int32),
        term_offsets=np.zeros(2, np.int64),
        annotated=np.zeros(1, np.bool_),
        num_terms=0,
    )
    assert next(_cropped(_source(short))).tokens.shape[0] == 1
