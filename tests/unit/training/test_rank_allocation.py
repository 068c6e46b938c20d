"""AdaLoRA: ranks really move, the budget is kept, and a resumed training goes on exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from profactory.models.protein_model import ProteinModel
from profactory.models.rank_allocation import RankAllocation
from profactory.runs import Run
from profactory.training.loss_model import LossModel
from tests.support import training_job
from tests.support.models import tiny_esm


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("tiny"))


def train(path: Path, model_dir: Path, **settings: Any) -> Any:
    run = Run.open(path) if (path / "status.json").exists() else Run.create(path, {"data": "toy"})
    with run.lock():
        return training_job.train(run, model_dir, "adalora", dropout=0.0, **settings)[0]


def ranks(model: Any) -> list[int]:
    """Rank of each adapted layer, counted from the weights: a masked triplet has the value 0."""
    return [int((p != 0).sum()) for name, p in model.named_parameters() if "lora_E" in name]


def test_ranks_move_to_where_they_help_within_the_budget(model_dir: Path, tmp_path: Path) -> None:
    before = training_job.build(model_dir, "adalora")
    layers = len(ranks(before))
    assert layers == 6  # query, key and value of two layers
    assert [p.numel() for name, p in before.named_parameters() if "lora_E" in name] == [12] * layers
    after = ranks(train(tmp_path / "run", model_dir, epochs=8, learning_rate=0.02, patience=0))
    assert sum(after) <= 8 * layers  # 12 at first, 8 on average at the end
    assert len(set(after)) > 1, after


def test_the_allocation_is_in_the_checkpoints(model_dir: Path, tmp_path: Path) -> None:
    """What is put back is what was there: importance, and which triplets are masked."""
    first = LossModel(training_job.build(model_dir, "adalora")).train()
    first.plan_steps(20)
    step(first, 1)
    for number in range(2, 8):
        step(first, number)
    second = LossModel(training_job.build(model_dir, "adalora")).train()
    second.plan_steps(20)
    second.load_state_dict(first.state_dict())
    assert isinstance(first.allocation, RankAllocation)
    assert sum(first.allocation.ranks.values()) < 72
    for number in range(8, 21):
        step(first, number)
        step(second, number)
    assert ranks(first) == ranks(second)
    for (name, one), (_, two) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(one, two), name
    saved = first.model.save(tmp_path / "model")
    config = json.loads((saved / "adapter" / "adapter_config.json").read_text())
    assert config["rank_pattern"] is None  # the tensors have all ranks, masked ones as zeros
    loaded = ProteinModel.load(saved)
    assert ranks(loaded) == ranks(first)


def step(model: LossModel, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    backbone = model.model.backbone
    batch = backbone.collate(backbone.tokenize(["MKTAYIAKQR", "ACDEFGHIKLMNPQ", "MSL"]))
    targets = torch.randn((3, 1), generator=generator)
    torch.manual_seed(number)
    model(
        targets,
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        lengths=batch.lengths,
    ).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
    model.after_step(number)
    model.zero_grad()


def test_orthogonality_pulls_without_showing_in_the_loss(model_dir: Path) -> None:
    model = LossModel(training_job.build(model_dir, "adalora", dropout=0.0))
    backbone = model.model.backbone
    batch = backbone.collate(backbone.tokenize(["MKTAYIAKQR", "MSL"]))
    inputs = {name: getattr(batch, name) for name in ("input_ids", "attention_mask", "lengths")}
    losses = []
    for mode in (True, False):
        model.train(mode)
        for module in model.modules():
            module.training = mode and not isinstance(module, torch.nn.Dropout)
        losses.append(model(torch.zeros(2, 1), **inputs))
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)
    losses[0].backward()
    rows = {name: p for name, p in model.named_parameters() if "lora_A" in name or "lora_B" in name}
    # E is zero at first, so that only the pull moves A and B: 2 samples x 0.5 / 12 matrices of the gradient.
    name, parameter = next(iter(rows.items()))
    matrix = parameter.detach().clone().requires_grad_(True)
    assert "lora_A" in name
    torch.linalg.matrix_norm(matrix @ matrix.T - torch.eye(12)).backward()
    torch.testing.assert_close(parameter.grad, 2 * 0.5 / len(rows) * matrix.grad, rtol=1e-4, atol=1e-6)
