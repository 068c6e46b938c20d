"""SaProt: a residue and its 3Di letter are one token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import EsmModel, EsmTokenizer

from profactory.errors import ConfigError, RowError
from profactory.models.backbone import Backbone
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind
from profactory.training.embedding_cache import EmbeddingCache
from profactory.training.loss_model import FrozenEncoder

Frozen = Callable[[str], Backbone]
Repo = Callable[[str], Path]
SEQUENCES = ["MKTXA", "MK", "ACDEFGHIKLMNPQRSTVWY"]
STRUCTURES = ["VDxPL", "#q", "YWVTSRQPNMLKIHGFEDCA"]
# Written as SaProt reads it, by hand:
SPELLED = ["MvKdT##pAl", "M#Kq", "AyCwDvEtFsGrHqIpKnLmMlNkPiQhRgSfTeVdWcYa"]
SPELLED_BLIND = ["M#K#T###A#", "M#K#", "".join(f"{letter}#" for letter in SEQUENCES[2])]
NUMBER = Task(TaskKind.REGRESSION)
RESIDUES = Task(TaskKind.RESIDUE_REGRESSION)


def saprot(repo: Repo, task: Task = NUMBER, **options: object) -> ProteinModel:
    spec = resolve(str(repo("saprot")))
    return ProteinModel.build(spec, task, structures={"3di": "foldseek_3di"}, **options).eval()


def states(model: ProteinModel, rows: list[int], structures: list[str] = STRUCTURES) -> list[torch.Tensor]:
    strings = {"3di": [structures[i] for i in rows]}
    batch = model.collate(model.prepare([SEQUENCES[i] for i in rows], strings))
    with torch.no_grad():
        output = model.backbone(batch.input_ids, batch.attention_mask, batch.lengths)
    return [output.residues[place, : len(SEQUENCES[i])] for place, i in enumerate(rows)]


def test_ids_are_those_of_the_text_spelled_by_hand(repo: Repo, frozen: Frozen) -> None:
    tokenizer = EsmTokenizer(str(repo("saprot") / "vocab.txt"))
    backbone = frozen("saprot")
    given = backbone.tokenize(SEQUENCES, structures=STRUCTURES)
    assert [ids.tolist() for ids in given] == [tokenizer(text)["input_ids"] for text in SPELLED]
    blind = backbone.tokenize(SEQUENCES)
    assert [ids.tolist() for ids in blind] == [tokenizer(text)["input_ids"] for text in SPELLED_BLIND]


@settings(max_examples=40, deadline=None)
@given(pairs=st.text("ABCDEFGHIKLMNPQRSTVWXYZ", min_size=2, max_size=40))
def test_any_pair_is_one_token(pairs: str, frozen: Frozen, repo: Repo) -> None:
    half = len(pairs) // 2
    sequence = pairs[:half]
    structure = "".join(
        letter if letter in "ACDEFGHIKLMNPQRSTVWY" else "X" for letter in pairs[half : 2 * half]
    )
    text = "".join(
        ("#" if residue in "BXZ" else residue) + ("#" if letter == "X" else letter.lower())
        for residue, letter in zip(sequence, structure, strict=True)
    )
    (ids,) = frozen("saprot").tokenize([sequence], 60, [structure])
    assert ids.tolist() == EsmTokenizer(str(repo("saprot") / "vocab.txt"))(text)["input_ids"]


def test_states_are_those_of_the_library_alone_and_in_a_batch(repo: Repo) -> None:
    model = saprot(repo)
    tokenizer = EsmTokenizer(str(repo("saprot") / "vocab.txt"))
    network = EsmModel.from_pretrained(repo("saprot")).eval()
    together = states(model, [0, 1, 2])
    for i, text in enumerate(SPELLED):
        with torch.no_grad():
            expected = network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 1:-1]
        torch.testing.assert_close(states(model, [i])[0], expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together[i], expected, rtol=1e-5, atol=1e-5)
    blind = states(model, [0, 1, 2], ["#" * len(sequence) for sequence in SEQUENCES])
    assert all((a - b).abs().amax(-1).min() > 1e-3 for a, b in zip(together, blind, strict=True))


def test_structures_are_cut_with_the_sequence(repo: Repo, frozen: Frozen) -> None:
    (long,) = frozen("saprot").tokenize(["MKTXA"], 3, ["VDXPL"])
    (short,) = frozen("saprot").tokenize(["MKT"], 3, ["VDX"])
    assert long.tolist() == short.tolist()
    with pytest.raises(RowError, match="1 structure letters for 3 residues"):
        frozen("saprot").tokenize(["MKT"], 3, ["V"])


@pytest.mark.parametrize("task", [NUMBER, RESIDUES])
def test_cached_embeddings_belong_to_sequence_and_structure(task: Task, repo: Repo) -> None:
    encoder = FrozenEncoder(saprot(repo, task))
    cache = EmbeddingCache()
    sequences = ["MKTAY", "MKTAY", "MKTAY", "ACD"]
    structures = ["DDDDD", "VVVVV", "DDDDD", "XXX"]
    assert cache.key(encoder, sequences, structures) != cache.key(encoder, sequences)
    assert cache.key(encoder, sequences, structures) != cache.key(
        encoder, sequences, [*structures[:3], "DDD"]
    )
    features = cache.get(encoder, sequences, structures)
    blind = cache.get(encoder, sequences)

    def rows(stored: object, index: int) -> np.ndarray:
        chosen = np.array([index])
        if stored.per_residue:  # type: ignore[attr-defined]
            return stored.residues(chosen)[0][0].numpy()  # type: ignore[attr-defined]
        return stored.vectors(chosen)[0].numpy()  # type: ignore[attr-defined]

    for i, (sequence, structure) in enumerate(zip(sequences, structures, strict=True)):
        direct = encoder.encode([sequence], [structure])
        np.testing.assert_allclose(rows(features, i), np.squeeze(direct), rtol=1e-5, atol=1e-5)
    assert np.abs(rows(features, 0) - rows(features, 1)).max() > 1e-3
    assert np.abs(rows(features, 0) - rows(blind, 0)).max() > 1e-3
    np.testing.assert_allclose(rows(features, 3), rows(blind, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["freeze", "lora"])
def test_a_saved_model_reads_structures_again(method: str, repo: Repo, tmp_path: Path) -> None:
    model = saprot(repo, method=method)
    batch = model.collate(model.prepare(SEQUENCES, {"3di": STRUCTURES}))
    loaded = ProteinModel.load(model.save(tmp_path / "model")).eval()
    assert loaded.extra_inputs.structures == {"3di": "foldseek_3di"}
    again = loaded.collate(loaded.prepare(SEQUENCES, {"3di": STRUCTURES}))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**again.arguments()), model(**batch.arguments()))
    with pytest.raises(ConfigError, match="3di strings"):
        loaded.prepare(SEQUENCES)


def test_models_whose_tokens_hold_no_structure_refuse_it(repo: Repo, frozen: Frozen) -> None:
    with pytest.raises(ConfigError, match="hold no structure"):
        frozen("esm").tokenize(["MK"], 60, ["DV"])
    with pytest.raises(ConfigError, match="hold no structure"):
        ProteinModel.build(resolve(str(repo("esm"))), NUMBER, structures={"3di": "foldseek_3di"})
    with pytest.raises(ConfigError, match="hold no structure"):
        ProteinModel.build(resolve(str(repo("saprot"))), NUMBER, structures={"ss8": "ss8"})
