"""Saved models: complete, identical in a new process, and safe to open."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from profactory.config.methods import METHODS
from profactory.errors import ModelLoadError
from profactory.evaluation.domain import fit_domain
from profactory.models import backbone as backbone_module
from profactory.models.protein_model import ProteinModel
from profactory.models.tuning import TUNERS, Tuning
from profactory.models.zoo import ModelSpec, resolve
from profactory.tasks import Calibration, Task, TaskKind
from tests.support.models import FAMILY_NAMES, tiny_esm

CLASSES = Task(TaskKind.SINGLE_LABEL, classes=("a", "b", "c"))
NUMBERS = Task(TaskKind.REGRESSION, targets=("tm", "kd"))
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, classes=("H", "E"))
SEQUENCES = ["MSLGAKPFGEKKF", "MKT", "ACDEFGHIKLMNPQ"]

IN_A_NEW_PROCESS = """
import sys, torch
from profactory.models.protein_model import ProteinModel
sequences = sys.argv[1].split()
for folder in sys.argv[2:]:
    model = ProteinModel.load(folder)
    batch = model.backbone.collate(model.backbone.tokenize(sequences, model.max_length))
    with torch.no_grad():
        print(model(batch.input_ids, batch.attention_mask, batch.lengths).flatten().tolist())
"""


def run(model: ProteinModel) -> torch.Tensor:
    batch = model.backbone.collate(model.backbone.tokenize(SEQUENCES, model.max_length))
    with torch.no_grad():
        return model.eval()(batch.input_ids, batch.attention_mask, batch.lengths)


def trained(spec: ModelSpec, task: Task = CLASSES, **options: Any) -> ProteinModel:
    """Return a model all trained weights of which are away from where they began."""
    model = ProteinModel.build(spec, task, **options)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def saved(spec: ModelSpec, tmp_path: Path) -> Path:
    """Return the folder of a LoRA model."""
    return trained(spec, method="lora").save(tmp_path / "model", provenance={"data": "demo"})


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    change(config)
    file.write_text(json.dumps(config))
    return folder


def test_a_new_process_predicts_identically(spec: ModelSpec, tmp_path: Path) -> None:
    models = [
        trained(spec, method="freeze", pooling="light-attention"),
        trained(spec, method="lora", pooling="attention", tuning=Tuning(rank=3, target_modules=("dense",))),
        trained(spec, NUMBERS, method="full", max_length=7, layer=1),
        *(trained(spec, RESIDUES, method=method) for method in OF_BACKBONE),
    ]
    models[2].scale_outputs(torch.tensor([50.0, 1.0]), torch.tensor([9.0, 2.0]))
    folders = [str(model.save(tmp_path / str(i))) for i, model in enumerate(models)]
    command = [sys.executable, "-c", IN_A_NEW_PROCESS, " ".join(SEQUENCES), *folders]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for model, line in zip(models, lines, strict=True):
        torch.testing.assert_close(torch.tensor(json.loads(line)), run(model).flatten(), rtol=1e-6, atol=1e-6)


OF_BACKBONE = [name for name in TUNERS if name != "ses-adapter"]  # see test_extra_inputs
SEVERAL = ("esm", "esmc", "bert", "ankh")
MATRIX = [(family, method) for family in FAMILY_NAMES for method in ("lora", "full")]
MATRIX += [(family, method) for family in SEVERAL for method in OF_BACKBONE if method not in ("lora", "full")]


@pytest.mark.parametrize(("family", "method"), MATRIX)
def test_every_family_is_saved_whole(
    family: str, method: str, repo: Callable[[str], Path], tmp_path: Path
) -> None:
    source = shutil.copytree(repo(family), tmp_path / "source")
    model = trained(resolve(str(source)), method=method)
    before = run(model)
    model.save(tmp_path / "model")
    shutil.rmtree(source)  # nothing outside the folder is needed
    loaded = ProteinModel.load(tmp_path / "model")
    torch.testing.assert_close(run(loaded), before, rtol=1e-6, atol=1e-6)
    assert loaded.backbone.family == model.backbone.family


def test_nothing_has_to_be_typed_again(spec: ModelSpec, tmp_path: Path) -> None:
    options = {"method": "lora", "pooling": "max", "max_length": 9, "dropout": 0.3, "head_hidden": 5}
    model = trained(spec, NUMBERS, **options, tuning=Tuning(2, 7, 0.2))
    loaded = ProteinModel.load(model.save(tmp_path / "model"))
    assert loaded.task == NUMBERS
    assert loaded.design == model.design
    assert not loaded.training
    assert [n for n, p in loaded.named_parameters() if p.requires_grad] == [
        n for n, p in model.named_parameters() if p.requires_grad
    ]


def test_a_loaded_model_can_be_saved_again(saved: Path, tmp_path: Path) -> None:
    again = ProteinModel.load(saved).save(tmp_path / "again")
    assert torch.equal(run(ProteinModel.load(again)), run(ProteinModel.load(saved)))
    for name in ("head.safetensors", "model.safetensors", "adapter/adapter_model.safetensors"):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


@pytest.mark.parametrize("family", SEVERAL)
@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.adapter])
def test_a_merged_adapter_predicts_the_same_and_is_a_plain_model(
    method: str, family: str, repo: Callable[[str], Path], tmp_path: Path
) -> None:
    model = trained(resolve(str(repo(family))), method=method)
    plain = ProteinModel.build(resolve(str(repo(family))), CLASSES, method="freeze")
    plain.head.load_state_dict(model.head.state_dict())
    before = run(model)
    assert not torch.allclose(before, run(plain), atol=1e-3)  # the adapter does something
    torch.testing.assert_close(run(model.merge()), before, rtol=0, atol=1e-5)
    assert not any("lora_" in name or "ia3_" in name for name, _ in model.named_parameters())
    assert type(model.backbone.network) is type(plain.backbone.network)
    folder = model.save(tmp_path / "merged")
    assert not (folder / "adapter").exists()
    torch.testing.assert_close(run(ProteinModel.load(folder)), before, rtol=0, atol=1e-5)


def test_merging_what_has_no_adapter_changes_nothing(spec: ModelSpec) -> None:
    model = trained(spec)
    before = run(model)
    assert torch.equal(run(model.merge()), before)
    assert model.method == "freeze"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks by the old name
@pytest.mark.parametrize("method", [name for name, entry in METHODS.items() if entry.adapter])
def test_the_layout_is_that_of_the_library(method: str, spec: ModelSpec, tmp_path: Path) -> None:
    saved = trained(spec, method=method).save(tmp_path / "model", provenance={"data": "demo"})
    model = ProteinModel.load(saved)
    network = AutoModel.from_pretrained(saved, add_pooling_layer=False).eval()
    adapted = PeftModel.from_pretrained(network, str(saved / "adapter")).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved)
    inputs = tokenizer("MKTAYIAKQR", return_tensors="pt")
    with torch.no_grad():
        hidden = adapted(**inputs).last_hidden_state
        batch = model.backbone.collate(model.backbone.tokenize(["MKTAYIAKQR"]))
        ours = model.backbone(batch.input_ids, batch.attention_mask, batch.lengths).residues
    torch.testing.assert_close(hidden[:, 1:-1], ours, rtol=1e-5, atol=1e-5)
    section = json.loads((saved / "config.json").read_text())["profactory"]
    assert section["schema_version"] == 1
    assert section["provenance"] == {"data": "demo"}
    assert section["backbone"]["stored"] is True
    assert str(saved.parent) not in (saved / "config.json").read_text()


def hub_model(monkeypatch: pytest.MonkeyPatch, repo: Path) -> ModelSpec:
    """Return a pinned Hub model whose download is the folder `repo`."""

    def fetch(spec: ModelSpec, **_: object) -> tuple[ModelSpec, Path]:
        return (spec, Path(spec.source)) if spec.local else (spec, repo)

    monkeypatch.setattr(backbone_module, "fetch", fetch)
    return ModelSpec(name="user/tiny", source="user/tiny", revision="a" * 40)


def test_an_unchanged_hub_commit_is_referenced(
    repo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = hub_model(monkeypatch, repo("esm"))
    for method, stored in (("freeze", False), ("lora", False), ("qlora", False), ("full", True)):
        model = trained(spec, method=method)
        folder = model.save(tmp_path / method)
        assert (folder / "model.safetensors").exists() is stored
        torch.testing.assert_close(run(ProteinModel.load(folder)), run(model), rtol=1e-6, atol=1e-6)
    unpinned = trained(replace(spec, revision="main")).save(tmp_path / "main")
    assert (unpinned / "model.safetensors").exists()


def test_a_referenced_backbone_must_be_the_same(
    repo: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S10: no silent change of model."""
    folder = trained(hub_model(monkeypatch, repo("esm"))).save(tmp_path / "model")
    hub_model(monkeypatch, tiny_esm(tmp_path / "other", seed=9))
    with pytest.raises(ModelLoadError, match="are not those"):
        ProteinModel.load(folder)


def test_a_failed_save_leaves_the_old_model(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ProteinModel.load(saved)
    before = run(model)
    monkeypatch.setattr(model.backbone, "weights_hash", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(saved)
    assert torch.equal(run(ProteinModel.load(saved)), before)
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_model_of_an_earlier_version_has_the_defaults(saved: Path) -> None:
    """R10: fields that came later are neutral where they are missing, and the answers are the same."""
    before = run(ProteinModel.load(saved))

    def earlier(config: dict[str, Any]) -> None:
        section = config["profactory"]
        for name in ("calibration", "canaries", "sha256"):
            del section[name]
        for name in ("structures", "descriptors", "layer"):
            del section["design"][name]
        del section["design"]["tuning"]["target_modules"]

    model = ProteinModel.load(edit(saved, earlier))
    assert model.calibration == Calibration()
    assert not model.extra_inputs
    assert torch.equal(run(model), before)


# --- refusals


def test_fields_of_a_newer_version_are_refused_in_words(saved: Path) -> None:
    def newer(config: dict[str, Any]) -> None:
        config["profactory"]["design"]["gills"] = 3

    with pytest.raises(
        ModelLoadError, match="gills of the design is not known here; a newer version"
    ) as caught:
        ProteinModel.load(edit(saved, newer))
    assert "upgrade" in caught.value.fix


def test_a_design_without_what_every_version_writes_is_refused(saved: Path) -> None:
    def cut(config: dict[str, Any]) -> None:
        del config["profactory"]["design"]["method"]

    with pytest.raises(ModelLoadError, match="cannot be read: 'method'"):
        ProteinModel.load(edit(saved, cut))


def test_a_newer_format_is_refused_with_its_version(saved: Path) -> None:
    def newer(config: dict[str, Any]) -> None:
        config["profactory"] |= {"schema_version": 2, "version": "9.9"}

    with pytest.raises(ModelLoadError, match=r"ProFactory 9\.9 .*reads formats up to 1"):
        ProteinModel.load(edit(saved, newer))


@pytest.mark.parametrize(
    "field",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"auto_map": "evil--evil.Model"},
        {"trust_remote_code": True},
        {"_attn_implementation": "user/kernel"},
        {"_attn_implementation_internal": "user/kernel"},
        {"attn_implementation": "user/kernel"},
        {"_target_": "os.system"},
        {"_component_": "os.system"},
        {"auto_mapping": {"parent_library": "os"}},
        {"parent_library": "os"},
        {"custom_pipelines": {"x": {"impl": "evil.P"}}},
        {"quantization_config": {"quant_method": "evil"}},
    ],
)
def test_fields_that_name_code_are_refused(saved: Path, field: dict[str, Any]) -> None:
    """S2."""
    with pytest.raises(ModelLoadError, match="names code to run"):
        ProteinModel.load(edit(saved, lambda config: config.update(field)))


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "head.safetensors",
        "model.safetensors",
        "adapter/adapter_model.safetensors",
        "vocab.txt",
    ],
)
def test_missing_and_truncated_files_are_refused(saved: Path, name: str) -> None:
    file = saved / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ModelLoadError):
        ProteinModel.load(saved)
    file.unlink()
    with pytest.raises(ModelLoadError, match=r"missing|no weights"):
        ProteinModel.load(saved)


@pytest.mark.parametrize(
    "name", ["head.safetensors", "adapter/adapter_model.safetensors", "model.safetensors"]
)
def test_shapes_must_be_those_of_the_configuration(saved: Path, name: str) -> None:
    """S4."""
    file = saved / name
    tensors = load_file(file)
    first = next(key for key in tensors if tensors[key].dim() > 1)
    save_file({**tensors, first: torch.zeros(3, 3)}, file, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"\[3, 3\]"):
        ProteinModel.load(saved)


def test_superfluous_and_missing_tensors_are_refused(saved: Path) -> None:
    file = saved / "head.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "more": torch.zeros(1)}, file)
    with pytest.raises(ModelLoadError, match="'more' does not belong"):
        ProteinModel.load(saved)
    tensors.pop("output_scale")
    save_file(tensors, file)
    with pytest.raises(ModelLoadError, match="'output_scale' is missing"):
        ProteinModel.load(saved)


def header(entries: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, stop: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95",  # the beginning of a pickle
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        header({"a": entry(0, 4, [1])}),  # no data
        header({"a": entry(0, 4, [1]), "b": entry(2, 6, [1])}, b"0" * 6),  # overlap
        header({"a": entry(0, 4, [2])}, b"0" * 4),
        header({"a": entry(0, 4, [-1])}, b"0" * 4),
        header({"a": entry(0, 8, [1 << 62])}, b"0" * 8),
        header({"a": entry(0, 4, [1], "object")}, b"0" * 4),
        header({"a": {"dtype": "F32"}}),
        header({"a": 1}),
        header({str(i): entry(0, 0, [0]) for i in range(10_001)}),
        header({"a": entry(4, 8, [1])}, b"0" * 8),  # a gap
    ],
)
def test_crafted_safetensors_are_refused(saved: Path, content: bytes) -> None:
    """S4: header, number of tensors, types, places."""
    for name in ("head.safetensors", "model.safetensors"):
        (saved / name).write_bytes(content)
        with pytest.raises(ModelLoadError, match="not a usable safetensors file"):
            ProteinModel.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("profactory"),
        lambda config: config["profactory"].pop("task"),
        lambda config: config["profactory"].update(design={}),
        lambda config: config["profactory"]["design"].update(pooling="os.system"),
        lambda config: config["profactory"]["design"].update(surprise=1),
        lambda config: config["profactory"].update(schema_version="1"),
        lambda config: config["profactory"]["backbone"].update(stored="no"),
        lambda config: config["profactory"]["backbone"].update(stored=False),
        lambda config: config["profactory"]["backbone"].update(dtype="float99"),
        lambda config: config.update(model_type="gpt2"),
        lambda config: config.update(hidden_size=1 << 40),
        lambda config: config.update(num_hidden_layers=10**9),
        lambda config: config.update(num_hidden_layers=3),
        lambda config: config.update(vocab_size="33"),
    ],
)
def test_a_changed_configuration_is_refused(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from profactory.errors import ProFactoryError

    with pytest.raises(ProFactoryError):
        ProteinModel.load(edit(saved, change))


def test_what_is_no_model_is_refused(tmp_path: Path, repo: Callable[[str], Path]) -> None:
    with pytest.raises(ModelLoadError, match=r"config\.json is missing"):
        ProteinModel.load(tmp_path / "nothing")
    with pytest.raises(ModelLoadError, match="not a model trained by ProFactory"):
        ProteinModel.load(repo("esm"))


def test_opening_executes_nothing(saved: Path) -> None:
    """S1: no unpickling, no process, no connection while a model is loaded, by audit hook."""
    ProteinModel.load(saved)  # what is imported lazily is imported
    for name in ("pytorch_model.bin", "training_args.bin", "model.pkl", "adapter/adapter_model.bin"):
        (saved / name).write_bytes(b"\x80\x04cos\nsystem\n.")
    seen: set[str] = set()
    opened: set[str] = set()
    watching = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if watching:
            seen.add(event)
            if event == "open":
                opened.add(str(args[0]))

    sys.addaudithook(hook)  # a hook cannot be taken away, only silenced
    ProteinModel.load(saved)
    watching = False
    forbidden = {"pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
    assert not seen & (forbidden | {"socket.connect", "socket.getaddrinfo"})
    assert str(saved / "config.json") in opened
    assert not [name for name in opened if name.endswith((".bin", ".pkl"))]


def test_what_the_training_sequences_were_like_is_kept(spec: ModelSpec, tmp_path: Path) -> None:
    model = trained(spec)
    model.domain = fit_domain(SEQUENCES * 10, SEQUENCES * 7)
    folder = model.save(tmp_path / "model")
    domain = ProteinModel.load(folder).domain
    assert domain is not None
    assert model.domain is not None
    texts = ["MKT", "QQQQQQ", "ACDEFGHIKL"]
    assert domain.novelty(texts).tolist() == model.domain.novelty(texts).tolist()
    file = folder / "domain.safetensors"
    tensors = load_file(file)
    save_file({**tensors, "mean": tensors["mean"] + 1}, file)
    with pytest.raises(ModelLoadError, match="not as it was saved"):
        ProteinModel.load(folder)
    save_file({**tensors, "mean": torch.zeros(3)}, file)
    with pytest.raises(ModelLoadError, match=r"\[3\]"):
        ProteinModel.load(folder)


def test_models_from_before_the_domain_was_kept_still_load(saved: Path) -> None:
    assert not (saved / "domain.safetensors").exists()
    assert ProteinModel.load(saved).domain is None
