"""Perplexity of held-out sequences: fixed masks, figures that can be worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EsmForMaskedLM

from profactory.pretraining.batches import Batches, BatchSettings
from profactory.pretraining.corpus import FIRST_STANDARD
from profactory.pretraining.heldout import RESIDUES, HeldOut, Predicted, by_composition
from profactory.pretraining.network import build_config, build_model
from profactory.pretraining.reading import build_corpus
from tests.unit.pretraining.toy import toy_corpus

CORPUS = toy_corpus(labelled=0)


def _held_out(limit: int = 600_000) -> HeldOut:
    settings = BatchSettings(tokens=512, max_length=128)
    return HeldOut(Batches(CORPUS, np.arange(40), 3, settings), limit)


def _predicted(model: EsmForMaskedLM, held_out: HeldOut) -> Predicted:
    return Predicted.together(held_out.predict(model.eval(), range(len(held_out))))


@pytest.fixture(scope="module")
def network() -> EsmForMaskedLM:
    return build_model(build_config(64, 1), seed=0)


def test_a_model_that_knows_nothing_hesitates_among_all_tokens(network: EsmForMaskedLM) -> None:
    blank = build_model(build_config(64, 1), seed=0)
    torch.nn.init.zeros_(blank.lm_head.decoder.weight)
    predicted = _predicted(blank, _held_out())
    assert predicted.perplexity == pytest.approx(33, rel=1e-5)
    assert predicted.mean_loss == pytest.approx(math.log(33), rel=1e-6)


def test_the_same_residues_are_hidden_every_time_and_for_every_model(network: EsmForMaskedLM) -> None:
    first, again = _predicted(network, _held_out()), _predicted(network, _held_out())
    np.testing.assert_array_equal(first.loss, again.loss)
    other = _predicted(build_model(build_config(64, 1), seed=1), _held_out())
    np.testing.assert_array_equal(first.residue, other.residue)
    np.testing.assert_array_equal(first.record, other.record)
    assert first.perplexity != other.perplexity


def test_a_batch_is_the_same_whoever_computes_it(network: EsmForMaskedLM) -> None:
    held_out = _held_out()
    alone = held_out.predict(network.eval(), [3])[0]
    together = held_out.predict(network.eval(), [0, 3])[1]
    np.testing.assert_array_equal(alone.loss, together.loss)


def test_only_the_chosen_records_are_looked_at_and_few_of_them_often(network: EsmForMaskedLM) -> None:
    predicted = _predicted(network, _held_out())
    assert set(predicted.record.tolist()) == set(range(40))
    once = 0.15 * np.minimum(CORPUS.lengths[:40], 126).sum()
    assert len(predicted.residue) > 10 * once


def test_a_limit_takes_part_of_the_batches() -> None:
    assert len(_held_out(2000)) < len(_held_out()) / 10
    assert len(_held_out(1)) == 1


def test_composition_is_the_perplexity_of_the_frequencies(tmp_path: Path) -> None:
    fasta = tmp_path / "a.fasta"
    fasta.write_text(">a\n" + "L" * 30 + "A" * 10 + "\n")
    corpus, _ = build_corpus(fasta)
    residue = np.array([RESIDUES.index("L"), RESIDUES.index("A"), RESIDUES.index("C")])
    asked = Predicted(np.zeros(3, np.int64), residue, np.zeros(3), np.zeros(3, np.bool_))
    floor = by_composition(asked, corpus, np.array([0]))
    # One is added to each count, so that no residue is impossible.
    np.testing.assert_allclose(floor.loss, [-math.log(31 / 60), -math.log(11 / 60), -math.log(1 / 60)])
    assert floor.correct.tolist() == [True, False, False]
    assert CORPUS.tokens.min() >= FIRST_STANDARD
