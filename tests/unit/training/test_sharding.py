"""A model in parts: each process holds its share, computes as often as it needs, and gets the whole back."""

from __future__ import annotations

import copy
import multiprocessing
import os
import socket
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from profactory.errors import ConfigError
from profactory.models.protein_model import ProteinModel
from profactory.training.loss_model import LossModel
from profactory.training.sharding import Shards, in_step, sharding_wanted
from tests.support.models import tiny_esm
from tests.support.training_job import build

WORLD = 2


def predict(model: ProteinModel) -> torch.Tensor:
    batch = model.collate(model.prepare(["MKTAYIAKQR", "GAV"]))
    with torch.inference_mode():
        return model(batch.input_ids, batch.attention_mask, batch.lengths)


def one_process(rank: int, port: int, model_dir: Path, results: Queue[Any]) -> None:
    """Take a model apart, use it more often than the other process does, and put it together again."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    torch.distributed.init_process_group("gloo")
    model = build(model_dir, "lora").eval()
    expected, before, twin = predict(model), model.state_dict(), copy.deepcopy(model)
    shards = Shards(LossModel(model), torch.device("cpu"))
    held = sum(p.to_local().numel() for p in model.parameters())  # type: ignore[operator]
    with in_step(model, lambda: predict(model)):
        found = [predict(model) for _ in range(3 * rank)]
    shards.gather()
    torch.distributed.destroy_process_group()
    after = model.state_dict()
    results.put(
        {
            "rank": rank,
            "held": held,
            "all": sum(p.numel() for p in twin.parameters()),
            "error": max([float((one - expected).abs().max()) for one in found], default=None),
            "same": after.keys() == before.keys() and all(torch.equal(after[n], before[n]) for n in before),
            "kinds": [type(m) for m in model.modules()] == [type(m) for m in twin.modules()],
            "trained": [p.requires_grad for p in model.parameters()],
            "expected": [p.requires_grad for p in twin.parameters()],
            # Alone, and copied: nothing of the sharding is left.
            "alone": float((predict(copy.deepcopy(model)) - expected).abs().max()),
        }
    )


@pytest.mark.slow
def test_processes_hold_a_half_each_compute_unequally_often_and_get_the_whole_back(tmp_path: Path) -> None:
    model_dir = tiny_esm(tmp_path / "tiny")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [
        spawn.Process(target=one_process, args=(rank, port, model_dir, results)) for rank in range(WORLD)
    ]
    for process in processes:
        process.start()
    answers = sorted((results.get(timeout=240) for _ in processes), key=lambda answer: answer["rank"])
    for process in processes:
        process.join(60)
    assert sum(answer["held"] for answer in answers) == answers[0]["all"]
    assert all(answer["held"] < 0.6 * answer["all"] for answer in answers)
    assert answers[0]["error"] is None  # it only went along
    assert answers[1]["error"] < 1e-5
    for answer in answers:
        assert answer["same"]
        assert answer["kinds"]
        assert answer["trained"] == answer["expected"]
        assert answer["alone"] == 0


def test_a_model_that_does_not_say_its_blocks_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear cannot be shared out"):
        Shards(nn.Linear(2, 2), torch.device("cpu"))


def test_one_process_holds_the_whole_whatever_accelerate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert sharding_wanted(2)
    assert not sharding_wanted(1)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert not sharding_wanted(2)
