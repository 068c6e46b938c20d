"""Engines: the same answers, chosen by measuring, and always named."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from profactory import api
from profactory.errors import ConfigError
from profactory.files import cache_dir
from profactory.inference.engines import choosing
from profactory.inference.engines.torch_engine import TorchEngine
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind
from tests.support.models import tiny_esm

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQ", "A", "ACDEFGHIKLMNPQRSTVWY" * 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    spec = resolve(str(tiny_esm(folder / "tiny")))
    made = ProteinModel.build(
        spec, Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H")), max_length=64, method="lora"
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made.save(folder / "model")


@pytest.fixture(autouse=True)
def _shared_graphs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are made once for this module."""
    monkeypatch.setenv("PROFACTORY_CACHE", str(tmp_path_factory.getbasetemp() / "engines-cache"))


@pytest.mark.parametrize(
    ("engine", "precision", "tolerance"),
    [("onnx", "fp32", 1e-5), ("openvino", "fp32", 1e-5), ("openvino", "bf16", 0.02), ("onnx", "int8", 0.05)],
)
def test_every_engine_gives_the_answers_of_torch(
    model: Path, engine: str, precision: str, tolerance: float
) -> None:
    expected = api.load(model, device="cpu").predict_outputs(SEQUENCES)
    predictor = api.load(model, engine=engine, precision=precision, device="cpu")
    outputs = predictor.predict_outputs(SEQUENCES)
    np.testing.assert_allclose(outputs.values, expected.values, atol=tolerance)
    assert outputs.lengths.tolist() == [22, 1, 40]
    assert precision in predictor.engine.describe()
    assert predictor.engine.name == engine


def test_the_fastest_is_measured_once_and_remembered(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = {"torch": 3.0, "openvino": 1.0, "onnx": 2.0}
    measured = []

    def measure(_: ProteinModel, engine: choosing.Engine) -> float:
        measured.append(engine.name)
        return seconds[engine.name]

    monkeypatch.setattr(choosing, "_measure", measure)
    with caplog.at_level(logging.INFO, "profactory"):
        first = api.load(model, engine="auto", device="cpu", rows=2000)
    assert (first.engine.name, sorted(measured)) == ("openvino", ["onnx", "openvino", "torch"])
    assert "OpenVINO fp32 on cpu 1000 ms; ONNX Runtime fp32 on cpu 2000 ms" in caplog.text
    again = api.load(model, engine="auto", device="cpu", rows=2000)
    assert (again.engine.name, len(measured)) == ("openvino", 3)
    assert api.load(model, engine="auto", device="cpu", rows=1999).engine.name == "torch"


def test_an_engine_with_other_answers_is_not_used(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choosing, "_measure", lambda _, engine: {"torch": 2.0}.get(engine.name, 1.0))
    monkeypatch.setattr(choosing, "_machine", lambda: "another")
    run = choosing.TorchEngine.run
    monkeypatch.setattr(TorchEngine, "run", lambda self, batch: run(self, batch) + np.array([0.0, 0.01]))
    with pytest.raises(ConfigError, match="answers otherwise than torch"):
        api.load(model, engine="onnx", device="cpu")
    assert api.load(model, engine="auto", device="cpu", rows=5000).engine.name == "torch"
    assert caplog.text.count("is left out") == 2


def test_a_real_measurement_gives_an_engine_that_works(model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("sequence\n" + "\n".join(["MKTAYIAKQR"] * 2000) + "\n")
    report = api.predict(
        model, source, out=tmp_path / "out.csv", engine="auto", precision="auto", device="cpu"
    )
    assert report.predicted == 2000
    assert report.engine in report.text()
    assert list((cache_dir() / "engines").rglob("fastest-auto-*.json"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "tensorrt"}, "tensorrt"),
        ({"engine": "onnx", "precision": "bf16"}, "no precision bf16"),
        ({"engine": "openvino", "precision": "int8"}, "no precision int8"),
        ({"engine": "torch", "precision": "int8"}, "int8"),
    ],
)
def test_engines_that_cannot_be_are_named(model: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        api.load(model, device="cpu", **options)
