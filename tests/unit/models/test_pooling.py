"""Poolings against plain loops, and their independence of padding (A19)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from profactory.errors import ConfigError
from profactory.models.heads import Head
from profactory.models.pooling import POOLINGS, LightAttentionPooling, make_pooling

WIDTH = 6


def batch(lengths: list[int], padded: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return residues with rubbish behind the end, mask and cls."""
    generator = torch.Generator().manual_seed(seed)
    residues = torch.randn(len(lengths), padded, WIDTH, generator=generator)
    mask = torch.arange(padded) < torch.tensor(lengths)[:, None]
    return residues, mask, torch.randn(len(lengths), WIDTH, generator=generator)


def pooling_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return make_pooling(name, WIDTH).eval()


@pytest.mark.parametrize("name", POOLINGS)
@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 25), min_size=1, max_size=5),
    more=st.integers(0, 15),
    seed=st.integers(0, 1000),
)
def test_padding_and_batch_mates_change_nothing(name: str, lengths: list[int], more: int, seed: int) -> None:
    residues, mask, cls = batch(lengths, max(lengths) + more, seed)
    pooling = pooling_of(name)
    together = pooling(residues, mask, cls)
    assert together.shape == (len(lengths), pooling.out_width)
    for i, length in enumerate(lengths):
        alone = pooling(residues[i : i + 1, :length], mask[i : i + 1, :length], cls[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], rtol=1e-5, atol=1e-6)


def test_mean_max_and_cls_are_what_they_say() -> None:
    residues, mask, cls = batch([3, 5], 7)
    for i, length in enumerate([3, 5]):
        rows = [[float(x) for x in residues[i, j]] for j in range(length)]
        mean = [sum(column) / length for column in zip(*rows, strict=True)]
        top = [max(column) for column in zip(*rows, strict=True)]
        torch.testing.assert_close(pooling_of("mean")(residues, mask, cls)[i], torch.tensor(mean))
        torch.testing.assert_close(pooling_of("max")(residues, mask, cls)[i], torch.tensor(top))
    assert torch.equal(pooling_of("cls")(residues, mask, cls), cls)


def test_attention_is_the_weighted_mean_of_its_scores() -> None:
    residues, mask, _ = batch([4], 6)
    pooling = pooling_of("attention")
    weights = torch.stack([pooling.score(residues[0, j])[0] for j in range(4)]).softmax(0)
    expected = sum(weights[j] * residues[0, j] for j in range(4))
    torch.testing.assert_close(pooling(residues, mask)[0], expected)


def test_light_attention_as_published_on_an_unpadded_sequence() -> None:
    residues, mask, _ = batch([12], 12)
    pooling = pooling_of("light-attention")
    assert isinstance(pooling, LightAttentionPooling)
    channels = residues.transpose(1, 2)
    values, scores = pooling.values(channels)[0], pooling.scores(channels)[0]  # (width, length)
    expected = torch.cat(((values * scores.softmax(-1)).sum(-1), values.max(-1).values))
    torch.testing.assert_close(pooling(residues, mask)[0], expected)


def test_constant_residues_give_the_constant() -> None:
    residues = torch.full((2, 9, WIDTH), 3.5)
    mask = torch.arange(9) < torch.tensor([[2], [9]])
    for name in ("mean", "max", "attention"):
        torch.testing.assert_close(pooling_of(name)(residues, mask), torch.full((2, WIDTH), 3.5))


def test_names() -> None:
    with pytest.raises(ConfigError, match="light-attention"):
        make_pooling("median", 4)
    with pytest.raises(ConfigError, match="no token"):
        make_pooling("cls", 4)(*batch([1], 1)[:2], None)
    assert {name for name in POOLINGS if make_pooling(name, 4).parameter_free} == {"mean", "max", "cls"}


def test_no_batch_norm_anywhere() -> None:
    for module in (*map(pooling_of, POOLINGS), Head(WIDTH, 2, 4, 0.1)):
        assert not any("BatchNorm" in type(part).__name__ for part in module.modules())


def test_heads_work_on_vectors_and_residues() -> None:
    for hidden in (0, 5):
        head = Head(WIDTH, 3, hidden, 0.0)
        vectors = torch.randn(4, 7, WIDTH)
        assert head(vectors).shape == (4, 7, 3)
        torch.testing.assert_close(head(vectors)[2, 5], head(vectors[2, 5]))
