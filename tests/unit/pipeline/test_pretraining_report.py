"""What a pretraining holds out, and the figures of its report, against sums written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from profactory.pipeline.pretraining_job import hold_out
from profactory.pipeline.pretraining_report import measure
from profactory.pretraining.heldout import RESIDUES, Predicted
from profactory.pretraining.reading import build_corpus

RECORD = np.repeat(np.arange(30), 4)
RESIDUE = np.tile([RESIDUES.index("L"), RESIDUES.index("L"), RESIDUES.index("A"), RESIDUES.index("G")], 30)


def _predicted(loss: float) -> Predicted:
    losses = np.where(RESIDUES.index("L") == RESIDUE, loss, 2 * loss) + 0.001 * RECORD
    return Predicted(RECORD + 100, RESIDUE, losses, RESIDUES.index("A") == RESIDUE)


def test_figures_are_means_over_hidden_residues() -> None:
    predicted = _predicted(1.0)
    metrics = measure(predicted, _predicted(1.5), _predicted(2.0))
    found = metrics["validation"]
    # Of four residues two have loss 1 and two have loss 2; the records add 0.0145 on average.
    assert found["perplexity"]["value"] == pytest.approx(np.exp(1.5 + 0.0145))
    assert found["accuracy"]["value"] == 0.25
    assert metrics["baselines"]["starting model"]["perplexity"]["value"] == pytest.approx(
        np.exp(2.25 + 0.0145)
    )
    assert metrics["counts"] == {"validation": {"proteins": 30, "residues": 120}}
    rows = metrics["per_class"]["validation"]
    assert [(row["residue"], row["support"]) for row in rows] == [("L", 60), ("A", 30), ("G", 30)]
    assert rows[0]["perplexity"] == pytest.approx(np.exp(1.0145))
    assert [row["accuracy"] for row in rows] == [0.0, 1.0, 0.0]


def test_the_interval_is_that_of_resampled_sequences() -> None:
    predicted = _predicted(1.0)
    found = measure(predicted, None, _predicted(2.0))["validation"]["perplexity"]
    per_record = predicted.loss.reshape(30, 4)
    rng = np.random.default_rng(5)
    naive = [np.exp(per_record[rng.integers(30, size=30)].mean()) for _ in range(4000)]
    assert found["low"] == pytest.approx(np.quantile(naive, 0.025), rel=1e-3)
    assert found["high"] == pytest.approx(np.quantile(naive, 0.975), rel=1e-3)


@pytest.mark.parametrize(
    ("before", "outcome", "words"),
    [(1.5, "better", "fell"), (0.5, "worse", "rose"), (1.0, "unclear", "did not clearly change")],
)
def test_the_sentence_says_what_became_of_the_perplexity(before: float, outcome: str, words: str) -> None:
    found = measure(_predicted(1.0), _predicted(before), _predicted(2.0))["comparison"]
    assert (found["against"], found["outcome"]) == ("starting model", outcome)
    assert words in found["sentence"]
    assert found["difference"] == pytest.approx(np.exp(1.5145) - np.exp(1.5 * before + 0.0145))


def test_a_new_model_is_compared_with_composition() -> None:
    found = measure(_predicted(1.0), None, _predicted(2.0))
    assert list(found["baselines"]) == ["composition"]
    assert "is below what composition alone gives" in found["comparison"]["sentence"]


def test_equal_sequences_are_held_out_together_and_labelled_ones_never(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKL"), 25)) for _ in range(40)]
    fasta, chains = tmp_path / "a.fasta", tmp_path / "chains.tsv"
    fasta.write_text("".join(f">{i}\n{sequence}\n" for i, sequence in enumerate(sequences * 2)))
    chains.write_text(f"sequence\tss8\trsa_decile\n{'M' * 25}\t{'H' * 25}\t{'5' * 25}\n")
    corpus, _ = build_corpus(fasta, chains=chains)
    chosen = hold_out(corpus, 0.25, seed=0)
    assert chosen.sum() == 20
    assert chosen[:40].tolist() == chosen[40:80].tolist()
    assert not chosen[80]
    assert chosen.tolist() != hold_out(corpus, 0.25, seed=1).tolist()
