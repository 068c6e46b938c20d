"""The catalogue and what a name may mean."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from profactory.errors import ConfigError, ModelLoadError, UnknownModelError
from profactory.models.backbone import Backbone
from profactory.models.families import FAMILIES
from profactory.models.zoo import list_models, resolve


def test_the_catalogue_is_complete() -> None:
    names = {spec.name for spec in list_models()}
    assert len(names) == len(list_models()) == 58
    count = lambda start: sum(name.startswith(start) for name in names)  # noqa: E731
    assert (count("esm2-"), count("esm1v-"), count("esmc-"), count("protbert")) == (6, 5, 3, 2)
    assert (count("prott5-"), count("ankh-"), count("ankh3-"), count("ig")) == (4, 2, 2, 4)
    assert (count("saprot-"), count("peta-"), count("prosst-"), count("prime-")) == (3, 15, 6, 2)
    assert {"mini", "esm1b", "prostt5", "venusplm-300m"} <= names


def test_entries_are_sane() -> None:
    for spec in list_models():
        assert spec.family in FAMILIES
        assert spec.title
        assert re.fullmatch(r"[a-z0-9-]+", spec.name)
        if spec.bundled:
            continue
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", spec.source)
        assert spec.pinned or spec.revision == "main"
        assert spec.weights_bytes is None or spec.weights_bytes == 4 * spec.parameters
    assert len({spec.source for spec in list_models()}) == 58


def test_sizes_are_those_of_the_architectures() -> None:
    """The library's classes, told the published sizes, have as many parameters as the catalogue says."""
    esm = {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary"}
    for name in ("esm2-8m", "esm2-650m"):
        spec = resolve(name)
        config = transformers.EsmConfig(
            **esm,
            hidden_size=spec.width,
            num_hidden_layers=spec.layers,
            num_attention_heads=20,
            intermediate_size=4 * spec.width,
        )
        with torch.device("meta"):
            network = transformers.EsmModel(config, add_pooling_layer=False)
        used = [p for part, p in network.named_parameters() if "contact_head" not in part]
        assert sum(p.numel() for p in used) == spec.parameters


def test_names_mean_what_they_should(repo: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("esm2-8m").source == "facebook/esm2_t6_8M_UR50D"
    assert resolve("ESM2-8M") is resolve("facebook/esm2_t6_8M_UR50D")
    assert resolve("mini").bundled
    assert resolve("someone/some-model").revision == "main"
    assert resolve("someone/some-model", revision="v1.0").revision == "v1.0"
    local = resolve(str(repo("esm")))
    assert (local.local, local.layers, local.width) == (True, 2, 32)
    monkeypatch.chdir(repo("esm").parent)
    assert resolve("./model").source == local.source


@pytest.mark.parametrize("name", ["esm2-8", "esm2_8m", "ESM2-8B"])
def test_unknown_names_get_the_nearest(name: str) -> None:
    with pytest.raises(UnknownModelError, match="esm2-8m"):
        resolve(name)


@pytest.mark.parametrize("name", ["", "x", "a/b/c", "../secret", "user/", "/nowhere/at/all", "user/na me"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UnknownModelError):
        resolve(name)


def test_revisions(repo: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="no meaning"):
        resolve(str(repo("esm")), revision="main")
    with pytest.raises(ConfigError, match="no revision"):
        resolve("esm2-8m", revision="; rm -rf")


def test_a_run_stands_for_the_model_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "config.json").write_text('{"model_type": "esm", "hidden_size": 32}')
    (tmp_path / "run" / "status.json").write_text("{}")
    spec = resolve(str(tmp_path / "run"))
    assert (spec.source, spec.width) == (str((tmp_path / "run" / "model").resolve()), 32)


def test_folders_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="is missing"):
        resolve(str(tmp_path))
    for text in ("[]", "{", "\x00", "[" * 100_000):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ModelLoadError):
            resolve(str(tmp_path))


def test_the_bundled_model_loads_and_is_as_described() -> None:
    spec = resolve("mini")
    backbone = Backbone.load(spec)
    assert (backbone.width, backbone.n_layers, backbone.max_length) == (
        spec.width,
        spec.layers,
        spec.max_length,
    )
    unused = backbone.family.unused
    used = [p for name, p in backbone.network.named_parameters() if not name.startswith(unused)]
    assert sum(p.numel() for p in used) == spec.parameters
    assert Backbone.load(spec).weights_hash() == backbone.weights_hash()


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from profactory.models.zoo import list_models; list_models(); "
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "set()"
