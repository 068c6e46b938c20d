"""Learning-rate factors, worked out by hand."""

from __future__ import annotations

import math

import pytest

from profactory.errors import ConfigError
from profactory.training.schedule import learning_rate_factor, warmup_steps


def course(total, **options):
    return [learning_rate_factor(step, total, **options) for step in range(total)]


def test_linear_with_warmup():
    assert course(6, warmup=2, kind="linear") == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_linear_without_warmup():
    assert course(4, kind="linear") == pytest.approx([1.0, 0.75, 0.5, 0.25])


def test_cosine():
    half = math.sqrt(0.5)  # cos(pi/4)
    expected = [1.0, (1 + half) / 2, 0.5, (1 - half) / 2]
    assert course(4, kind="cosine") == pytest.approx(expected)


def test_constant():
    assert course(5, warmup=2, kind="constant") == pytest.approx([0.5, 1, 1, 1, 1])


def test_steps_are_optimizer_steps():
    """A22: 800 micro-batches with accumulation 8 are 100 steps; the last rate is near 0, not 0.97 of peak."""
    total = 800 // 8
    factors = course(total, warmup=warmup_steps(0.1, total), kind="linear")
    assert factors.index(1.0) == 9  # the warm-up is over after 10 steps
    assert factors[-1] == pytest.approx(1 / 90)


def test_beyond_the_end_and_all_warmup():
    assert learning_rate_factor(10, 5, kind="linear") == 0.0
    assert course(3, warmup=3) == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize(
    ("warmup", "total", "steps"),
    [(0.0, 100, 0), (0.06, 50, 3), (0.5, 3, 2), (1.0, 50, 1), (7, 50, 7), (80, 50, 50)],
)
def test_warmup_steps(warmup, total, steps):
    assert warmup_steps(warmup, total) == steps


@pytest.mark.parametrize("warmup", [-1, math.nan, math.inf])
def test_impossible_warmup(warmup):
    with pytest.raises(ConfigError):
        warmup_steps(warmup, 10)


def test_unknown_schedule():
    with pytest.raises(ConfigError, match="step"):
        learning_rate_factor(0, 10, kind="step")
