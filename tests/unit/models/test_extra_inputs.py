"""What a model reads beside the sequence: structure strings (SES-Adapter), physico-chemical numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from profactory.errors import ConfigError
from profactory.models.descriptors import DESCRIPTORS, check_descriptors, describe
from profactory.models.protein_model import ProteinModel
from profactory.models.ses_adapter import StructureAdapter, rotate
from profactory.models.zoo import ModelSpec
from profactory.tasks import Task, TaskKind

CLASSES = Task(TaskKind.SINGLE_LABEL, classes=("a", "b", "c"))
PER_RESIDUE = Task(TaskKind.RESIDUE_CLASSIFICATION, classes=("H", "E"))
SEQUENCES = ["MSLGAKPFGEKKF", "MKT", "ACDEFGHIKLMNPQ"]
STRINGS = {
    "3di": ["DVAQWDFDFPDAD", "DVA", "ACDEFGHIKLMNPQ"],
    "ss8": ["CHHHHHHCCEEEC", "CCC", "HHHHHHHHHHHHHH"],
}
STRUCTURES = {"3di": "foldseek_3di", "ss8": "ss8"}


def run(model: ProteinModel, sequences: list[str] = SEQUENCES, strings: Any = STRINGS) -> torch.Tensor:
    batch = model.collate(model.prepare(sequences, strings))
    with torch.no_grad():
        return model.eval()(**batch.arguments())


def ses(spec: ModelSpec, task: Task = CLASSES, **options: Any) -> ProteinModel:
    """Return a model whose adapter is not at its start, where it adds nothing."""
    model = ProteinModel.build(spec, task, method="ses-adapter", structures=STRUCTURES, **options)
    torch.manual_seed(0)
    assert model.structure is not None
    for attention in model.structure.attention.values():
        torch.nn.init.normal_(attention.out.weight, std=0.3)
    return model


@pytest.mark.parametrize("task", [CLASSES, PER_RESIDUE])
def test_structures_change_the_output_and_batch_mates_do_not(spec: ModelSpec, task: Task) -> None:
    model = ses(spec, task)
    together = run(model)
    for i, sequence in enumerate(SEQUENCES):
        own = {kind: [texts[i]] for kind, texts in STRINGS.items()}
        alone = run(model, [sequence], own)
        expected = together[i : i + 1]
        expected = expected[:, : len(sequence)] if task.per_residue else expected
        torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    for kind in STRINGS:
        other = {**STRINGS, kind: [text[::-1] for text in STRINGS[kind]]}
        assert not torch.allclose(run(model, strings=other)[0], together[0], atol=1e-4), kind


def test_the_adapter_starts_from_the_language_model(spec: ModelSpec) -> None:
    """At first nothing is added: residues are normalised, whatever their structure."""
    adapter = StructureAdapter(32, ["3di"])
    residues = torch.randn(2, 5, 32)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    out = adapter(residues, mask, {"3di": torch.randint(2, 20, (2, 5))})
    wanted = torch.nn.functional.layer_norm(residues, (32,)).masked_fill(~mask[:, :, None], 0)
    torch.testing.assert_close(out, wanted)


def test_rotated_products_depend_on_the_distance_alone() -> None:
    one, two = torch.randn(1, 1, 1, 8).expand(1, 1, 12, 8), torch.randn(1, 1, 1, 8).expand(1, 1, 12, 8)
    products = (rotate(one) @ rotate(two).transpose(-1, -2))[0, 0]
    for shift in range(-3, 4):
        diagonal = products.diagonal(shift)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(products[0, 0], products[0, 5])


def test_strings_are_cut_with_their_sequence(spec: ModelSpec) -> None:
    model = ses(spec, max_length=6)
    cut = {kind: [text[:6] for text in texts] for kind, texts in STRINGS.items()}
    torch.testing.assert_close(run(model), run(model, [s[:6] for s in SEQUENCES], cut))


def test_missing_strings_are_refused(spec: ModelSpec) -> None:
    model = ses(spec)
    with pytest.raises(ConfigError, match="3di and ss8 strings"):
        model.prepare(SEQUENCES)
    with pytest.raises(ConfigError, match="ss8 strings"):
        model.prepare(SEQUENCES, {"3di": STRINGS["3di"]})
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES))
    with pytest.raises(ConfigError, match="beside the sequence"):
        model(**batch.arguments())


def test_only_the_adapter_and_the_head_are_trained(spec: ModelSpec) -> None:
    model = ses(spec)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"structure", "head"}
    model.train()
    model(**model.collate(model.prepare(SEQUENCES, STRINGS)).arguments()).sum().backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_saved_model_reads_the_same_beside_the_sequence(spec: ModelSpec, tmp_path: Path) -> None:
    for number, model in enumerate((ses(spec), with_descriptors(spec))):
        loaded = ProteinModel.load(model.save(tmp_path / str(number)))
        assert loaded.extra_inputs == model.extra_inputs
        torch.testing.assert_close(run(loaded), run(model), rtol=1e-6, atol=1e-6)


def with_descriptors(spec: ModelSpec) -> ProteinModel:
    model = ProteinModel.build(spec, CLASSES, descriptors=("hydrophobicity", "charge", "length"))
    assert model.beside is not None
    model.beside.standardise(torch.from_numpy(describe(SEQUENCES, model.design.descriptors)))
    return model


def test_descriptors_are_those_of_the_scales() -> None:
    """By hand: Kyte-Doolittle I 4.5, V 4.2, R -4.5; one arginine is a charge of about one."""
    values = describe(["IVI", "RRR"], ["hydrophobicity", "charge", "length"])
    assert values[:, 0].tolist() == pytest.approx([(4.5 + 4.2 + 4.5) / 3, -4.5])
    assert values[0, 1] == pytest.approx(0.0, abs=0.1)
    assert values[1, 1] == pytest.approx(3.0, abs=0.1)
    assert values[:, 2].tolist() == pytest.approx([math.log(3)] * 2)


def test_every_descriptor_is_finite_for_any_sequence() -> None:
    for name in DESCRIPTORS:
        values = describe(["M", "X", "XX", "ACDEFGHIKLMNPQRSTVWY", "UBZOJ", "M" * 500], [name])
        assert values.shape[0] == 6
        assert np.isfinite(values).all(), name


def test_descriptors_stand_beside_the_embedding_in_units_of_the_training_set(spec: ModelSpec) -> None:
    model = with_descriptors(spec)
    assert model.beside is not None
    assert model.head.in_width == 32 + 3
    values = torch.from_numpy(describe(SEQUENCES, model.design.descriptors))
    rows = model.beside(torch.randn(3, 32), values)[:, 32:]
    torch.testing.assert_close(rows.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(3), rtol=1e-4, atol=1e-4)
    model.beside.standardise(torch.tensor([[1.0, 2.0, 3.0], [1.0, 4.0, 3.0]]))  # constant numbers do no harm
    assert model.beside.scale.tolist() == [1.0, 1.0, 1.0]


def test_unknown_descriptors_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'colour'.*\n?.*hydrophobicity"):
        check_descriptors(["charge", "colour"])
