"""Batches: one length, labels in place, a pure function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest

from profactory.pretraining.batches import Batch, BatchSettings, BatchSource
from profactory.pretraining.corpus import CLS, EOS, FIRST_STANDARD, NO_LABEL, Corpus
from tests.unit.pretraining.toy import toy_corpus

SETTINGS = BatchSettings(tokens=512, max_length=128)


def _same(a: Batch, b: Batch) -> bool:
    names = ("tokens", "ss8", "accessibility", "terms", "annotated")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in names)


def _is_part(row: np.ndarray, corpus: Corpus) -> bool:
    residues = row[row >= FIRST_STANDARD].astype(np.uint8).tobytes()
    return any(
        residues in corpus.tokens[a:b].tobytes()
        for a, b in zip(corpus.offsets, corpus.offsets[1:], strict=False)
    )


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    corpus = toy_corpus()
    forward = BatchSource(corpus, 7, SETTINGS)
    ahead = [forward.batch(step) for step in range(60)]
    fresh = BatchSource(corpus, 7, SETTINGS)
    for step in (59, 3, 30, 0):
        assert _same(ahead[step], fresh.batch(step))
    assert not _same(ahead[0], BatchSource(corpus, 8, SETTINGS).batch(0))


def test_each_batch_has_one_length_within_the_budget() -> None:
    source = BatchSource(toy_corpus(), 0, SETTINGS)
    for step in range(40):
        tokens = source.batch(step).tokens
        assert tokens.size <= SETTINGS.tokens
        assert tokens.shape[1] <= SETTINGS.max_length
        assert tokens.min() >= CLS
        # No padding: inside a row only residues, at its ends also <cls> and <eos>.
        assert (tokens[:, 1:-1] >= FIRST_STANDARD).all()
        assert set(tokens[tokens < FIRST_STANDARD].tolist()) <= {CLS, EOS}


def test_rows_are_pieces_of_records_with_their_ends_marked() -> None:
    corpus = toy_corpus()
    source = BatchSource(corpus, 0, SETTINGS)
    starts = {corpus.tokens[a : a + 10].tobytes() for a in corpus.offsets[:-1]}
    for step in range(10):
        for row in source.batch(step).tokens:
            assert _is_part(row, corpus)
            if row[0] == CLS:
                assert row[1:11].astype(np.uint8).tobytes() in starts


def test_residue_labels_stay_with_their_residue() -> None:
    source = BatchSource(toy_corpus(), 0, SETTINGS)
    seen = 0
    for step in range(20):
        batch = source.batch(step)
        known = batch.ss8 != NO_LABEL
        seen += int(known.sum())
        assert (batch.tokens[known] >= FIRST_STANDARD).all()
        np.testing.assert_array_equal(batch.ss8[known], batch.tokens[known] % 8)
        np.testing.assert_array_equal(batch.accessibility[known], batch.tokens[known] % 10)
    assert seen > 0


def test_terms_and_the_annotated_mark_agree() -> None:
    source = BatchSource(toy_corpus(), 0, SETTINGS)
    batches = [source.batch(step) for step in range(20)]
    terms = np.concatenate([b.terms for b in batches])
    annotated = np.concatenate([b.annotated for b in batches])
    np.testing.assert_array_equal(terms.sum(1), annotated.astype(np.float32))


def test_an_epoch_holds_every_unlabelled_record_once() -> None:
    corpus = toy_corpus(labelled=0)
    source = BatchSource(corpus, 0, BatchSettings(tokens=512, max_length=512))
    source.batch(0)
    plan = np.concatenate(source._epochs[0][1])
    assert sorted(plan.tolist()) == list(range(len(corpus)))


def test_the_share_of_unannotated_records_is_thinned_in_the_plan() -> None:
    corpus = toy_corpus(labelled=0)
    settings = BatchSettings(tokens=512, max_length=512, unannotated_share=0.0)
    source = BatchSource(corpus, 0, settings)
    source.batch(0)
    plan = np.concatenate(source._epochs[0][1])
    assert sorted(plan.tolist()) == np.flatnonzero(corpus.annotated).tolist()


def test_a_corpus_of_labelled_chains_alone_can_be_trained_on() -> None:
    source = BatchSource(toy_corpus(records=10, labelled=10), 0, SETTINGS)
    assert (source.batch(0).ss8 != NO_LABEL).any()


@pytest.mark.parametrize("length", [20, 21, 40])
def test_a_record_shorter_than_a_batch_is_not_lost(length: int) -> None:
    corpus = toy_corpus(records=1, labelled=0)
    short = Corpus(
        tokens=corpus.tokens[:length],
        offsets=np.array([0, length]),
        ss8=corpus.ss8[:length],
        accessibility=corpus.accessibility[:length],
        terms=np.zeros(0, np.int32),
        term_offsets=np.zeros(2, np.int64),
        annotated=np.zeros(1, np.bool_),
        num_terms=0,
    )
    assert BatchSource(short, 0, SETTINGS).batch(5).tokens.shape[0] == 1
