"""The network: the fast path equals the stock one; what is exported loads as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, EsmForMaskedLM

from profactory.errors import ConfigError, ModelError
from profactory.pretraining.corpus import CLS, EOS, encode
from profactory.pretraining.export import export_model
from profactory.pretraining.network import (
    build_config,
    build_model,
    can_run_fast,
    fast_encode,
    start_local_attention,
)
from profactory.pretraining.objectives import PretrainingModel

IDS = torch.randint(4, 24, (3, 50), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> EsmForMaskedLM:
    network = build_model(build_config(128, 2), seed=0).eval()
    start_local_attention(network)
    return network


@pytest.fixture(scope="module")
def exported(network: EsmForMaskedLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    model = PretrainingModel(network, num_terms=7, residue_heads=True)
    export_model(model.language_model, folder, torch.float16)
    return folder


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = build_model(build_config(64, 1), seed=3).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    second = build_model(build_config(64, 1), seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def test_the_fast_path_equals_the_stock_one(network: EsmForMaskedLM) -> None:
    stock = network.esm(input_ids=IDS).last_hidden_state
    torch.testing.assert_close(fast_encode(network, IDS), stock, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_narrow_heads_take_the_fast_path_too() -> None:
    network = build_model(build_config(40, 1, heads=2), seed=0).eval()
    start_local_attention(network)
    torch.testing.assert_close(fast_encode(network, IDS), network.esm(input_ids=IDS).last_hidden_state)


def test_what_the_fast_path_leaves_out_is_computed_by_the_stock_one() -> None:
    assert can_run_fast(build_model(build_config(64, 1), seed=0))
    for field, value in {
        "token_dropout": True,
        "position_embedding_type": "absolute",
        "emb_layer_norm_before": True,
        "hidden_dropout_prob": 0.1,
    }.items():
        config = build_config(64, 1)
        setattr(config, field, value)
        assert not can_run_fast(build_model(config, seed=0)), field


def test_a_width_that_does_not_divide_is_refused_with_one_that_does() -> None:
    with pytest.raises(ConfigError, match="--width 96"):
        build_config(100, 1, heads=6)


def test_gradients_of_the_fast_path_equal_the_stock_ones() -> None:
    network = build_model(build_config(64, 2), seed=0)
    direction = torch.randn(3, 50, 64, generator=torch.Generator().manual_seed(1))
    parameters = dict(network.esm.encoder.named_parameters())
    stock = torch.autograd.grad((network.esm(input_ids=IDS)[0] * direction).sum(), list(parameters.values()))
    fast = torch.autograd.grad((fast_encode(network, IDS) * direction).sum(), list(parameters.values()))
    for name, a, b in zip(parameters, stock, fast, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-3, atol=1e-4, msg=name)


@torch.no_grad()
def test_heads_start_by_looking_at_their_neighbours(network: EsmForMaskedLM) -> None:
    eager = build_model(build_config(256, 1), seed=0).eval()
    start_local_attention(eager)
    eager.set_attn_implementation("eager")
    attention = eager.esm(input_ids=IDS, output_attentions=True).attentions[
        0
    ]  # (batch, heads, length, length)
    for head, offset in enumerate((-1, 1, -3, 3)):
        place = attention[0, head, 25].argmax().item() - 25
        assert abs(place - offset) <= 1


def test_export_drops_the_heads_and_keeps_16_bits(exported: Path, network: EsmForMaskedLM) -> None:
    weights = load_file(exported / "model.safetensors")
    assert not [name for name in weights if "heads." in name or "terms" in name]
    kinds = {tensor.dtype for name, tensor in weights.items() if not name.endswith("inv_freq")}
    assert kinds == {torch.float16}
    half = sum(p.numel() for p in network.parameters()) * 2
    assert (exported / "model.safetensors").stat().st_size < half + 20_000
    assert (exported / "model.safetensors").stat().st_mode & 0o044 == 0o044


@torch.no_grad()
def test_export_loads_in_both_auto_classes_with_equal_results(
    exported: Path, network: EsmForMaskedLM
) -> None:
    masked, info = AutoModelForMaskedLM.from_pretrained(exported, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    trunk = AutoModel.from_pretrained(exported, add_pooling_layer=False)
    assert masked.dtype == trunk.dtype == torch.float32
    out = masked(input_ids=IDS, output_hidden_states=True)
    torch.testing.assert_close(trunk(input_ids=IDS).last_hidden_state, out.hidden_states[-1])
    # float16 holds 11 bits of each weight.
    torch.testing.assert_close(out.logits, network(input_ids=IDS).logits, rtol=2e-2, atol=2e-3)


def test_the_exported_tokenizer_agrees_with_our_encoding(exported: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported)
    sequence = "LAGVSERTIDPKQNFYMHWCXBUZO"
    assert tokenizer(sequence)["input_ids"] == [CLS, *encode(sequence).tolist(), EOS]
    assert tokenizer.mask_token_id == 32
    assert tokenizer.pad_token_id == 1


def test_the_exported_configuration_names_no_code(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    assert config["architectures"] == ["EsmForMaskedLM"]
    assert not [key for key in config if key.startswith("_") or key == "auto_map"]


@torch.no_grad()
def test_weights_that_do_not_fit_16_bits_are_refused(tmp_path: Path) -> None:
    network = build_model(build_config(64, 1), seed=0)
    network.esm.encoder.layer[0].output.dense.weight[0, 0] = 1e6
    with pytest.raises(ModelError, match=r"1e\+06"):
        export_model(network, tmp_path, torch.float16)
    assert not (tmp_path / "model.safetensors").exists()
