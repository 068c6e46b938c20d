"""One layer, or a learned mix of all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from profactory.errors import ConfigError
from profactory.models.backbone import Backbone
from profactory.models.layer_mix import LayerMix
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import ModelSpec, resolve
from profactory.tasks import Task, TaskKind
from profactory.training.loss_model import FrozenEncoder

TASK = Task(TaskKind.SINGLE_LABEL, classes=("a", "b"))
SEQUENCES = ["MSLGAKPFGEKKF", "MKT", "ACDEFGHIKLMNPQ"]


def test_the_mix_is_a_weighted_sum() -> None:
    mix = LayerMix(3)
    with torch.no_grad():
        mix.scores.copy_(torch.tensor([0.0, 1.0, 2.0]))
        mix.scale.fill_(2.0)
    layers = torch.randn(3, 4, 5)  # (layers, batch, width)
    shares = torch.tensor([1.0, 2.71828183, 7.3890561])
    expected = 2 * sum(w * layer for w, layer in zip(shares / shares.sum(), layers, strict=True))
    torch.testing.assert_close(mix(layers.transpose(0, 1).flatten(1)), expected)
    assert mix.weights.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["esm", "esmc", "prott5", "roformer-subword"])
def test_a_fresh_mix_is_the_mean_of_the_layers(family: str, repo: Callable[[str], Path]) -> None:
    spec = resolve(str(repo(family)))
    states = []
    for layer in range(3):
        backbone = Backbone.load(spec, layer=layer)
        batch = backbone.collate(backbone.tokenize(SEQUENCES))
        states.append(backbone(**batch.arguments()).residues)
    model = ProteinModel.build(spec, TASK, layer="mix")
    assert model.mix is not None
    mixed = model.mix(model.backbone(**batch.arguments()).residues)
    torch.testing.assert_close(mixed, torch.stack(states).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "attention"])
def test_features_then_mix_and_head_is_the_whole(spec: ModelSpec, pooling: str) -> None:
    model = ProteinModel.build(spec, TASK, layer="mix", pooling=pooling).eval()
    with torch.no_grad():
        model.mix.scores.normal_(generator=torch.Generator().manual_seed(0))  # type: ignore[union-attr]
    batch = model.collate(model.prepare(SEQUENCES))
    features = model.features(**batch.arguments())
    vectors = pooling in ("mean", "cls")
    assert features.shape[-1] == model.feature_width == 3 * 32
    mask = None if vectors else torch.arange(14) < batch.lengths[:, None]
    whole = model(**batch.arguments())
    torch.testing.assert_close(model.forward_features(features, mask), whole, rtol=1e-5, atol=1e-5)
    assert model.design.cacheable is vectors  # all layers of every residue are not kept
    if not vectors:
        with pytest.raises(ValueError, match="stored"):
            FrozenEncoder(model)


def test_the_weights_of_the_mix_are_trained_and_saved(spec: ModelSpec, tmp_path: Path) -> None:
    model = ProteinModel.build(spec, TASK, layer="mix")
    assert {n for n, p in model.named_parameters() if p.requires_grad} >= {"mix.scores", "mix.scale"}
    with torch.no_grad():
        model.mix.scores.copy_(torch.tensor([1.0, 0.0, -1.0]))  # type: ignore[union-attr]
    loaded = ProteinModel.load(model.save(tmp_path / "model"))
    torch.testing.assert_close(loaded.mix.weights, model.mix.weights)  # type: ignore[union-attr]


def test_a_layer_that_does_not_exist_is_refused(spec: ModelSpec) -> None:
    for layer in (3, -4, "all"):
        with pytest.raises(ConfigError, match="no layer"):
            ProteinModel.build(spec, TASK, layer=layer)
