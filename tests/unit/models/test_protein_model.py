"""Backbone, pooling and head together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from profactory.errors import ConfigError, ModelLoadError
from profactory.models.batch import TokenBatch
from profactory.models.pooling import POOLINGS
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import ModelSpec, resolve
from profactory.tasks import Task, TaskKind

CLASSES = Task(TaskKind.SINGLE_LABEL, classes=("a", "b", "c"))
TWO_NUMBERS = Task(TaskKind.REGRESSION, targets=("tm", "kd"))
PER_RESIDUE = Task(TaskKind.RESIDUE_CLASSIFICATION, classes=("H", "E", "C"))
SEQUENCES = ["MSLGAKPFGEKKF", "MKT", "ACDEFGHIKLMNPQ"]


def tokens(model: ProteinModel, sequences: list[str] = SEQUENCES) -> TokenBatch:
    return model.backbone.collate(model.backbone.tokenize(sequences, model.max_length))


def run(model: ProteinModel, sequences: list[str] = SEQUENCES) -> torch.Tensor:
    batch = tokens(model, sequences)
    with torch.no_grad():
        return model.eval()(batch.input_ids, batch.attention_mask, batch.lengths)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("method", ["freeze", "lora"])
def test_features_then_head_is_the_whole(spec: ModelSpec, pooling: str, method: str) -> None:
    model = ProteinModel.build(spec, CLASSES, method=method, pooling=pooling).eval()
    batch = tokens(model)
    arguments = (batch.input_ids, batch.attention_mask, batch.lengths)
    features = model.features(*arguments)
    free = pooling in ("mean", "max", "cls")
    assert features.shape == ((3, 32) if free else (3, 14, 32))
    mask = None if free else torch.arange(14) < batch.lengths[:, None]
    torch.testing.assert_close(model.forward_features(features, mask), model(*arguments))


def test_residue_tasks_have_an_output_per_residue(spec: ModelSpec) -> None:
    model = ProteinModel.build(spec, PER_RESIDUE)
    assert model.pooling is None
    assert run(model).shape == (3, 14, 3)
    batch = tokens(model)
    features = model.features(batch.input_ids, batch.attention_mask, batch.lengths)
    torch.testing.assert_close(model.forward_features(features), run(model))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_outputs_do_not_depend_on_batch_mates(spec: ModelSpec, pooling: str) -> None:
    model = ProteinModel.build(spec, CLASSES, pooling=pooling)
    together = run(model)
    for i, sequence in enumerate(SEQUENCES):
        torch.testing.assert_close(together[i : i + 1], run(model, [sequence]), rtol=1e-5, atol=1e-5)


def test_one_seed_one_model(spec: ModelSpec) -> None:
    for method in ("freeze", "lora"):
        torch.manual_seed(1)
        first = ProteinModel.build(spec, CLASSES, method=method, pooling="attention", seed=5)
        torch.manual_seed(2)
        state = torch.get_rng_state()
        second = ProteinModel.build(spec, CLASSES, method=method, pooling="attention", seed=5)
        assert torch.equal(torch.get_rng_state(), state)  # building draws from no one else's numbers
        third = ProteinModel.build(spec, CLASSES, method=method, pooling="attention", seed=6)
        one, two, three = (model.trainable_state() for model in (first, second, third))
        assert all(torch.equal(one[name], two[name]) for name in one)
        assert not all(torch.equal(one[name], three[name]) for name in one)


def test_trainable_state_goes_back_and_forth(spec: ModelSpec) -> None:
    one = ProteinModel.build(spec, TWO_NUMBERS, method="lora", seed=1)
    two = ProteinModel.build(spec, TWO_NUMBERS, method="lora", seed=2)
    one.scale_outputs(torch.tensor([50.0, -3.0]), torch.tensor([10.0, 0.5]))
    assert not torch.allclose(run(one), run(two))
    state = one.trainable_state()
    assert all("lora_" in name for name in state if name.startswith("backbone."))
    two.load_trainable_state(state)
    assert torch.equal(run(one), run(two))
    with torch.no_grad():
        next(p for p in one.parameters() if p.requires_grad).add_(1.0)
    assert torch.equal(run(two), run(two))  # the state was a copy


def test_a_state_of_another_model_is_refused(spec: ModelSpec) -> None:
    lora = ProteinModel.build(spec, CLASSES, method="lora")
    with pytest.raises(ModelLoadError, match="do not fit"):
        ProteinModel.build(spec, CLASSES).load_trainable_state(lora.trainable_state())
    with pytest.raises(ModelLoadError, match="do not fit"):
        ProteinModel.build(spec, CLASSES).load_trainable_state(
            ProteinModel.build(spec, Task(TaskKind.SINGLE_LABEL, classes=("a", "b"))).trainable_state()
        )


def test_scaled_outputs_are_in_the_users_unit(spec: ModelSpec) -> None:
    """A8: labels far from 0 and 1 are learnt, and predictions come back in their unit."""
    model = ProteinModel.build(spec, TWO_NUMBERS)
    plain = run(model)
    model.scale_outputs(torch.tensor([50.0, -3.0]), torch.tensor([10.0, 0.5]))
    expected = plain * torch.tensor([10.0, 0.5]) + torch.tensor([50.0, -3.0])
    torch.testing.assert_close(run(model), expected)
    model.scale_outputs(torch.tensor([1.0, 2.0]), torch.tensor([0.0, float("nan")]))  # constant, unknown
    torch.testing.assert_close(run(model), plain + torch.tensor([1.0, 2.0]))
    with pytest.raises(ConfigError, match="Only regression"):
        ProteinModel.build(spec, CLASSES).scale_outputs(torch.zeros(3), torch.ones(3))


def test_max_length_is_the_models(spec: ModelSpec, repo: Callable[[str], Path]) -> None:
    assert ProteinModel.build(spec, CLASSES).max_length == 1022
    short = ProteinModel.build(spec, CLASSES, max_length=5)
    torch.testing.assert_close(run(short, ["MKTAYIAKQ"]), run(short, ["MKTAY"]))
    with pytest.raises(ConfigError, match="1 to 62"):
        ProteinModel.build(resolve(str(repo("esm1b"))), CLASSES, max_length=100)


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention", "light-attention", "max"])
def test_pooling_of_a_residue_task_is_refused_before_loading(pooling: str) -> None:
    nowhere = ModelSpec(name="x", source="user/none", revision="main")
    with pytest.raises(ConfigError, match=f"pooling {pooling} has no meaning"):
        ProteinModel.build(nowhere, PER_RESIDUE, pooling=pooling)


def test_impossible_poolings_are_refused(repo: Callable[[str], Path]) -> None:
    t5 = resolve(str(repo("prott5")))
    with pytest.raises(ConfigError, match="token for the whole sequence"):
        ProteinModel.build(t5, CLASSES, pooling="cls")
    with pytest.raises(ConfigError, match="token for the whole sequence"):
        ProteinModel.build(resolve("prott5-xl-bfd"), CLASSES, pooling="cls")  # without a download


def test_pooling_left_open_is_the_mean_or_none_for_residues(spec: ModelSpec) -> None:
    assert ProteinModel.build(spec, CLASSES).design.pooling == "mean"
    assert ProteinModel.build(spec, PER_RESIDUE).design.pooling is None


def test_head_sizes(spec: ModelSpec) -> None:
    linear = ProteinModel.build(spec, CLASSES, head_hidden=0)
    assert [m.out_features for m in linear.head.modules() if isinstance(m, torch.nn.Linear)] == [3]
    usual = ProteinModel.build(spec, CLASSES)
    assert [m.out_features for m in usual.head.modules() if isinstance(m, torch.nn.Linear)] == [32, 3]


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("method", ["freeze", "lora"])
def test_the_embedding_is_what_the_head_reads(spec: ModelSpec, pooling: str, method: str) -> None:
    model = ProteinModel.build(spec, CLASSES, method=method, pooling=pooling).eval()
    batch = tokens(model)
    with torch.no_grad():
        outputs, embedding = model.forward_embedded(batch.input_ids, batch.attention_mask, batch.lengths)
        assert embedding.shape == (3, model.embedding_width)
        torch.testing.assert_close(model.head(embedding), outputs)
    torch.testing.assert_close(outputs, run(model))


def test_the_embedding_of_a_residue_task_is_the_mean_over_its_residues(spec: ModelSpec) -> None:
    model = ProteinModel.build(spec, PER_RESIDUE).eval()
    batch = tokens(model)
    arguments = (batch.input_ids, batch.attention_mask, batch.lengths)
    with torch.no_grad():
        outputs, embedding = model.forward_embedded(*arguments)
        residues = model.features(*arguments)
    expected = torch.stack([residues[i, :length].mean(0) for i, length in enumerate(batch.lengths.tolist())])
    torch.testing.assert_close(embedding, expected)
    torch.testing.assert_close(outputs, run(model))
    mask = torch.arange(14) < batch.lengths[:, None]
    torch.testing.assert_close(model.forward_features_embedded(residues, mask)[1], expected)


def test_the_embedding_leaves_out_what_is_put_beside_it(spec: ModelSpec) -> None:
    beside = ProteinModel.build(spec, CLASSES, descriptors=("charge",)).eval()
    plain = ProteinModel.build(spec, CLASSES).eval()
    batch = beside.collate(beside.prepare(SEQUENCES))
    arguments = (batch.input_ids, batch.attention_mask, batch.lengths)
    with torch.no_grad():
        torch.testing.assert_close(
            beside.forward_embedded(*arguments, **batch.extras)[1], plain.forward_embedded(*arguments)[1]
        )
