"""Q1: a saved model is compared with its own answers when it is loaded."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from profactory.errors import ModelLoadError
from profactory.models import saving
from profactory.models.canaries import SEQUENCES, canary_outputs
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task, TaskKind

RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, classes=("H", "E"))


@pytest.fixture
def saved(spec: ModelSpec, tmp_path: Path) -> Path:
    task = Task(TaskKind.SINGLE_LABEL, classes=("a", "b", "c"))
    return ProteinModel.build(spec, task).save(tmp_path / "model")


def _without_hashes(folder: Path) -> None:
    """Take the hashes away, as of a model whose files were all changed together."""
    config = json.loads((folder / "config.json").read_text())
    del config["profactory"]["sha256"]
    (folder / "config.json").write_text(json.dumps(config))


def _change_head(folder: Path, factor: float) -> None:
    file = folder / "head.safetensors"
    tensors = load_file(file)
    name = max((name for name in tensors if name.endswith("weight")), key=lambda n: tensors[n].numel())
    tensors[name] = tensors[name] * factor
    save_file(tensors, file)


def test_a_model_carries_eight_different_answers(saved: Path) -> None:
    canaries = json.loads((saved / "config.json").read_text())["profactory"]["canaries"]
    assert canaries["sequences"] == list(SEQUENCES)
    outputs = np.array(canaries["outputs"])
    assert outputs.shape == (8, 3)
    assert (np.ptp(outputs, axis=0) > 0).all()
    np.testing.assert_allclose(canary_outputs(ProteinModel.load(saved)), outputs, rtol=1e-5, atol=1e-6)


def test_one_changed_number_is_found_by_its_hash(saved: Path) -> None:
    content = bytearray((saved / "head.safetensors").read_bytes())
    content[-3] ^= 1
    (saved / "head.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadError, match="not as it was saved"):
        ProteinModel.load(saved)


def test_one_changed_number_of_the_backbone_is_found(saved: Path) -> None:
    content = bytearray((saved / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelLoadError, match="are not those"):
        ProteinModel.load(saved)


def test_other_answers_are_refused(saved: Path) -> None:
    _without_hashes(saved)
    ProteinModel.load(saved)
    _change_head(saved, 1.5)
    with pytest.raises(ModelLoadError, match="does not answer as it did"):
        ProteinModel.load(saved)


def test_a_model_with_one_answer_for_all_is_refused(saved: Path) -> None:
    _without_hashes(saved)
    _change_head(saved, 0.0)
    with pytest.raises(ModelLoadError, match="every sequence in the same way"):
        ProteinModel.load(saved)


def test_models_without_canaries_are_loaded_and_that_is_said(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = json.loads((saved / "config.json").read_text())
    del config["profactory"]["canaries"]
    (saved / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.INFO, "profactory"):
        ProteinModel.load(saved)
    assert "no canary sequences" in caplog.text


@pytest.mark.parametrize(
    "broken", [{}, {"sequences": [], "outputs": []}, {"sequences": list(SEQUENCES), "outputs": [[1.0]]}]
)
def test_damaged_canaries_are_refused(saved: Path, broken: dict[str, object]) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["profactory"]["canaries"] = broken
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="canaries"):
        ProteinModel.load(saved)


def test_answers_per_residue_are_means_over_real_residues(spec: ModelSpec) -> None:
    model = ProteinModel.build(spec, RESIDUES)
    alone = []
    for sequence in SEQUENCES:
        batch = model.backbone.collate(model.backbone.tokenize([sequence], model.max_length))
        with torch.no_grad():
            alone.append(
                model.eval()(batch.input_ids, batch.attention_mask, batch.lengths)[0].mean(0).numpy()
            )
    np.testing.assert_allclose(canary_outputs(model), np.stack(alone), rtol=1e-4, atol=1e-5)


def test_saving_leaves_the_mode_of_the_model(spec: ModelSpec, tmp_path: Path) -> None:
    model = ProteinModel.build(spec, RESIDUES, method="full").train()
    saving.save_model(model, tmp_path / "model", {})
    assert model.training
