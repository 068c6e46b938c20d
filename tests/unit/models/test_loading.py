"""Foreign model folders and the Hub: what is read, what is refused, what is never executed."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from profactory.errors import ModelLoadError
from profactory.models import fetching
from profactory.models.backbone import Backbone
from profactory.models.zoo import ModelSpec, resolve

Repo = Callable[[str], Path]


@pytest.fixture
def folder(repo: Repo, tmp_path: Path) -> Path:
    """Return a tiny ESM-2 to spoil."""
    return shutil.copytree(repo("esm"), tmp_path / "model")


def configure(folder: Path, **fields: Any) -> Path:
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def load(folder: Path, **options: Any) -> Backbone:
    return Backbone.load(resolve(str(folder)), **options)


def embedding(backbone: Backbone) -> torch.Tensor:
    batch = backbone.collate(backbone.tokenize(["MKTAYIAKQR"]))
    return backbone(batch.input_ids, batch.attention_mask, batch.lengths).residues


def test_legacy_weights_are_read_as_tensors_and_said_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = embedding(load(folder))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with caplog.at_level(logging.WARNING, "profactory"):
        assert torch.equal(embedding(load(folder)), expected)
    assert "legacy format" in caplog.text


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_pickle_in_legacy_weights_is_not_executed(folder: Path, tmp_path: Path) -> None:
    """S1."""
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (canary,))

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError):
        load(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ModelLoadError):
        load(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}},
        {"auto_map": {"AutoModel": "other/repo--evil.M"}},
        {"trust_remote_code": True},
        {"_attn_implementation": "someone/kernel"},
        {"_attn_implementation_internal": "someone/kernel"},
        {"attn_implementation": "someone/kernel"},
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
        {"output_hidden_states": True, "output_attentions": True, "return_dict": False},
        {"_name_or_path": "other/repo"},
    ],
)
def test_fields_that_name_code_are_not_obeyed(folder: Path, fields: dict[str, Any]) -> None:
    """S2: public models may carry them; our own classes are used whatever they say."""
    expected = embedding(load(folder))
    canary = folder / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass C: pass\nclass M: pass\n")
    assert torch.equal(embedding(load(configure(folder, **fields))), expected)
    assert not canary.exists()


def test_a_custom_tokenizer_class_is_not_obeyed(folder: Path) -> None:
    """S2."""
    canary = folder / "canary"
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    entry = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(entry))
    embedding(load(folder))
    assert not canary.exists()


def test_an_adapter_folder_is_not_followed(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "other/repo"}))
    with pytest.raises(ModelLoadError, match="an adapter, not a model"):
        load(folder)


def shard(folder: Path, weight_map: Callable[[str], Any] | None = None) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    index = {}
    for file, members in parts.items():
        save_file({name: tensors[name] for name in members}, folder / file, metadata={"format": "pt"})
        index |= {name: weight_map(file) if weight_map else file for name in members}
    content = {"metadata": {"total_size": 0}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def test_weights_in_parts(folder: Path) -> None:
    expected = embedding(load(folder))
    shard(folder)
    assert torch.equal(embedding(load(folder)), expected)
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="missing"):
        load(folder)


@pytest.mark.parametrize("target", ["../outside.safetensors", "/etc/passwd", "x.bin", "", 3])
def test_an_index_names_files_beside_itself_only(folder: Path, target: Any) -> None:
    """S2."""
    shard(folder, lambda file: target)
    with pytest.raises(ModelLoadError, match="index"):
        load(folder)


def test_missing_weights_are_never_made_up(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = "esm.encoder.layer.1.attention.self.key.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, file, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"have no weights.*key\.weight"):
        load(folder)
    file.unlink()
    with pytest.raises(ModelLoadError, match="has no weights"):
        load(folder)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": 64},
        {"num_hidden_layers": 3},
        {"num_attention_heads": 5},
        {"hidden_size": 10**9},
        {"num_hidden_layers": 10**9},
        {"vocab_size": True},
        {"vocab_size": 20},
        {"max_position_embeddings": -1},
        {"layer_norm_eps": "small"},
        {"model_type": "llama"},
    ],
)
def test_configurations_that_do_not_fit_the_weights(folder: Path, fields: dict[str, Any]) -> None:
    """S4: before anything of the claimed size is allocated."""
    with pytest.raises(ModelLoadError):
        load(configure(folder, **fields))


def test_old_configurations_name_only_the_class(folder: Path) -> None:
    assert load(configure(folder, model_type=None)).family.name == "esm"
    with pytest.raises(ModelLoadError, match="not supported"):
        load(configure(folder, model_type=None, architectures=None))


@pytest.mark.parametrize("name", ["vocab.txt"])
def test_tokenizer_files_are_needed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelLoadError, match=name):
        load(folder)


@pytest.mark.parametrize(("family", "file"), [("prott5", "spiece.model"), ("ankh", "tokenizer.json")])
def test_damaged_tokenizers(repo: Repo, tmp_path: Path, family: str, file: str) -> None:
    folder = shutil.copytree(repo(family), tmp_path / "model")
    (folder / file).write_bytes((folder / file).read_bytes()[:50])
    with pytest.raises(ModelLoadError, match="tokenizer"):
        load(folder)


# --- models that bring their own code

CODE = """
from pathlib import Path
from transformers import EsmConfig, EsmModel
Path({canary!r}).touch()
class OwnConfig(EsmConfig):
    model_type = "proprime"
class OwnModel(EsmModel):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a repository whose model runs by its own code, which leaves a file behind when it runs."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    (folder / "own.py").write_text(CODE.format(canary=str(folder / "canary")))
    return configure(
        folder, model_type="proprime", auto_map={"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    )


def test_code_from_a_repository_runs_only_when_asked(own_code: Path, repo: Repo) -> None:
    with pytest.raises(ModelLoadError, match="--trust-remote-code"):
        load(own_code)
    assert not (own_code / "canary").exists()
    backbone = load(own_code, trust_remote_code=True)
    assert (own_code / "canary").exists()
    torch.testing.assert_close(embedding(backbone), embedding(load(repo("esm"))), rtol=1e-5, atol=1e-5)


def test_code_from_elsewhere_is_not_covered_by_trust(own_code: Path) -> None:
    configure(own_code, auto_map={"AutoModel": "other/repo--own.OwnModel"})
    with pytest.raises(ModelLoadError, match="another repository"):
        load(own_code, trust_remote_code=True)


# --- the Hub


def test_without_network_the_remedy_is_named() -> None:
    with pytest.raises(ModelLoadError) as caught:
        Backbone.load(resolve("esm2-8m"))
    for remedy in ("hf download facebook/esm2_t6_8M_UR50D", "HF_ENDPOINT", "--model DIR", "mini"):
        assert remedy in str(caught.value)
    assert "c731040fcd8d73dceaa04b0a8e6329b345b0f5df" in str(caught.value)


def test_an_unreachable_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")

    class Unreachable:
        def list_repo_files(self, *_: object, **__: object) -> list[str]:
            raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr(fetching, "HfApi", Unreachable)
    with pytest.raises(ModelLoadError, match="Name or service not known"):
        fetching.fetch(resolve("someone/model"))


@pytest.mark.parametrize(
    ("names", "trusted", "wanted", "unwanted"),
    [
        (
            ["config.json", "model.safetensors", "pytorch_model.bin"],
            False,
            "*.safetensors",
            "pytorch_model*.bin",
        ),
        (["config.json", "pytorch_model.bin", "code.py"], False, "pytorch_model*.bin", "*.py"),
        (["config.json", "model.safetensors", "code.py"], True, "*.py", "pytorch_model*.bin"),
    ],
)
def test_downloads_are_pinned_and_frugal(
    monkeypatch: pytest.MonkeyPatch, names: list[str], trusted: bool, wanted: str, unwanted: str
) -> None:
    """S10: the commit that was found is what is recorded."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    asked: dict[str, Any] = {}

    class Hub:
        def list_repo_files(self, *_: object, **__: object) -> list[str]:
            return names

    def download(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return f"/cache/snapshots/{'b' * 40}"

    monkeypatch.setattr(fetching, "HfApi", Hub)
    monkeypatch.setattr(fetching, "snapshot_download", download)
    spec, folder = fetching.fetch(ModelSpec("x", "user/x", "main"), trust_remote_code=trusted)
    assert spec.revision == folder.name == "b" * 40
    assert spec.pinned
    assert asked["revision"] == "main"
    assert wanted in asked["allow_patterns"]
    assert unwanted not in asked["allow_patterns"]


def test_a_bundled_model_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="does not exist"):
        fetching.fetch(ModelSpec("x", str(tmp_path / "gone")))
