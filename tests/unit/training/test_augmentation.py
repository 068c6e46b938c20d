"""Changed training sequences: shares, labels that stay with their residues, the same after a resume."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from profactory.config import TrainConfig
from profactory.data.substitution import ORDER, substitution_probabilities
from profactory.errors import ConfigError
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.runs import Run
from profactory.tasks import Task, TaskKind, Values
from profactory.training.augmentation import Augmentation
from profactory.training.loop import fit
from profactory.training.loss_model import LossModel
from profactory.training.sources import AugmentedSource, SequenceSource
from profactory.training.state import FitSettings
from tests.support.models import tiny_esm
from tests.support.tables import random_sequences

SEQUENCES = random_sequences(24, low=10, high=40, seed=4)
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, classes=tuple(ORDER))
MASK_ID = 32
EVERYTHING = Augmentation(("mask", "substitute", "crop"), rate=0.2, shortest=0.5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def _labels(sequences: list[str]) -> Values:
    """Label every residue by its own letter."""
    return Values.concat([np.array([ORDER.index(x) for x in s]) for s in sequences], per_residue=True)


def _source(tiny: Path, augmentation: Augmentation, max_length: int = 30) -> AugmentedSource:
    model = ProteinModel.build(resolve(str(tiny)), RESIDUES, method="full", max_length=max_length)
    options = {"max_length": max_length, "tokens": 200, "seed": 7}
    return AugmentedSource(
        augmentation, model.backbone, SEQUENCES, RESIDUES.kind, _labels(SEQUENCES), **options
    )


def test_nothing_is_done_unasked() -> None:
    view = Augmentation(()).view("ACDEFGHIKL", 5, 0)
    assert (view.sequence, view.start, view.stop) == ("ACDEFGHIKL", 0, 10)
    assert not view.hidden.any()


def test_shares_are_those_asked_for() -> None:
    views = [Augmentation(("mask", "substitute"), rate=0.1).view("I" * 500, 3, i) for i in range(200)]
    hidden = np.mean([view.hidden.mean() for view in views])
    changed = Counter("".join(view.sequence for view in views))
    assert hidden == pytest.approx(0.1, abs=0.003)  # four standard errors of 100,000 residues
    assert 1 - changed["I"] / 100_000 == pytest.approx(0.1, abs=0.004)
    expected = substitution_probabilities()[ORDER.index("I")]
    replaced = 100_000 - changed["I"]
    for letter in "VLMG":
        share = expected[ORDER.index(letter)]
        assert changed[letter] / replaced == pytest.approx(share, abs=4 * (share / replaced) ** 0.5)


def test_letters_that_are_no_amino_acid_stay() -> None:
    assert Augmentation(("substitute",), rate=0.99).view("XUOBZJ" * 20, 1, 1).sequence == "XUOBZJ" * 20


def test_crops_lie_within_the_sequence_and_keep_enough() -> None:
    augmentation = Augmentation(("crop",), shortest=0.75)
    spans = [augmentation.span(40, seed, 3) for seed in range(400)]
    assert {stop - start for start, stop in spans} == set(range(30, 41))
    assert min(start for start, _ in spans) == 0
    assert max(stop for _, stop in spans) == 40
    assert {start for start, stop in spans if stop - start == 30} == set(range(11))
    assert augmentation.span(1, 0, 0) == (0, 1)


def test_a_view_depends_on_seed_and_sample_alone() -> None:
    first = EVERYTHING.view(SEQUENCES[0], 11, 4)
    again = EVERYTHING.view(SEQUENCES[0], 11, 4)
    assert first[:3] == again[:3]
    assert first.hidden.tolist() == again.hidden.tolist()
    others = {EVERYTHING.view(SEQUENCES[0], seed, sample)[:3] for seed in (11, 12) for sample in (4, 5)}
    assert len(others) == 4


def test_labels_stay_with_their_residues(tiny: Path) -> None:
    source = _source(tiny, Augmentation(("crop",), shortest=0.4))
    plain = SequenceSource(
        source.backbone, SEQUENCES, RESIDUES.kind, _labels(SEQUENCES), max_length=30, tokens=200
    )
    (ids,) = plain.backbone.tokenize(SEQUENCES[:1], 30)
    letters = dict(zip(ids[1:].tolist(), SEQUENCES[0][:30], strict=False))
    cropped = 0
    for batch in source.plan(0):
        torch.manual_seed(int(batch[0]))
        weight, loaded = source.weight(batch), source.load(batch)
        assert weight == (loaded["targets"] >= 0).sum() == loaded["lengths"].sum()
        for row, sample in enumerate(batch):
            length = int(loaded["lengths"][row])
            ids = loaded["input_ids"][row, 1 : 1 + length].tolist()
            targets = loaded["targets"][row, :length].tolist()
            for token, target in zip(ids, targets, strict=True):
                assert letters.get(token, ORDER[target]) == ORDER[target]
            whole = [ORDER.index(x) for x in SEQUENCES[sample][:30]]
            assert any(targets == whole[i : i + length] for i in range(len(whole) - length + 1))
            cropped += length < len(whole)
    assert cropped > 15


def test_masked_residues_are_masked_as_in_pretraining(tiny: Path) -> None:
    source = _source(tiny, Augmentation(("mask",), rate=0.3))
    batch = source.plan(0)[0]
    torch.manual_seed(1)
    loaded = source.load(batch)
    masked = loaded["input_ids"] == MASK_ID
    hidden = [source.augmentation.view(SEQUENCES[i][:30], 1, int(i)).hidden.sum() for i in batch]
    assert masked.sum(1).tolist() == hidden
    assert sum(hidden) > 0
    assert not masked[:, 0].any()  # special tokens stay
    torch.testing.assert_close(loaded["targets"], super(AugmentedSource, source).load(batch)["targets"])


def test_a_vocabulary_without_a_mask_gets_the_unknown_residue(tiny: Path) -> None:
    backbone = _source(tiny, EVERYTHING).backbone
    backbone._mask_id = None
    (ids,) = backbone.tokenize_masked(["ACDA"], [np.array([False, True, False, True])])
    assert ids.tolist() == backbone.tokenize(["AXDX"])[0].tolist()


def test_what_is_drawn_in_between_changes_nothing(tiny: Path) -> None:
    source = _source(tiny, EVERYTHING)
    batch = source.plan(0)[0]
    torch.manual_seed(5)
    first = source.load(batch)
    torch.rand(100)  # dropout
    for name, tensor in source.load(batch).items():
        torch.testing.assert_close(tensor, first[name])
    torch.manual_seed(6)
    assert source.load(batch)["input_ids"].tolist() != first["input_ids"].tolist()


class _Interrupted(AugmentedSource):
    left = 10**9

    def load(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().load(indices)


def _train(tiny: Path, run: Run, loads: int = 10**9, *, resume: bool = False) -> dict[str, torch.Tensor]:
    model = ProteinModel.build(resolve(str(tiny)), RESIDUES, method="full", max_length=30, dropout=0.1)
    source = _Interrupted(
        *(EVERYTHING, model.backbone, SEQUENCES, RESIDUES.kind, _labels(SEQUENCES)),
        max_length=30, tokens=200, seed=7,
    )  # fmt: skip
    source.left = loads
    settings = FitSettings(epochs=2, learning_rate=1e-3, device="cpu", seed=7, save_steps=1, monitor="loss")
    with run.lock():
        fit(LossModel(model), source, lambda: {"loss": 1.0}, run, settings, resume=resume)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_an_interrupted_training_ends_with_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    whole = _train(tiny, Run.create(tmp_path / "whole", {"data": "toy"}))
    run = Run.create(tmp_path / "run", {"data": "toy"})
    with pytest.raises(KeyboardInterrupt):
        _train(tiny, run, 4)
    resumed = _train(tiny, run, resume=True)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    steps = [event["loss"] for event in run.events() if event["event"] == "step"]
    assert all(np.isfinite(loss) for loss in steps)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"augment": ["mask"], "method": "freeze"}, "augment has no meaning with method freeze"),
        ({"augment_rate": 0.2}, "augment_rate is for --augment mask or substitute"),
        ({"augment": ["mask"], "augment_crop": 0.5}, "augment_crop is for --augment crop"),
        ({"augment": ["shuffle"]}, "augment"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        TrainConfig.build(settings)


def test_it_is_off_by_default() -> None:
    assert TrainConfig.build({}).augment is None
