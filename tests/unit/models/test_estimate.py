"""The estimate against what was measured, and against arithmetic by hand; and free of torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from profactory.models.estimate import PROCESS_BYTES, estimate
from profactory.models.zoo import resolve

MIB = 1 << 20

# Peaks above the bare process, measured as the module says: architecture, method, tokens, residues, MiB.
MEASURED = [
    ("esm2-8m", "freeze", 4096, 254, 248),
    ("esm2-8m", "freeze", 4096, 1022, 307),
    ("esm2-35m", "freeze", 4096, 254, 349),
    ("esm2-35m", "freeze", 4096, 1022, 530),
    ("esm2-8m", "lora", 4096, 254, 1730),
    ("esm2-8m", "lora", 8192, 254, 2814),
    ("esm2-35m", "lora", 4096, 254, 4371),
    ("esm2-35m", "lora", 4096, 1022, 4860),
    ("esm2-8m", "full", 8192, 254, 2454),
]


@pytest.mark.parametrize(("model", "method", "tokens", "residues", "peak"), MEASURED)
def test_memory_is_near_to_what_was_measured(
    model: str, method: str, tokens: int, residues: int, peak: int
) -> None:
    lengths = np.full(tokens // (residues + 2), residues)
    found = estimate(resolve(model), lengths, method, tokens_per_batch=tokens)
    assert found is not None
    assert 0.9 * peak < (found.memory_bytes - PROCESS_BYTES) / MIB < 1.45 * peak


def test_time_and_disk_by_hand() -> None:
    spec = replace(resolve("esm2-8m"), parameters=1_000_000, layers=2, width=100)
    found = estimate(spec, np.full(10, 98), "full", cores=2)
    assert found is not None
    # 1,000 tokens; 2 operations per weight and token, and 4 per layer, unit of width and pair of tokens.
    flops = 2 * 1e6 * 1000 + 4 * 2 * 100 * (10 * 100**2)
    assert found.seconds_per_epoch == pytest.approx(3.2 * flops / 1.2e11)
    assert found.seconds_once == 0
    assert found.disk_bytes == 4 * (9 * (1_000_000 + 10_000) + 1_000_000)
    assert found.download_bytes == 4_000_000
    frozen = estimate(spec, np.full(10, 98), "freeze", cores=2, per_residue=True)
    assert frozen is not None
    assert frozen.seconds_once == pytest.approx(flops / 1.2e11)
    assert frozen.disk_bytes == 4 * (9 * 10_000 + 10_000 + 1000 * 100)


def test_what_costs_more_is_estimated_to_cost_more() -> None:
    lengths = np.array([100, 300, 5000])
    small = estimate(resolve("esm2-8m"), lengths, "lora")
    cut = estimate(resolve("esm2-8m"), lengths, "lora", max_length=200)
    large = estimate(resolve("esm2-650m"), lengths, "lora")
    assert small is not None
    assert cut is not None
    assert large is not None
    assert cut.seconds_per_epoch < small.seconds_per_epoch < large.seconds_per_epoch
    assert small.memory_bytes < large.memory_bytes
    one = estimate(resolve("esm2-8m"), np.array([1000]), "lora", batch_size=1)
    two = estimate(resolve("esm2-8m"), np.array([1000] * 2), "lora", batch_size=2)
    assert one is not None
    assert two is not None
    assert one.memory_bytes < two.memory_bytes


def test_a_model_of_unknown_size_has_no_estimate() -> None:
    assert estimate(resolve("someone/some-model"), np.array([100])) is None
    assert estimate(resolve("mini"), np.array([], np.int64)) is None


def test_needs_no_torch() -> None:
    code = "import sys, profactory.models.estimate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
