"""ESM without padding against the library's own network with padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from profactory.models import packed as packed_module
from profactory.models.backbone import Backbone
from profactory.models.batch import TokenBatch
from profactory.models.packed import packable
from profactory.models.tuning import Tuning, apply_method
from profactory.models.zoo import resolve

SEQUENCES = ["MKTAYIAKQR", "MK", "GSHMLEDPVA" * 3, "ACDEFGHIKLMNPQRSTVWY"]


@pytest.fixture
def esm(repo: Callable[[str], Path]) -> Backbone:
    return Backbone.load(resolve(str(repo("esm"))))


def plain(backbone: Backbone, batch: TokenBatch) -> Tensor:
    """Return what the library computes, zero where there is padding."""
    states: Tensor = backbone.network(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask
    ).last_hidden_state
    return states * batch.attention_mask[:, :, None]


def packed(backbone: Backbone, batch: TokenBatch) -> Tensor:
    states: Tensor = backbone._hidden(batch.input_ids, batch.attention_mask)
    return states


@pytest.mark.parametrize("count", [1, 4])
def test_states_are_those_of_the_library(esm: Backbone, count: int) -> None:
    batch = esm.collate(esm.tokenize(SEQUENCES[:count]))
    with torch.no_grad():
        wanted, found = plain(esm, batch), packed(esm, batch)
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not torch.equal(found, torch.zeros_like(found))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_gradients_are_those_of_the_library(esm: Backbone, method: str) -> None:
    torch.manual_seed(0)
    apply_method(esm, method, Tuning())
    for parameter in esm.parameters():
        if parameter.requires_grad and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # LoRA begins with zeros
    batch = esm.collate(esm.tokenize(SEQUENCES))
    gradients: list[dict[str, Tensor]] = []
    for compute in (plain, packed):
        esm.zero_grad()
        compute(esm, batch).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({name: p.grad for name, p in esm.named_parameters() if p.grad is not None})
    wanted, found = gradients
    assert wanted.keys() == found.keys()
    assert wanted
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


def test_no_attention_gets_a_mask(esm: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    masks: list[Any] = []
    real = torch.nn.functional.scaled_dot_product_attention

    def noted(*args: Any, **options: Any) -> Tensor:
        masks.append(options.get("attn_mask"))
        return real(*args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    esm(**esm.collate(esm.tokenize(SEQUENCES)).arguments())
    assert masks == [None] * (len(SEQUENCES) * esm.n_layers)


def test_other_families_and_eager_attention_stay_with_the_library(
    esm: Backbone, repo: Callable[[str], Path]
) -> None:
    eager = Backbone.load(resolve(str(repo("esm"))), attention="eager")
    assert packable(esm.network) is esm.network
    assert packable(eager.network) is None
    assert packable(Backbone.load(resolve(str(repo("bert")))).network) is None


def test_attention_in_bf16_has_the_gradients_of_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    parts = [torch.randn(40, 2, 16).bfloat16().requires_grad_() for _ in range(3)]
    weights = torch.randn(40, 2, 16)
    gradients: list[list[Tensor]] = []
    for most in (packed_module.MOST_PLAIN, 0):
        monkeypatch.setattr(packed_module, "MOST_PLAIN", most)
        states = packed_module._within(*parts, 40, 0.0)
        gradients.append(
            [states.detach().float(), *torch.autograd.grad((states.float() * weights).sum(), parts)]
        )
    for quick, fused in zip(*gradients, strict=True):
        assert not torch.equal(quick, torch.zeros_like(quick))
        assert torch.allclose(quick, fused, atol=0.02 * float(fused.abs().max()))


def test_neighbours_of_one_length_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3 * 12, 2, 16) for _ in range(3))
    together = packed_module._within(query, key, value, 12, 0.0)
    for start in (0, 12, 24):
        own = slice(start, start + 12)
        scores = torch.einsum("ihd,jhd->hij", query[own], key[own])  # (heads, length, length)
        alone = torch.einsum("hij,jhd->ihd", scores.softmax(-1), value[own])
        torch.testing.assert_close(together[own], alone, rtol=1e-5, atol=1e-5)
