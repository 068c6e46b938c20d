"""``profactory models`` and ``profactory datasets``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from profactory.cli.main import main


def test_models_list_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    page = capsys.readouterr().out
    assert "mini" in page
    assert max(map(len, page.splitlines())) <= 80
    assert main(["models", "list", "mini", "--json"]) == 0
    (mini,) = json.loads(capsys.readouterr().out)
    assert (mini["name"], mini["bundled"], mini["family"]) == ("mini", True, "esm")
    assert main(["models", "show", "mini"]) == 0
    assert "3,168,000" in capsys.readouterr().out
    assert main(["models", "show", "mini", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"] == 4
    assert main(["models", "list", "no-such-word"]) == 0
    assert "no-such-word" in capsys.readouterr().out


def test_an_unknown_model_offers_near_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "esm22-8m"]) == 1
    assert "esm2-8m" in capsys.readouterr().err


def test_datasets_list_show_and_preview(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["datasets", "list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed["demo-gb1"]["task"] == "regression"
    assert main(["datasets", "list"]) == 0
    assert "demo-gb1" in capsys.readouterr().out
    assert main(["datasets", "show", "bundled:demo-gb1"]) == 0
    assert "train 1,200, validation 200, test 286" in capsys.readouterr().out
    assert main(["datasets", "show", "demo-gb1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["test"] == 286
    assert main(["datasets", "preview", "demo-gb1", "-n", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    own = tmp_path / "own.csv"
    own.write_text("sequence,label\n" + "A" * 100 + ",1\n")
    assert main(["datasets", "preview", str(own)]) == 0
    assert "A" * 39 + "…" in capsys.readouterr().out
    assert main(["datasets", "preview", str(own), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"sequence": "A" * 100, "label": "1"}]


def test_public_data_sets_have_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "list"]) == 0
    assert "AI4Protein/DeepLocBinary" in capsys.readouterr().out
    assert main(["datasets", "show", "deeplocmulti"]) == 0
    said = capsys.readouterr().out
    assert "single_label_classification" in said
    assert "https://huggingface.co/datasets/AI4Protein/DeepLocMulti" in said
    assert main(["datasets", "show", "DeepLocMulty"]) == 1
    assert "did you mean DeepLocMulti" in capsys.readouterr().err
    assert main(["datasets", "preview", "DeepLocMulti"]) == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["show", "preview"])
def test_an_unknown_data_set_is_named(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", verb, "bundled:demo-gb"]) == 1
    assert "demo-gb1" in capsys.readouterr().err
