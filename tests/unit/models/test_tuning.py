"""What is trained under each method, asserted on tensors (A1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from profactory.errors import ConfigError
from profactory.models.backbone import Backbone
from profactory.models.protein_model import ProteinModel
from profactory.models.tuning import TUNERS, Tuning, apply_method, parameter_counts
from profactory.models.zoo import ModelSpec, resolve
from profactory.tasks import Task, TaskKind
from tests.support.models import FAMILY_NAMES, tiny_esm

TASK = Task(TaskKind.SINGLE_LABEL, classes=("a", "b"))
SEQUENCES = ["MSLGAKPFGEKKF", "MKT", "ACDEFGHIKLMNPQ"]


def step(model: ProteinModel, learning_rate: float = 0.1) -> None:
    """Take one optimizer step."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=learning_rate)
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES))
    logits = model(batch.input_ids, batch.attention_mask, batch.lengths)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0])).backward()
    optimizer.step()


def snapshot(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in backbone.network.state_dict().items()}


FREEZING = ("freeze",)
ADAPTERS = ("lora", "dora", "adalora", "ia3")


@pytest.mark.parametrize("family", [*FAMILY_NAMES])
@pytest.mark.parametrize("method", TUNERS)
def test_each_method_changes_what_it_says_and_nothing_else(
    method: str, family: str, repo: Callable[[str], Path]
) -> None:
    model = ProteinModel.build(resolve(str(repo(family))), TASK, method=method, dropout=0.0)
    before, head = snapshot(model.backbone), model.head.layers[-1].weight.detach().clone()
    step(model)
    after = snapshot(model.backbone)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not torch.equal(head, model.head.layers[-1].weight)
    weights = {name for name in before if name.endswith(("query.weight", "q.weight", "q_proj.weight"))}
    if method in FREEZING:
        assert not changed
    elif method in ADAPTERS:
        assert changed
        assert all("lora_" in name or "ia3_" in name for name in changed)
    elif method == "last-layers":  # both layers of the tiny models, not the embedding
        assert not any("embed" in name or "shared" in name for name in changed)
        assert changed.issuperset(weights)
    else:
        assert any("embed" in name or "shared" in name for name in changed)
        assert weights
        assert changed.issuperset(weights)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_trained_parameter_gets_a_gradient(family: str, repo: Callable[[str], Path]) -> None:
    """A parameter without a gradient would stop distributed training."""
    model = ProteinModel.build(resolve(str(repo(family))), TASK, method="full")
    step(model)
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_full_training_reports_what_it_trains(spec: ModelSpec) -> None:
    model = ProteinModel.build(spec, TASK, method="full")
    counts = parameter_counts(model.backbone)
    contact_head = 2 * 2 + 1  # layers x heads weights and a bias take no part in hidden states
    assert counts.total - counts.trainable == contact_head
    assert parameter_counts(ProteinModel.build(spec, TASK).backbone).trainable == 0


def test_lora_counts(spec: ModelSpec) -> None:
    backbone = Backbone.load(spec)
    apply_method(backbone, "lora", Tuning(rank=4))
    # query, key and value of two layers, each 32 x 4 and 4 x 32
    assert parameter_counts(backbone).trainable == 2 * 3 * 2 * 32 * 4


def test_other_target_modules(spec: ModelSpec) -> None:
    backbone = Backbone.load(spec)
    apply_method(backbone, "lora", Tuning(rank=2, target_modules=("intermediate.dense",)))
    # 32 -> 64 in each of two layers
    assert parameter_counts(backbone).trainable == 2 * (32 * 2 + 2 * 64)


def test_ia3_scales_keys_values_and_the_inside_of_the_feed_forward(repo: Callable[[str], Path]) -> None:
    """Counted by hand: two layers of width 32 with 64 inside; attention's own output is not touched."""
    for family in ("esm", "bert", "roformer", "prott5", "ankh", "esmc"):
        backbone = Backbone.load(resolve(str(repo(family))))
        apply_method(backbone, "ia3")
        assert parameter_counts(backbone).trainable == 2 * (32 + 32 + 64), family


def test_dora_has_a_length_for_each_output_beside_lora(spec: ModelSpec) -> None:
    backbone = Backbone.load(spec)
    apply_method(backbone, "dora", Tuning(rank=4))
    assert parameter_counts(backbone).trainable == 2 * 3 * (2 * 32 * 4 + 32)


@pytest.mark.parametrize("family", ["esm", "esmc", "prott5", "bert"])
def test_the_last_layer_is_trained_and_nothing_below_is_kept(
    family: str, repo: Callable[[str], Path]
) -> None:
    model = ProteinModel.build(
        resolve(str(repo(family))), TASK, method="last-layers", tuning=Tuning(last_layers=1)
    )
    trained = {name for name, p in model.backbone.network.named_parameters() if p.requires_grad}
    blocks = {part for name in trained for part in name.split(".") if part.isdigit()}
    assert all(".1." in name or "norm" in name for name in trained), trained
    assert "1" in blocks
    graphs = []
    for block in model.backbone.stack.blocks:
        block.register_forward_hook(lambda _m, _i, out: graphs.append(_first(out).requires_grad))
    step(model)
    assert graphs == [False, True]
    assert all(p.grad is not None for p in model.backbone.network.parameters() if p.requires_grad)


def _first(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[0]


@pytest.mark.parametrize("method", ["last-layers", "full", "lora", "ia3"])
@pytest.mark.parametrize("family", ["esm", "prott5", "esmc"])
def test_layers_behind_the_one_whose_output_is_taken_are_not_trained(
    method: str, family: str, repo: Callable[[str], Path]
) -> None:
    tuning = Tuning(last_layers=1)
    model = ProteinModel.build(resolve(str(repo(family))), TASK, method=method, tuning=tuning, layer=1)
    step(model)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    assert [name for name, p in trained if p.grad is None] == []
    assert any(name.startswith("backbone.") for name, _ in trained)
    with pytest.raises(ConfigError):  # nothing of the embedding alone is left to adapt
        ProteinModel.build(resolve(str(repo(family))), TASK, method="last-layers", tuning=tuning, layer=0)


def test_a_target_that_matches_nothing_lists_what_exists(spec: ModelSpec) -> None:
    with pytest.raises(ConfigError, match="'w0'") as caught:
        apply_method(Backbone.load(spec), "lora", Tuning(target_modules=("query", "w0")))
    assert "dense, key, query" in str(caught.value)
    with pytest.raises(ConfigError, match="list is empty"):
        apply_method(Backbone.load(spec), "lora", Tuning(target_modules=()))


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("plm-lora", {}, "No tuning method"),
        ("full", {"target_modules": ("query",)}, "no meaning"),
        ("lora", {"rank": 0}, "makes no sense"),
        ("lora", {"dropout": 1.0}, "makes no sense"),
        ("last-layers", {"last_layers": 3}, "3 layers cannot be trained"),
        ("ia3", {"target_modules": ("nothing",)}, "'nothing'"),
    ],
)
def test_impossible_options_are_refused(
    spec: ModelSpec, method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_method(Backbone.load(spec), method, Tuning(**options))


def test_a_backbone_is_prepared_once(spec: ModelSpec) -> None:
    """A14: an adapter inside an adapter would be trained and not be saved."""
    backbone = Backbone.load(spec)
    apply_method(backbone, "lora")
    with pytest.raises(ConfigError, match="already prepared"):
        apply_method(backbone, "lora")


def test_dropout_of_the_backbone_is_active_only_where_it_is_trained(tmp_path: Path) -> None:
    folder = tiny_esm(tmp_path / "esm", hidden_dropout_prob=0.5)
    for method, varies in (("freeze", False), ("full", True)):
        model = ProteinModel.build(resolve(str(folder)), TASK, method=method, dropout=0.0).train()
        batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES))
        first, second = (
            model.backbone(batch.input_ids, batch.attention_mask, batch.lengths).residues for _ in range(2)
        )
        assert torch.equal(first, second) is not varies
        model.eval()
        assert not any(module.training for module in model.modules())


def test_a_frozen_backbone_keeps_no_graph(spec: ModelSpec) -> None:
    model = ProteinModel.build(spec, TASK)
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES))
    assert not model.backbone(batch.input_ids, batch.attention_mask, batch.lengths).residues.requires_grad
    assert model(batch.input_ids, batch.attention_mask, batch.lengths).requires_grad


def test_adapters_do_not_count_in_the_hash_of_the_weights(spec: ModelSpec) -> None:
    plain = Backbone.load(spec)
    before = plain.weights_hash()
    adapted = ProteinModel.build(spec, TASK, method="lora")
    assert adapted.backbone.weights_hash() == before
    step(adapted)
    adapted.backbone._hash = None
    assert adapted.backbone.weights_hash() == before
    full = ProteinModel.build(spec, TASK, method="full")
    step(full)
    assert full.backbone.weights_hash() != before
