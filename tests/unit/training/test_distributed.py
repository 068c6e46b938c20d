"""Several processes: every sample is computed once, by one of them; other programs' loops are refused."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections import Counter
from multiprocessing.queues import Queue
from typing import Any

import accelerate.accelerator
import pytest
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

from profactory.errors import ConfigError
from profactory.training.distributed import make_accelerator, refuse_foreign

SAMPLES = 7


def share(rank: int, port: int, results: Queue[Any]) -> None:
    """One of two processes: what it computed, and what it got."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    import torch

    from profactory.training.distributed import in_shares, join_processes

    computed: list[int] = []

    def compute(indices: Any) -> list[str]:
        computed.extend(indices.tolist())
        return [f"sample {index}" for index in indices]

    found = in_shares(join_processes("cpu"), SAMPLES, compute)
    results.put((computed, found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_every_sample_is_computed_by_exactly_one_process() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=share, args=(rank, port, results)) for rank in range(2)]
    for process in processes:
        process.start()
    answers = [results.get(timeout=240) for _ in processes]
    for process in processes:
        process.join(60)
    counts = Counter(index for computed, _ in answers for index in computed)
    assert counts == dict.fromkeys(range(SAMPLES), 1)
    assert all(computed for computed, _ in answers)
    for _, found in answers:  # all of it, in order, on both
        assert found == [f"sample {index}" for index in range(SAMPLES)]


@pytest.mark.parametrize("kind", [DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM])
def test_loops_of_other_programs_are_refused_in_plain_words(kind: DistributedType) -> None:
    with pytest.raises(ConfigError, match=kind.value) as caught:
        refuse_foreign(kind)
    assert "torchrun" in caught.value.fix
    refuse_foreign(DistributedType.MULTI_CPU)


def test_accelerate_leaves_fsdp_to_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """On graphics cards it would wrap the model by its own rules; on processors it would do nothing."""

    class Plugin(FullyShardedDataParallelPlugin):
        def __init__(self) -> None:
            raise AssertionError("accelerate prepares for FSDP")

    monkeypatch.setattr(accelerate.accelerator, "FullyShardedDataParallelPlugin", Plugin)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert make_accelerator("cpu").num_processes == 1
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
