"""Where a pretraining starts: every family with a masked-language-model head, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from profactory.errors import ConfigError, ModelLoadError
from profactory.models.zoo import resolve
from profactory.pretraining.corpus import CLS, EOS, FIRST_STANDARD, MASK, VOCABULARY, encode
from profactory.pretraining.export import export_model
from profactory.pretraining.network import encode as encode_states
from profactory.pretraining.network import masked_head
from profactory.pretraining.starting import Start, check_continuable, continued_model, new_model
from tests.support.models import save_tiny, tiny_esm

SEQUENCE = "MKTAYIAKQRQISFVK"


def _tiny_bert(folder: Path) -> Path:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"LAGVESIKRDTPNQFYMHCWXUBZO"]
    config = BertConfig(
        vocab_size=len(names), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    save_tiny(BertForMaskedLM, config, folder, seed=0)
    (folder / "vocab.txt").write_text("\n".join(names) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}\n')
    return folder


def _logits(start: Start, masked_at: int) -> torch.Tensor:
    """Logits of the masked residue, in the order of the network's tokens."""
    tokens = torch.tensor([[CLS, *encode(SEQUENCE).tolist(), EOS]])
    tokens[0, masked_at + 1] = MASK
    ids = torch.from_numpy(start.vocabulary.ids)[tokens]
    with torch.no_grad():
        model = start.model.eval()
        return masked_head(model)(encode_states(model, ids))[0, masked_at + 1]


@pytest.mark.parametrize("make", [tiny_esm, _tiny_bert], ids=["esm", "bert"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_continued_model_predicts_what_the_original_does_and_is_saved_whole(
    tmp_path: Path, make: Any, method: str
) -> None:
    folder = make(tmp_path / "model")
    start = continued_model(resolve(str(folder)), method)
    original = AutoModelForMaskedLM.from_pretrained(folder).eval()
    words = (folder / "vocab.txt").read_text().split()
    letters = [words.index(x) for x in ("<cls>", *SEQUENCE, "<eos>") if x in words]
    if "[CLS]" in words:
        letters = [words.index(x) for x in ("[CLS]", *SEQUENCE, "[SEP]")]
    letters[4] = words.index("<mask>" if "<mask>" in words else "[MASK]")
    with torch.no_grad():
        expected = original(input_ids=torch.tensor([letters])).logits[0, 4]
    torch.testing.assert_close(_logits(start, masked_at=3), expected)

    trained = {name for name, parameter in start.model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained) == (method == "lora")
    export_model(start.finished_model(), tmp_path / "out", tokenizer_files=start.tokenizer_files)
    again = continued_model(resolve(str(tmp_path / "out")), "full")
    torch.testing.assert_close(_logits(again, masked_at=3), expected)


def test_an_adapter_is_merged_into_the_weights(tmp_path: Path) -> None:
    start = continued_model(resolve(str(tiny_esm(tmp_path / "model"))), "lora", lora_rank=2)
    before = _logits(start, 3)
    with torch.no_grad():
        for name, parameter in start.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    adapted = _logits(start, 3)
    assert not torch.allclose(before, adapted)
    merged = Start(start.finished_model(), start.vocabulary)
    assert not [name for name in merged.model.state_dict() if "lora" in name]
    torch.testing.assert_close(_logits(merged, 3), adapted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("prott5-xl-uniref50", "decoder"), ("saprot-650m-af2", "structure letter"), ("ankh-base", "decoder")],
)
def test_models_without_the_head_are_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} .*{reason}"):
        check_continuable(resolve(name))


@pytest.mark.parametrize("name", ["mini", "esm2-8m", "esm1v-1", "esmc-300m", "protbert"])
def test_models_with_the_head_are_taken(name: str) -> None:
    check_continuable(resolve(name))


def test_a_file_without_the_head_is_refused(tmp_path: Path) -> None:
    folder = tiny_esm(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    trunk = {name: tensor for name, tensor in weights.items() if not name.startswith("lm_head")}
    save_file(trunk, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match="lm_head"):
        continued_model(resolve(str(folder)), "full")


def test_a_new_model_depends_on_the_seed_alone() -> None:
    first, again, other = (new_model(1, 64, None, seed=seed).model.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "esm.embeddings.word_embeddings.weight"
    assert first[name].shape == (len(VOCABULARY), 64)
    assert not torch.equal(first[name][FIRST_STANDARD], other[name][FIRST_STANDARD])
