"""Batches of sequences and of cached embeddings, with a tiny ESM-2: the same loss by both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind, Values
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.loss_model import FrozenEncoder, LossModel, feature_outputs, loss_of_outputs
from profactory.training.losses import loss_sum
from profactory.training.sources import FeatureSource, SequenceSource
from tests.support.models import tiny_esm
from tests.support.tables import random_sequences

SEQUENCES = random_sequences(18, low=5, high=40, seed=2)
MAX_LENGTH = 30  # some are truncated
TASKS = {
    TaskKind.SINGLE_LABEL: Task(TaskKind.SINGLE_LABEL, classes=("a", "b", "c")),
    TaskKind.MULTI_LABEL: Task(TaskKind.MULTI_LABEL, classes=("a", "b", "c")),
    TaskKind.REGRESSION: Task(TaskKind.REGRESSION, targets=("x", "y")),
    TaskKind.RESIDUE_CLASSIFICATION: Task(TaskKind.RESIDUE_CLASSIFICATION, classes=("H", "E", "C")),
    TaskKind.RESIDUE_MULTI_LABEL: Task(TaskKind.RESIDUE_MULTI_LABEL, classes=("a", "b"), separator="|"),
    TaskKind.RESIDUE_REGRESSION: Task(TaskKind.RESIDUE_REGRESSION),
}


def labels(kind: TaskKind) -> Values:
    """Random labels, some of them missing."""
    rng = np.random.default_rng(0)
    n = len(SEQUENCES)
    if kind is TaskKind.SINGLE_LABEL:
        return Values(rng.integers(0, 3, n))
    if kind is TaskKind.MULTI_LABEL:
        return Values((rng.random((n, 3)) < 0.5).astype(np.float32))
    if kind is TaskKind.REGRESSION:
        values = rng.normal(size=(n, 2)).astype(np.float32)
        values[3, 1] = np.nan
        return Values(values)
    if kind is TaskKind.RESIDUE_CLASSIFICATION:
        return Values.concat([rng.integers(-1, 3, len(s)) for s in SEQUENCES], per_residue=True)
    if kind is TaskKind.RESIDUE_MULTI_LABEL:
        sets = [(rng.random((len(s), 2)) < 0.3).astype(np.float32) for s in SEQUENCES]
        sets[2][:3] = np.nan
        return Values.concat(sets, per_residue=True)
    numbers = [rng.normal(size=len(s)).astype(np.float32) for s in SEQUENCES]
    numbers[2][:3] = np.nan
    return Values.concat(numbers, per_residue=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def model_for(
    tiny: Path, kind: TaskKind, pooling: str | None = "mean", method: str = "freeze"
) -> ProteinModel:
    pooling = None if kind.per_residue else pooling
    spec = resolve(str(tiny))
    return ProteinModel.build(spec, TASKS[kind], method=method, pooling=pooling, max_length=MAX_LENGTH).eval()


CASES = [
    *((kind, "mean") for kind in TaskKind),
    *((TaskKind.SINGLE_LABEL, pooling) for pooling in ("max", "cls", "attention", "light-attention")),
]


@pytest.mark.parametrize(("kind", "pooling"), CASES)
def test_cached_embeddings_give_the_same_loss_and_outputs(tiny, kind, pooling):
    model, targets = model_for(tiny, kind, pooling), labels(kind)
    features = EmbeddingCache().get(FrozenEncoder(model, tokens=120), SEQUENCES)
    assert features.per_residue == (kind.per_residue or pooling in ("attention", "light-attention"))
    everything = np.arange(len(SEQUENCES))
    cached = FeatureSource(features, everything, kind, targets, tokens=100)
    direct = SequenceSource(model.backbone, SEQUENCES, kind, targets, max_length=MAX_LENGTH, tokens=100)
    loss = LossModel(model)
    totals, weights = [0.0, 0.0], [0.0, 0.0]
    for i, source in enumerate((cached, direct)):
        for batch in source.plan(0):
            with torch.no_grad():
                totals[i] += float(loss(**source.load(batch)))
            weights[i] += source.weight(batch)
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert weights[0] == weights[1]
    outputs = feature_outputs(model, features, everything, tokens=90)
    assert loss_of_outputs(kind, outputs, targets) == pytest.approx(totals[1] / weights[1], rel=1e-4)
    with torch.no_grad():
        for index in (0, 7, 11):
            ids = model.backbone.tokenize([SEQUENCES[index]], MAX_LENGTH)
            batch = model.backbone.collate(ids)
            logits = model(batch.input_ids, batch.attention_mask, batch.lengths)[0].numpy()
            np.testing.assert_allclose(outputs[index], model.task.probabilities(logits), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_weights_known_beforehand_are_those_of_the_loss(tiny, kind):
    model, targets = model_for(tiny, kind), labels(kind)
    source = SequenceSource(
        model.backbone, SEQUENCES, kind, targets, max_length=MAX_LENGTH, batch_size=4, lines=np.arange(2, 20)
    )
    for batch in source.plan(3):
        arguments = source.load(batch)
        wanted = arguments.pop("targets")
        with torch.no_grad():
            _, counted = loss_sum(kind, model(**arguments), wanted)
        assert source.weight(batch) == float(counted)
        assert source.rows(batch) == [int(i) + 2 for i in batch]


def test_residue_labels_are_those_of_their_residues(tiny):
    """A2: with one hot inputs of the sequence itself as labels, label i must sit at residue i, truncated."""
    kind = TaskKind.RESIDUE_CLASSIFICATION
    letters = "ACDEFGHIKLMNPQRSTVWY"
    coded = [np.array([letters.index(c) for c in s]) for s in SEQUENCES]
    targets = Values.concat(coded, per_residue=True)
    model = model_for(tiny, kind)
    source = SequenceSource(model.backbone, SEQUENCES, kind, targets, max_length=MAX_LENGTH, batch_size=5)
    ids = {int(model.backbone.tokenize([c])[0][1]): i for i, c in enumerate(letters)}
    for batch in source.plan(0):
        loaded = source.load(batch)
        for row, index in enumerate(batch):
            n = min(len(SEQUENCES[index]), MAX_LENGTH)
            from_tokens = [ids[int(t)] for t in loaded["input_ids"][row, 1 : n + 1]]
            assert loaded["targets"][row, :n].tolist() == from_tokens
            assert (loaded["targets"][row, n:] == -1).all()


def test_regression_loss_is_measured_in_units_of_the_labels_spread(tiny):
    model, targets = model_for(tiny, TaskKind.REGRESSION), labels(TaskKind.REGRESSION)
    model.scale_outputs(torch.tensor([5.0, -1.0]), torch.tensor([10.0, 0.5]))
    source = SequenceSource(
        model.backbone, SEQUENCES, TaskKind.REGRESSION, targets, max_length=MAX_LENGTH, batch_size=18
    )
    (batch,) = source.plan(0)
    arguments = source.load(batch)
    with torch.no_grad():
        got = float(LossModel(model)(**arguments))
        values = model(**{k: v for k, v in arguments.items() if k != "targets"}).numpy()
    by_hand = np.nansum(((values - targets.values[batch]) / np.array([10.0, 0.5])) ** 2)
    assert got == pytest.approx(float(by_hand), rel=1e-5)
    outputs = Values(values[np.argsort(batch)])
    mean = loss_of_outputs(TaskKind.REGRESSION, outputs, targets, model.output_scale.numpy())
    assert mean == pytest.approx(got / source.weight(batch), rel=1e-5)


def test_changed_weights_are_another_entry(tiny, tmp_path):
    """A stale cache is never used: one weight of the backbone differs."""
    cache = EmbeddingCache(tmp_path)
    model = model_for(tiny, TaskKind.SINGLE_LABEL)
    before = cache.get(FrozenEncoder(model), SEQUENCES)
    other = model_for(tiny, TaskKind.SINGLE_LABEL)
    with torch.no_grad():
        next(iter(other.backbone.parameters())).view(-1)[-1] += 0.5
        for parameter in other.backbone.parameters():
            parameter.view(-1)[0] += 0.01
    after = cache.get(FrozenEncoder(other), SEQUENCES)
    everything = np.arange(len(SEQUENCES))
    assert len(list(tmp_path.iterdir())) == 2
    assert not torch.equal(before.vectors(everything), after.vectors(everything))


def test_only_frozen_backbones_are_cached(tiny):
    with pytest.raises(ValueError, match="frozen"):
        FrozenEncoder(model_for(tiny, TaskKind.SINGLE_LABEL, method="lora"))


def test_pooled_batches_are_as_large_as_the_token_budget_says(tiny):
    """4 x the mean length in tokens means 4 samples, whichever they are."""
    features = EmbeddingCache().get(FrozenEncoder(model_for(tiny, TaskKind.SINGLE_LABEL)), SEQUENCES)
    mean = float(np.minimum([len(s) for s in SEQUENCES], MAX_LENGTH).mean())
    source = FeatureSource(
        features, np.arange(18), TaskKind.SINGLE_LABEL, labels(TaskKind.SINGLE_LABEL), tokens=round(4 * mean)
    )
    assert sorted(len(b) for b in source.plan(0)) == [2, 4, 4, 4, 4]


def test_a_subset_of_the_cached_samples(tiny):
    features = EmbeddingCache().get(FrozenEncoder(model_for(tiny, TaskKind.SINGLE_LABEL)), SEQUENCES)
    targets, chosen = labels(TaskKind.SINGLE_LABEL), np.array([7, 2, 11])
    source = FeatureSource(features, chosen, TaskKind.SINGLE_LABEL, targets.take(chosen), batch_size=8)
    (batch,) = source.plan(0)
    loaded = source.load(batch)
    assert torch.equal(loaded["features"], features.vectors(chosen[batch]))
    assert loaded["targets"].tolist() == targets.values[chosen[batch]].tolist()


class Linear(torch.nn.Module):
    """A head and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(256, 10)

    def forward(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the summed cross-entropy."""
        return torch.nn.functional.cross_entropy(self.head(features), targets, reduction="sum")
