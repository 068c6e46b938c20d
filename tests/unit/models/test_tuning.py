"""What is trained under each method, asserted on tensors (A1)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from profactory.config.methods import METHODS
from profactory.errors import ConfigError, MissingExtraError
from profactory.models.backbone import Backbone
from profactory.models.protein_model import ProteinModel
from profactory.models.quantised import dequantised, quantise
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
ADAPTERS = tuple(name for name, method in METHODS.items() if method.adapter)
OF_BACKBONE = [name for name in TUNERS if name != "ses-adapter"]  # its trained part is elsewhere


@pytest.mark.parametrize("family", [*FAMILY_NAMES])
@pytest.mark.parametrize("method", OF_BACKBONE)
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
        linear = [part for part in block.modules() if isinstance(part, torch.nn.Linear)][-1]
        linear.register_forward_hook(lambda _m, _i, out: graphs.append(_first(out).requires_grad))
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


@pytest.mark.parametrize("family", ["esm", "esmc", "prott5", "roformer"])
@pytest.mark.parametrize("method", ["full", "lora", "last-layers", "qlora"])
def test_gradient_checkpointing_gives_the_same_gradients(
    method: str, family: str, repo: Callable[[str], Path]
) -> None:
    gradients, kept = [], []
    for checkpointed in (False, True):
        model = ProteinModel.build(resolve(str(repo(family))), TASK, method=method, dropout=0.0)
        if checkpointed:
            model.backbone.checkpoint_gradients()
        saved: list[int] = []
        torch.manual_seed(0)  # T5 has dropout
        with torch.autograd.graph.saved_tensors_hooks(partial(_note, saved), lambda tensor: tensor):
            step(model, 0.0)
        kept.append(sum(saved))
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)
    assert kept[1] < kept[0]


def _note(saved: list[int], tensor: torch.Tensor) -> torch.Tensor:
    saved.append(tensor.numel())
    return tensor


# The sixteen values of NF4, from the appendix of the paper.
NF4 = [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0]
NF4 += [0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]


@pytest.mark.parametrize(("inputs", "block"), [(32, 32), (64, 64), (96, 32), (320, 64)])
def test_four_bits_stand_for_the_nearest_of_sixteen_values(inputs: int, block: int) -> None:
    """A scale must not be shared across rows: bitsandbytes 0.50 then reads wrong weights on a processor."""
    layers = torch.nn.Sequential(torch.nn.Linear(inputs, 24))
    with torch.no_grad():
        layers[0].weight.normal_(generator=torch.Generator().manual_seed(0))
    blocks = layers[0].weight.detach().clone().reshape(-1, block)
    scales = blocks.abs().amax(1, keepdim=True)
    nearest = ((blocks / scales)[:, :, None] - torch.tensor(NF4)).abs().argmin(-1)
    expected = (torch.tensor(NF4)[nearest] * scales).reshape(24, inputs)
    bias = layers[0].bias.detach().clone()
    quantise(layers, (layers,))
    torch.testing.assert_close(dequantised(layers[0].weight), expected)
    vectors = torch.randn(5, inputs)
    torch.testing.assert_close(layers(vectors), vectors @ expected.T + bias, rtol=1e-4, atol=1e-4)


def test_a_layer_that_no_block_fits_stays_as_it_is() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(40, 8))
    quantise(layers, (layers,))
    assert type(layers[0]) is torch.nn.Linear


def test_four_bits_are_the_same_after_they_were_numbers(spec: ModelSpec) -> None:
    """A25: quantising what stands for quantised weights gives them again; memory is that of four bits."""
    model = ProteinModel.build(spec, TASK, method="qlora")
    before = dict(model.backbone.base_weights())
    original = dict(Backbone.load(spec).base_weights())
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[name], original[name])
    untouched = "embeddings.word_embeddings.weight"
    assert torch.equal(before[untouched], original[untouched])
    again = torch.nn.Sequential(torch.nn.Linear(32, 32))
    again[0].weight.data.copy_(before[name])
    quantise(again, (again,))
    assert torch.equal(dequantised(again[0].weight), before[name])
    packed = [p for p in model.backbone.network.parameters() if p.dtype == torch.uint8]
    assert sum(p.numel() for p in packed) == 2 * (4 * 32 * 32 + 2 * 32 * 64) / 2  # bytes
    plain = ProteinModel.build(spec, TASK, method="lora")
    assert parameter_counts(model.backbone) == parameter_counts(plain.backbone)


def test_qlora_without_its_package_names_the_extra(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn.modules", None)
    with pytest.raises(MissingExtraError, match=r"profactory\[qlora\]"):
        apply_method(Backbone.load(spec), "qlora")
