"""Exported models: any batch and length, every family, run without us, refused where they differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from profactory import api
from profactory.errors import ConfigError, ExportError, RunExistsError
from profactory.models.descriptors import describe
from profactory.models.ensembles import save_ensemble
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.pipeline import export as exporting
from profactory.tasks import Calibration, LabelTransform, Task, TaskKind
from tests.support.models import FAMILY_NAMES, tiny_esm, tiny_repo

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

CLASSES = Task(TaskKind.SINGLE_LABEL, ("soluble", "not"))
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "E", "H"))
SEQUENCES = ["MKTAYIAKQRQISF", "ACDW"]
#: One of each way to write a graph; the others are exported by `make test-all`.
FIRST = ("esm", "bert", "prott5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and the files of a run that quantising needs."""
    folder = tmp_path_factory.mktemp("export")
    model = ProteinModel.build(resolve(str(tiny_esm(folder / "tiny"))), CLASSES, max_length=50)
    model.calibration = Calibration(temperature=2.0)
    model.save(folder / "model", provenance={"source": "toy.csv"})
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 30)) for _ in range(40)]
    predicted = api.load(folder / "model", device="cpu").predict(sequences)
    rows = [f"{s},{p['prediction']}" for s, p in zip(sequences, predicted, strict=True)]
    (folder / "report").mkdir()
    (folder / "report" / "predictions_validation.csv").write_text("seq,kind\n" + "\n".join(rows) + "\n")
    (folder / "data.json").write_text(json.dumps({"columns": {"sequence": "seq", "labels": ["kind"]}}))
    return folder


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    report = api.export(run / "model", run / "onnx", format="onnx")
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-5
    return run / "onnx"


def test_a_stranger_predicts_with_the_script_beside_the_graph(run: Path, exported: Path) -> None:
    script = (exported / "predict.py").read_text()
    assert len(script.splitlines()) == 20
    assert "profactory" not in script.replace('["profactory"]', "")
    done = subprocess.run(
        [sys.executable, str(exported / "predict.py"), *SEQUENCES], check=True, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    for line, sequence, record in zip(
        lines, SEQUENCES, api.load(run / "model", device="cpu").predict(SEQUENCES), strict=True
    ):
        assert line.startswith(sequence)
        for name in CLASSES.classes:  # with the temperature of the calibration
            assert f"'{name}': {round(record[f'probability_{name}'], 4)}" in line


def test_the_graph_says_what_it_is(exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported / "model.onnx"))
    about = json.loads(session.get_modelmeta().custom_metadata_map["profactory"])
    assert about["task"]["classes"] == ["soluble", "not"]
    assert about["max_length"] == 50
    assert about["tokens"]["letters"]["A"] == 5  # ESM's vocabulary
    assert (about["tokens"]["before"], about["tokens"]["after"], about["tokens"]["pad"]) == ([0], [2], 1)
    assert about["provenance"] == {"source": "toy.csv"}


@pytest.mark.parametrize("kind", ["rank", pytest.param("log", marks=pytest.mark.extensive)])
def test_transformed_labels_come_back_in_the_unit_of_the_table(kind: str, tmp_path: Path) -> None:
    """The graph undoes what was done to the labels for training, as the model does."""
    spec = resolve(str(tiny_esm(tmp_path / "tiny")))
    labels = np.array([[1.0, 10.0], [2.0, 20.0], [2.0, 50.0], [8.0, 300.0]])
    task = Task(TaskKind.REGRESSION, targets=("km", "kcat"))
    task = task.with_transform(LabelTransform.fit(kind, labels))
    model = ProteinModel.build(spec, task, max_length=20)
    model.scale_outputs(torch.tensor([0.5, 2.0]), torch.tensor([1.5, 0.5]))
    model.save(tmp_path / "model")
    report = api.export(tmp_path / "model", tmp_path / "onnx", format="onnx")
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-4
    records = api.load(tmp_path / "model", device="cpu").predict(SEQUENCES)
    wanted = [[record["prediction_km"], record["prediction_kcat"]] for record in records]
    np.testing.assert_allclose(_printed(tmp_path / "onnx", SEQUENCES), wanted, rtol=1e-3, atol=1e-3)


def _printed(exported: Path, words: list[str]) -> list[list[float]]:
    """Return the numbers that the example prints."""
    command = [sys.executable, str(exported / "predict.py"), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line.split(" ", 1)[1]) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["freeze", pytest.param("lora", marks=pytest.mark.extensive)])
def test_an_ensemble_is_one_graph_with_the_mean_of_its_members(method: str, tmp_path: Path) -> None:
    """A frozen backbone is in it once; each member has its own temperature."""
    spec = resolve(str(tiny_esm(tmp_path / "tiny")))
    members = {}
    for seed in range(3):
        model = ProteinModel.build(spec, CLASSES, seed=seed, max_length=40, method=method)
        model.calibration = Calibration(temperature=1.0 + seed)
        members[f"seed-{seed}"] = model.save(tmp_path / f"seed-{seed}")
    save_ensemble(tmp_path / "model", members, task=CLASSES, calibration=Calibration(), provenance={})
    report = api.export(tmp_path / "model", tmp_path / "onnx", format="onnx")
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-5
    assert json.loads((report.out / "about.json").read_text())["models"] == 3
    single = api.export(members["seed-0"], tmp_path / "single", format="onnx").out / "model.onnx"
    share = (report.out / "model.onnx").stat().st_size / single.stat().st_size
    assert share < 1.5 if method == "freeze" else share > 2
    command = [sys.executable, str(report.out / "predict.py"), *SEQUENCES]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for line, record in zip(lines, api.load(tmp_path / "model").predict(SEQUENCES), strict=True):
        assert f"'soluble': {round(record['probability_soluble'], 4)}" in line
    with pytest.raises(ConfigError, match="no common weights"):
        api.export(tmp_path / "model", tmp_path / "merged", format="merged")


def test_features_are_an_input_of_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("peptides")
    spec, features = resolve(str(tiny_esm(tmp_path / "tiny"))), ("charge", "stability")
    ProteinModel.build(spec, Task(TaskKind.REGRESSION), max_length=40, descriptors=features).save(
        tmp_path / "model"
    )
    report = api.export(tmp_path / "model", tmp_path / "onnx", format="onnx")
    about = json.loads((report.out / "about.json").read_text())["extra_inputs"]["descriptors"]
    assert (about["numbers"], about["features"]) == (3, ["charge", "stability"])
    numbers = [",".join(map(str, row)) for row in describe(SEQUENCES, features)]
    words = [word for pair in zip(SEQUENCES, numbers, strict=True) for word in pair]
    wanted = [[record["prediction"]] for record in api.load(tmp_path / "model").predict(SEQUENCES)]
    np.testing.assert_allclose(_printed(report.out, words), wanted, atol=2e-4)


@pytest.mark.slow
def test_structures_are_an_input_of_the_graph(tmp_path: Path) -> None:
    spec = resolve(str(tiny_esm(tmp_path / "tiny")))
    kinds = {"3di": "foldseek_3di", "ss8": "ss8"}
    model = ProteinModel.build(
        spec, Task(TaskKind.RESIDUE_REGRESSION), max_length=12, method="ses-adapter", structures=kinds
    )
    torch.nn.init.normal_(model.structure.attention["ss8"].out.weight)  # begins at zero
    model.save(tmp_path / "model")
    report = api.export(tmp_path / "model", tmp_path / "onnx", format="onnx")
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-4
    strings = {"3di": ["DVQPLDVQPLDVQP", "VVVX"], "ss8": ["hhhh----EEEETT", "HHHH"]}
    words = [word for group in zip(SEQUENCES, *strings.values(), strict=True) for word in group]
    command = [sys.executable, str(report.out / "predict.py"), *words]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    records = api.load(tmp_path / "model").predict(SEQUENCES, structures=strings)
    for line, record in zip(lines, records, strict=True):
        found = [float(number.strip("[]")) for number in line.split()[1:]]
        wanted = [float(number) for number in record["prediction"].split(",") if number]
        np.testing.assert_allclose(found, wanted, atol=2e-4)


@pytest.mark.slow
def test_openvino_has_its_metadata_and_the_same_answers(run: Path) -> None:
    import openvino

    report = api.export(run / "model", run / "openvino", format="openvino")
    assert sorted(path.name for path in report.out.iterdir()) == ["about.json", "model.bin", "model.xml"]
    model = openvino.Core().read_model(str(report.out / "model.xml"))
    assert json.loads(model.get_rt_info(["profactory"]).value)["max_length"] == 50
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-4


def test_merged_weights_need_no_adapter(tmp_path: Path) -> None:
    model = ProteinModel.build(resolve(str(tiny_esm(tmp_path / "tiny"))), RESIDUES, method="lora")
    model.save(tmp_path / "model")
    report = api.export(tmp_path / "model", tmp_path / "merged", format="merged")
    assert not (report.out / "adapter").exists()
    assert (report.out / "model.safetensors").is_file()
    merged, original = (api.load(tmp_path / name, device="cpu") for name in ("merged", "model"))
    assert merged.predict(SEQUENCES) == original.predict(SEQUENCES)


@pytest.mark.slow
def test_int8_is_measured_on_validation_rows_and_refused_beyond_the_limit(
    run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = api.export(run / "model", run / "int8", format="onnx", quantize="int8", force=True)
    assert report.quantized["rows"] == 40
    assert report.quantized["metric"] == "mcc"
    assert report.quantized["before"] == 1.0  # the labels are the model's own predictions
    plain, small = exported / "model.onnx", run / "int8" / "model.onnx"
    assert small.stat().st_size < plain.stat().st_size
    monkeypatch.setattr(exporting, "INT8_LIMIT", -1.0)
    with pytest.raises(ExportError, match="int8 weights cost"):
        api.export(run / "model", run / "refused", format="onnx", quantize="int8")
    assert not (run / "refused").exists()


def test_int8_without_validation_rows_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run / "model", tmp_path / "model")
    with pytest.raises(ExportError, match="no validation rows"):
        api.export(tmp_path / "model", tmp_path / "int8", format="onnx", quantize="int8")


def test_other_answers_are_refused_and_nothing_is_left(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "largest_difference", lambda *_: 0.5)
    with pytest.raises(ExportError, match=r"differ by up to 0\.5"):
        api.export(run / "model", run / "wrong", format="onnx")
    with pytest.raises(ExportError, match="merged"):
        api.export(run / "model", run / "wrong", format="merged")
    assert not (run / "wrong").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "pickle"}, ConfigError),
        ({"format": "openvino", "quantize": "int8"}, ConfigError),
        ({"format": "onnx", "quantize": "int4"}, ConfigError),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    run: Path, options: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        api.export(run / "model", run / "never", **options)


def test_an_existing_folder_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    with pytest.raises(RunExistsError):
        api.export(run / "model", tmp_path / "mine", format="onnx")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "task"),
    [
        pytest.param(
            name, (CLASSES, RESIDUES)[i % 2], id=name, marks=() if name in FIRST else pytest.mark.extensive
        )
        for i, name in enumerate(FAMILY_NAMES)
    ],
)
def test_every_family_can_be_exported(family: str, task: Task, tmp_path: Path) -> None:
    spec = resolve(str(tiny_repo(family, tmp_path / "repo")))
    pooling = None if task.per_residue else "attention"
    ProteinModel.build(spec, task, pooling=pooling, max_length=60).save(tmp_path / "model")
    report = api.export(tmp_path / "model", tmp_path / "onnx", format="onnx")
    assert report.largest_difference is not None
    assert report.largest_difference < 1e-4
    done = subprocess.run(
        [sys.executable, str(tmp_path / "onnx" / "predict.py"), *SEQUENCES],
        check=True,
        capture_output=True,
        text=True,
    )
    record = api.load(tmp_path / "model", device="cpu").predict(SEQUENCES)[0]
    first = record["probability_soluble" if not task.per_residue else "probability_C"]
    number = float(str(first).split(",")[0])
    assert f"{round(number, 4)}" in done.stdout.splitlines()[0]
