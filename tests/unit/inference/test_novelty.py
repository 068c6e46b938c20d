"""Novelty by the embedding, from the fitted reference to columns, with real (tiny) models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from profactory import api
from profactory.data.domain import UNLIKE
from profactory.evaluation.domain import fit_domain
from profactory.inference.embedding import EmbeddingPredictor
from profactory.inference.ensemble import Ensemble
from profactory.inference.novelty import Predicted, attach, detach, novelty_columns
from profactory.inference.predictor import Predictor
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.sharing.bundle import write_bundle
from profactory.tasks import Calibration, Task, TaskKind, Values
from tests.support.models import tiny_esm

CLASSES = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
PROTEIN = "ACDEFGHIKLMNPQRSTVWYACDEFGHIKLMNPQRSTVWY"


def _kind(shuffled: bool, count: int, seed: int) -> list[str]:
    """Return sequences of one composition and length: two pairs of residues exchanged, or any order."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        letters = np.array(list(PROTEIN))
        if shuffled:
            letters = rng.permutation(letters)
        else:
            a, b, c, d = rng.permutation(len(letters))[:4]
            letters[[a, b, c, d]] = letters[[b, a, d, c]]
        found.append("".join(letters))
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("models") / "tiny", position_embedding_type="absolute")


def _knowing(
    backbone: Path, task: Task = RESIDUES, pooling: str | None = None, seed: int = 0
) -> ProteinModel:
    model = ProteinModel.build(resolve(str(backbone)), task, pooling=pooling, max_length=64, seed=seed)
    train, held_out = _kind(False, 100, 1), _kind(False, 60, 2)
    embedder = EmbeddingPredictor(model, device="cpu")
    vectors = embedder.embeddings(train, {}), embedder.embeddings(held_out, {})
    model.domain = fit_domain(train, held_out, vectors)
    return model


def test_distances_ride_beside_outputs() -> None:
    rows = [np.array([1, 2], np.float32), np.array([3, 4], np.float32)]
    packed = Values(np.stack(attach(rows, np.array([[7.0], [8.0]]))))
    assert packed.values.tolist() == [[1, 2, 7], [3, 4, 8]]
    values, distances = detach(packed, 1)
    assert values.values.tolist() == [[1, 2], [3, 4]]
    assert distances is not None
    assert distances.tolist() == [[7], [8]]
    assert detach(packed, 0)[1] is None


def test_the_distance_of_a_sequence_in_windows_is_the_mean_over_its_residues() -> None:
    values = np.array([[1, 5, 6], [1, 7, 6], [2, 1, 2]], np.float32)
    outputs, distances = detach(Values(values, np.array([0, 2, 3])), 2)
    assert outputs.values.tolist() == [[1], [1], [2]]
    assert distances is not None
    assert distances.tolist() == [[6, 6], [1, 2]]


@pytest.mark.parametrize(
    ("task", "pooling"), [(CLASSES, "max"), (CLASSES, "light-attention"), (CLASSES, "cls"), (RESIDUES, None)]
)
def test_another_order_of_the_same_residues_is_unlike_in_the_embedding(
    backbone: Path, task: Task, pooling: str | None
) -> None:
    model = _knowing(backbone, task, pooling)
    assert model.domain is not None
    same, other = _kind(False, 50, 3), _kind(True, 50, 3)
    assert model.domain.novelty(same + other).max() < UNLIKE  # length and composition see nothing
    records = Predictor(model, device="cpu", tokens_per_batch=300).predict(same + other)
    unlike = [record.get("unlike") for record in records]
    assert unlike[:50].count(None) >= 45
    assert unlike[50:].count("embedding") >= 45
    assert [record["novelty"] > UNLIKE for record in records] == [cell is not None for cell in unlike]


@pytest.mark.parametrize("shared", [True, False])
def test_an_ensemble_tells_the_mean_over_its_members(backbone: Path, shared: bool) -> None:
    members = [_knowing(backbone, CLASSES, "light-attention", seed) for seed in range(3)]
    members[1].domain = None
    if shared:
        for member in members[1:]:
            member.backbone = members[0].backbone
    sequences = [*_kind(False, 3, 5), *_kind(True, 3, 5)]
    together = Ensemble(members, CLASSES, Calibration(), device="cpu").predict_outputs(sequences)
    assert together.distances is not None
    for column, member in ((0, members[0]), (1, members[2])):
        alone = Predictor(member, device="cpu").predict_outputs(sequences).distances
        assert alone is not None
        np.testing.assert_allclose(together.distances[:, column], alone[:, 0], rtol=1e-4)
    known = [member.domain for member in members if member.domain is not None]
    columns = novelty_columns(known, sequences, together)
    each = [
        novelty_columns(
            [domain], sequences, Predicted(together.values, None, together.distances[:, i : i + 1])
        )
        for i, domain in enumerate(known)
    ]
    expected = np.mean([one["novelty"] for one in each], axis=0)
    np.testing.assert_allclose(columns["novelty"], expected, atol=0.0011)


@pytest.mark.parametrize(("engine", "task"), [("onnx", CLASSES), ("openvino", RESIDUES)])
def test_every_engine_tells_the_same(backbone: Path, tmp_path: Path, engine: str, task: Task) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip(engine)
    folder = _knowing(backbone, task).save(tmp_path / "model")
    sequences = [*_kind(False, 5, 5), *_kind(True, 5, 5), "ACD"]
    torch, other = (
        api.load(folder, device="cpu", engine=name).predict_outputs(sequences) for name in ("torch", engine)
    )
    assert torch.distances is not None
    np.testing.assert_allclose(other.distances, torch.distances, rtol=1e-3)
    np.testing.assert_allclose(other.values, torch.values, atol=1e-5)


def test_a_model_in_one_file_tells_the_same(backbone: Path, tmp_path: Path) -> None:
    model = _knowing(backbone)
    sequences = [*_kind(False, 5, 5), *_kind(True, 5, 5)]
    expected = Predictor(model, device="cpu").predict(sequences)
    file = write_bundle(model.save(tmp_path / "model"), tmp_path / "model.zip")
    assert api.load(file, device="cpu").predict(sequences) == expected


def test_long_sequences_in_windows_have_a_novelty(backbone: Path) -> None:
    predictor = Predictor(_knowing(backbone), device="cpu", long="windows")
    short, long = _kind(False, 1, 5)[0], "".join(_kind(True, 5, 6))
    outputs = predictor.predict_outputs([short, long])
    assert outputs.lengths.tolist() == [40, 200]
    assert outputs.distances is not None
    assert outputs.distances[1, 0] > outputs.distances[0, 0]
