"""ProSST reads a structure token beside every residue: from a table's column to a prediction.

Its own code is on the Hub; here code of the same interface stands for it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EsmTokenizer

import profactory
from profactory.errors import ColumnError, ConfigError, ModelLoadError, RowError
from profactory.files import read_json
from profactory.models.backbone import Backbone
from profactory.models.zoo import resolve
from tests.support.models import ESM_VOCABULARY, save_tiny, write_esm_tokenizer, write_json
from tests.support.tables import read_rows, write_rows, write_table

CODE = """
import torch
from transformers import EsmConfig, EsmModel

class OwnConfig(EsmConfig):
    model_type = "ProSST"

    def __init__(self, ss_vocab_size=23, **fields):
        super().__init__(**fields)
        self.ss_vocab_size = ss_vocab_size

class OwnModel(EsmModel):
    config_class = OwnConfig

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.ss_embeddings = torch.nn.Embedding(config.ss_vocab_size, config.hidden_size, padding_idx=0)

    def forward(self, input_ids=None, attention_mask=None, ss_input_ids=None, **options):
        both = self.embeddings.word_embeddings(input_ids) + self.ss_embeddings(ss_input_ids)
        return super().forward(inputs_embeds=both, attention_mask=attention_mask, **options)
"""
TOKENS = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prosst") / "tiny"
    folder.mkdir()
    (folder / "own.py").write_text(CODE)
    source = importlib.util.spec_from_file_location("own", folder / "own.py")
    assert source is not None
    assert source.loader is not None
    own = importlib.util.module_from_spec(source)
    source.loader.exec_module(own)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"vocab_size": len(ESM_VOCABULARY), "pad_token_id": 1, "mask_token_id": 32}
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "token_dropout": False}
    config = own.OwnConfig(
        **sizes, **special, **off, position_embedding_type="rotary", max_position_embeddings=1026
    )
    save_tiny(own.OwnModel, config, folder, 0)
    mapped = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    write_json(folder / "config.json", {**read_json(folder / "config.json"), "auto_map": mapped})
    write_esm_tokenizer(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


@pytest.fixture
def backbone(model: Path) -> Backbone:
    return Backbone.load(resolve(str(model)), trust_remote_code=True)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Labels that follow from the structure tokens and from nothing in the sequence."""
    rows = read_rows(write_table(tmp_path / "t.csv", "regression", rows=60))
    rng = np.random.default_rng(0)
    for index, row in enumerate(rows):
        tokens = np.where(
            rng.random(len(row["sequence"])) < rng.uniform(0.1, 0.9), 7, rng.integers(0, TOKENS)
        )
        row["prosst"] = ",".join(map(str, tokens))
        row["label"] = f"{(tokens == 7).mean():.4f}"
        row["split"] = ("train", "train", "train", "validation", "test")[index % 5]
    return write_rows(tmp_path / "with.csv", rows)


SEQUENCES = ["MKTWA", "MK"]
STRUCTURES = ["[0, 19, 3, 7, 7]", "5 6"]
NUMBERS = [[0, 19, 3, 7, 7], [5, 6]]


def states(backbone: Backbone, sequences: list[str], structures: list[str]) -> list[torch.Tensor]:
    batch = backbone.collate(backbone.tokenize(sequences, structures=structures))
    with torch.no_grad():
        output = backbone(batch.input_ids, batch.attention_mask, batch.lengths)
    return [row[: len(sequence)] for row, sequence in zip(output.residues, sequences, strict=True)]


def test_states_are_those_of_its_own_interface(backbone: Backbone, model: Path) -> None:
    """As its authors write it: 3 is added to each token, 1 stands in front and 2 behind."""
    tokenizer = EsmTokenizer(str(model / "vocab.txt"))
    together = states(backbone, SEQUENCES, STRUCTURES)
    for place, (sequence, numbers) in enumerate(zip(SEQUENCES, NUMBERS, strict=True)):
        given = tokenizer(sequence, return_tensors="pt")
        structure = torch.tensor([[1, *(number + 3 for number in numbers), 2]])
        with torch.no_grad():
            expected = backbone.network(**given, ss_input_ids=structure).last_hidden_state[0, 1:-1]
        torch.testing.assert_close(together[place], expected, rtol=1e-5, atol=1e-5)
    others = states(backbone, SEQUENCES, ["0 18 3 7 7", "5 7"])
    assert all((a - b).abs().amax() > 1e-3 for a, b in zip(together, others, strict=True))


def test_a_masked_residue_keeps_its_structure(backbone: Backbone) -> None:
    hidden = [np.array([False, True, False, False, False])]
    (ids,) = backbone.tokenize_masked(SEQUENCES[:1], hidden, STRUCTURES[:1])
    vocabulary = len(ESM_VOCABULARY)
    assert ids[2] == 32 + vocabulary * (19 + 3)
    assert (ids // vocabulary).tolist() == [1, 3, 22, 6, 10, 10, 2]


def test_cut_with_the_sequence(backbone: Backbone) -> None:
    (long,) = backbone.tokenize(["MKTWA"], 3, ["[0, 19, 3, 7, 7]"])
    (short,) = backbone.tokenize(["MKT"], 3, ["0,19,3"])
    assert long.tolist() == short.tolist()


def test_without_tokens_or_with_too_large_ones(backbone: Backbone) -> None:
    with pytest.raises(ConfigError, match="reads structure tokens of ProSST beside every residue"):
        backbone.tokenize(["MK"])
    with pytest.raises(RowError, match=r"no structure token 20(.|\n)*0 to 19"):
        backbone.tokenize(["MK"], structures=["0,20"])


@pytest.mark.parametrize("method", ["freeze", "lora", "full"])
def test_trained_and_predicted(method: str, table: Path, model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": str(model), "trust_remote_code": True, "method": method, "epochs": 2}
    if method == "lora":
        options["lora_target_modules"] = ["query", "value"]  # the names of its own code are others
    run = profactory.train(table, out=tmp_path / "run", **options)
    written = read_rows(run.path / "report" / "predictions_test.csv")
    profactory.predict(run.path, table, out=tmp_path / "out.csv", trust_remote_code=True)
    again = {row["id"]: float(row["prediction"]) for row in read_rows(tmp_path / "out.csv")}
    for row in written:
        assert float(row["prediction"]) == pytest.approx(again[row["id"]], abs=1e-5)
    with pytest.raises(ModelLoadError, match="--trust-remote-code"):
        run.predict(table, out=tmp_path / "untrusted.csv")


def test_a_table_without_or_with_wrong_tokens(table: Path, model: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": str(model), "trust_remote_code": True, "epochs": 1}
    rows = read_rows(table)
    bare = write_rows(
        tmp_path / "bare.csv", [{k: v for k, v in row.items() if k != "prosst"} for row in rows]
    )
    with pytest.raises(ColumnError, match=r"no structure tokens of ProSST, which .* reads"):
        profactory.train(bare, out=tmp_path / "a", **options)
    rows[3]["prosst"] = rows[3]["prosst"].replace(",", ",x", 1)
    rows[4]["prosst"] += ",1"
    with pytest.raises(RowError) as caught:
        profactory.train(write_rows(tmp_path / "bad.csv", rows), out=tmp_path / "b", **options)
    length = len(rows[4]["sequence"])
    assert "cannot be structure tokens of ProSST (whole numbers from 0 to 4,095)" in str(caught.value)
    assert f"there are {length + 1} structure tokens of ProSST for {length} residues" in str(caught.value)
    assert not (tmp_path / "b").exists()
