"""Embeddings of a file: the same numbers in every format, from the cache that training shares."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from profactory import api
from profactory.errors import ConfigError, RowError, RunExistsError
from profactory.models.backbone import Backbone
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.pipeline import embed_input
from profactory.tasks import Task, TaskKind
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.loss_model import FrozenEncoder
from tests.support.models import tiny_esm

SEQUENCES = ["MKTAYIAKQRQISF", "ACDW", "MKTAYIAKQRQISF", "GGG"]
Matrix = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("embed") / "tiny")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [f"p{i},{s},{'ab'[i % 2]}" for i, s in enumerate(SEQUENCES)]
    path = tmp_path / "in.csv"
    path.write_text("\n".join(["id,sequence,kind", *rows[:2], "bad,12,a", *rows[2:]]) + "\n")
    return path


def _expected(tiny: Path, layer: int = -1) -> list[Matrix]:
    return _states(tiny, SEQUENCES, layer)


def _states(tiny: Path, sequences: list[str], layer: int = -1) -> list[Matrix]:
    """Return the states of each sequence's residues, from the backbone itself, one at a time."""
    backbone = Backbone.load(resolve(str(tiny)), layer=layer)
    states = []
    for sequence in sequences:
        batch = backbone.collate(backbone.tokenize([sequence]))
        with torch.no_grad():
            output = backbone(batch.input_ids, batch.attention_mask, batch.lengths)
        states.append(output.residues[0].numpy())
    return states


def _read(file: Path) -> dict[str, Any]:
    if file.suffix == ".npz":
        return dict(np.load(file, allow_pickle=False))
    if file.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(file) as store:
            found = {name: store[name][...] for name in store}
        return {**found, "id": np.array([text.decode() for text in found["id"]])}
    if file.suffix == ".safetensors":
        found = load_file(file)
        text, ends = found["id"].tobytes(), found["id_offsets"]
        return {**found, "id": [text[a:b].decode() for a, b in pairwise(ends)]}
    table = pq.read_table(file)
    cells = table.column("embedding").to_pylist()
    flat = np.array(cells if not isinstance(cells[0][0], list) else [row for cell in cells for row in cell])
    return {"embeddings": flat, "row": table.column("row").to_numpy(), "id": table.column("id").to_pylist()}


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet", "safetensors"])
@pytest.mark.parametrize("pooling", ["mean", "none"])
def test_every_format_has_the_numbers_of_the_backbone(
    tiny: Path, source: Path, tmp_path: Path, ending: str, pooling: str
) -> None:
    report = api.embed(tiny, source, tmp_path / f"e.{ending}", pooling=pooling, device="cpu")
    states = _expected(tiny)
    wanted = np.concatenate(states) if pooling == "none" else np.stack([s.mean(axis=0) for s in states])
    found = _read(tmp_path / f"e.{ending}")
    np.testing.assert_allclose(found["embeddings"], wanted, rtol=1e-4, atol=1e-5)
    assert list(found["row"]) == [1, 2, 4, 5]
    assert list(found["id"]) == ["p0", "p1", "p2", "p3"]
    if pooling == "none" and ending != "parquet":
        assert list(found["offsets"]) == [0, 14, 18, 32, 35]
    assert (report.rows, report.failed, report.width) == (4, 1, 32)
    assert report.problems[0].line == 4


@pytest.mark.parametrize("ending", ["npz", "h5", "parquet", "safetensors"])
def test_a_large_file_is_embedded_part_by_part(
    tiny: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three sequences at a time, of no more than 12 residues together, in the order of the table."""
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKL"), n)) for n in (4, 4, 4, 4, 11, 2, 9, 1, 1, 1, 1)]
    source = tmp_path / "in.fasta"
    source.write_text("".join(f">ä{i * 'x'}\n{text}\n" for i, text in enumerate(sequences)), encoding="utf-8")
    monkeypatch.setattr(embed_input, "PART_ROWS", 3)
    monkeypatch.setattr(embed_input, "PART_RESIDUES", 12)
    asked: list[list[str]] = []
    get = EmbeddingCache.get

    def counted(self: EmbeddingCache, encoder: Any, texts: list[str], **options: Any) -> Any:
        asked.append(texts)
        return get(self, encoder, texts, **options)

    monkeypatch.setattr(EmbeddingCache, "get", counted)
    report = api.embed(tiny, source, tmp_path / f"e.{ending}", pooling="none", device="cpu")
    assert [text for part in asked for text in part] == sequences
    assert all(len(part) <= 3 for part in asked)
    assert all(len(part) == 1 or sum(map(len, part)) <= 2 * 12 for part in asked)
    found = _read(tmp_path / f"e.{ending}")
    assert (report.rows, len(found["embeddings"])) == (11, sum(map(len, sequences)))
    assert list(found["id"]) == [f"ä{i * 'x'}" for i in range(11)]
    np.testing.assert_allclose(found["embeddings"], np.concatenate(_states(tiny, sequences)), atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_any_layer_and_pooling(tiny: Path, source: Path, tmp_path: Path, layer: int) -> None:
    api.embed(tiny, source, tmp_path / "e.npz", pooling="max", layer=layer, device="cpu")
    wanted = np.stack([state.max(axis=0) for state in _expected(tiny, layer)])
    np.testing.assert_allclose(np.load(tmp_path / "e.npz")["embeddings"], wanted, rtol=1e-4, atol=1e-5)


def test_training_finds_them_in_the_cache(
    tiny: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.embed(tiny, source, tmp_path / "e.npz", device="cpu")
    model = ProteinModel.build(resolve(str(tiny)), Task(TaskKind.SINGLE_LABEL, ("a", "b")), pooling="mean")
    monkeypatch.setattr(FrozenEncoder, "encode", lambda *_: pytest.fail("computed a second time"))
    EmbeddingCache().get(FrozenEncoder(model), SEQUENCES)


def test_a_trained_model_is_embedded_with_its_adapter(tiny: Path, source: Path, tmp_path: Path) -> None:
    model = ProteinModel.build(resolve(str(tiny)), Task(TaskKind.SINGLE_LABEL, ("a", "b")), method="lora")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.5)
    model.save(tmp_path / "model")
    api.embed(tmp_path / "model", source, tmp_path / "tuned.npz", device="cpu")
    api.embed(tiny, source, tmp_path / "plain.npz", device="cpu")
    tuned, plain = (np.load(tmp_path / f"{name}.npz")["embeddings"] for name in ("tuned", "plain"))
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES))
    with torch.no_grad():
        output = model.eval().backbone(batch.input_ids, batch.attention_mask, batch.lengths)
    wanted = (output.residues.sum(1) / output.mask.sum(1, keepdim=True)).numpy()
    np.testing.assert_allclose(tuned, wanted, rtol=1e-3, atol=1e-4)
    assert np.abs(tuned - plain).max() > 0.01


@pytest.mark.extensive
def test_a_picture(tiny: Path, tmp_path: Path) -> None:
    pytest.importorskip("umap")
    source = tmp_path / "in.csv"
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKL"), 20)) for _ in range(40)]
    source.write_text("sequence,kind\n" + "\n".join(f"{s},{'xyz'[i % 3]}" for i, s in enumerate(sequences)))
    report = api.embed(
        tiny, source, tmp_path / "e.npz", umap=tmp_path / "map.png", color_by="kind", device="cpu"
    )
    assert report.plot == tmp_path / "map.png"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"pooling": "attention"}, ConfigError),
        ({"color_by": "kind"}, ConfigError),
        ({"umap": "x.png", "pooling": "none"}, ConfigError),
        ({"umap": "x.png", "color_by": "colour"}, ConfigError),
    ],
)
def test_what_cannot_be_is_refused(
    tiny: Path, source: Path, tmp_path: Path, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        api.embed(tiny, source, tmp_path / "e.npz", **options)
    assert not (tmp_path / "e.npz").exists()


def test_other_endings_existing_files_and_empty_tables_are_refused(
    tiny: Path, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"\.npz, \.h5, \.parquet, \.safetensors"):
        api.embed(tiny, source, tmp_path / "e.pkl")
    (tmp_path / "e.npz").write_text("precious")
    with pytest.raises(RunExistsError):
        api.embed(tiny, source, tmp_path / "e.npz")
    source.write_text("sequence\n12\n")
    with pytest.raises(RowError, match="not one row"):
        api.embed(tiny, source, tmp_path / "f.npz")


def test_a_precision_that_is_none_is_refused(tiny: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        api.embed(tiny, source, tmp_path / "e.npz", precision="fp31", device="cpu")
