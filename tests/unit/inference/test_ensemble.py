"""Several models as one: means and deviations by hand, one shared backbone, files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from profactory import api
from profactory.errors import ModelLoadError
from profactory.evaluation.domain import fit_domain
from profactory.inference.ensemble import Ensemble
from profactory.inference.predictor import Predictor
from profactory.inference.spread import EnsembleValues, combine, separate, spread_columns
from profactory.models.ensembles import link_equal, load_ensemble, save_ensemble
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Calibration, Task, TaskKind, Values
from tests.support.models import tiny_esm
from tests.unit.inference.test_saved_models import TASKS, _sequences

NAMES = ("fold-1", "fold-2", "fold-3")
CLASSES = Task(TaskKind.SINGLE_LABEL, ("a", "b"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_esm(tmp_path_factory.mktemp("models") / "tiny")


def saved(backbone: Path, folder: Path, task: Task, *, method: str = "freeze", pooling: str = "mean") -> Path:
    """Save three models with different heads, and their ensemble."""
    for seed, name in enumerate(NAMES):
        model = ProteinModel.build(
            resolve(str(backbone)),
            task,
            method=method,
            pooling=None if task.per_residue else pooling,
            max_length=40,
            seed=seed,
        )
        model.calibration = Calibration(temperature=1.0 + seed)
        model.save(folder / name)
    members = {name: folder / name for name in NAMES}
    return save_ensemble(folder / "model", members, task=task, calibration=Calibration(), provenance={})


def test_mean_deviation_and_votes_by_hand() -> None:
    members = np.array([[[0.9, 0.1]], [[0.3, 0.7]], [[0.6, 0.4]]], np.float32)
    rows = combine(members)
    np.testing.assert_allclose(rows, [[0.6, 0.4, 0.3, 0.3, 2 / 3, 1 / 3]], rtol=1e-6)
    columns = spread_columns(CLASSES, separate(Values(rows)))
    assert columns["prediction_std"].tolist() == pytest.approx([0.3])
    assert columns["agreement"].tolist() == pytest.approx([2 / 3])
    assert combine(members[:1]).tolist()[0] == pytest.approx([0.9, 0.1, 0, 0, 1, 0])


def test_what_is_said_of_each_task() -> None:
    spread = np.array([[0.1, 0.3], [0.2, 0.4]], np.float32)
    values = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    one_per_row = EnsembleValues(values, None, None, spread, spread)
    several = Task(TaskKind.MULTI_LABEL, ("a", "b"))
    assert spread_columns(several, one_per_row)["prediction_std"].tolist() == pytest.approx([0.2, 0.3])
    targets = Task(TaskKind.REGRESSION, targets=("hot", "cold"))
    found = spread_columns(targets, one_per_row)
    assert list(found) == ["prediction_std_hot", "prediction_std_cold"]
    assert found["prediction_std_cold"].tolist() == pytest.approx([0.3, 0.4])
    residues = EnsembleValues(values, np.array([0, 2]), None, spread, spread)
    letters = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
    assert spread_columns(letters, residues) == {"prediction_std": ["0.1,0.4"]}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
@pytest.mark.parametrize(
    ("method", "pooling"), [("freeze", "mean"), ("freeze", "attention"), ("lora", "mean")]
)
def test_an_ensemble_is_the_mean_of_its_members(
    backbone: Path, task: Task, method: str, pooling: str, tmp_path: Path
) -> None:
    folder = saved(backbone, tmp_path, task, method=method, pooling=pooling)
    sequences = _sequences()
    ensemble = api.load(folder, device="cpu", tokens_per_batch=128)
    assert isinstance(ensemble, Ensemble)
    assert ensemble.members.shared == (method == "freeze")
    alone = [api.load(tmp_path / name, device="cpu").predict_outputs(sequences).values for name in NAMES]
    together = ensemble.predict_outputs(sequences)
    np.testing.assert_allclose(together.values, np.mean(alone, axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(together.spread, np.std(alone, axis=0, ddof=1), rtol=1e-3, atol=1e-5)
    assert np.ptp(np.stack(alone), axis=0).max() > 1e-3
    assert len(ensemble.predict(sequences)) == len(sequences)


def test_the_frozen_backbone_is_stored_once_and_read_once(backbone: Path, tmp_path: Path) -> None:
    folder = saved(backbone, tmp_path, CLASSES)
    assert [path.parent.name for path in folder.rglob("model.safetensors")] == ["fold-1"]
    members, _, _ = load_ensemble(folder)
    assert all(member.backbone is members[0].backbone for member in members)
    for name in (*NAMES, *NAMES):  # itself, and what is linked already
        link_equal(tmp_path / NAMES[0], tmp_path / name)
    assert not list(tmp_path.rglob(".*"))
    for name in NAMES[1:]:
        file = tmp_path / name / "model.safetensors"
        assert file.samefile(tmp_path / NAMES[0] / "model.safetensors")
        assert isinstance(api.load(tmp_path / name), Predictor)


def test_a_fully_trained_backbone_is_kept_by_each_member(backbone: Path, tmp_path: Path) -> None:
    folder = saved(backbone, tmp_path, CLASSES, method="full")
    assert len(list(folder.rglob("model.safetensors"))) == 3
    link_equal(tmp_path / NAMES[0], tmp_path / NAMES[1])
    assert not (tmp_path / NAMES[1] / "model.safetensors").samefile(tmp_path / NAMES[0] / "model.safetensors")


def test_files_say_how_far_the_members_are_apart(backbone: Path, tmp_path: Path) -> None:
    task = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
    folder = saved(backbone, tmp_path, task)
    sequences = _sequences()
    (tmp_path / "in.csv").write_text("sequence\n" + "\n".join([*sequences, "MK1"]) + "\n")
    report = api.predict(folder, tmp_path / "in.csv", out=tmp_path / "out.csv", device="cpu")
    assert report.predicted == len(sequences)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows[0]["prediction_std"].split(",")) == len(sequences[0])
    long = next(row for row in rows if len(row["sequence"]) > 42)
    assert len(long["prediction_std"].split(",")) == len(long["sequence"])
    assert long["prediction_std"].endswith(",,")
    assert rows[-1]["prediction_std"] == ""
    assert rows[-1]["error"]


def test_records_in_memory(backbone: Path, tmp_path: Path) -> None:
    folder = saved(backbone, tmp_path, CLASSES)
    record = api.load(folder, device="cpu").predict(_sequences()[0])[0]
    assert list(record)[:3] == ["prediction", "prediction_std", "agreement"]
    assert round(3 * record["agreement"], 5) in (1, 2, 3)
    assert 0 < record["prediction_std"] < 0.5


def test_what_is_no_ensemble_or_no_single_model_is_named(backbone: Path, tmp_path: Path) -> None:
    folder = saved(backbone, tmp_path, CLASSES)
    with pytest.raises(ModelLoadError, match="ensemble of 3 models"):
        ProteinModel.load(folder)
    config = folder / "config.json"
    content = json.loads(config.read_text())
    content["profactory"]["ensemble"][1] = "../../outside"
    config.write_text(json.dumps(content))
    with pytest.raises(ModelLoadError, match="not the name of a member"):
        load_ensemble(folder)


def test_a_member_that_was_changed_is_refused(backbone: Path, tmp_path: Path) -> None:
    folder = saved(backbone, tmp_path, CLASSES)
    other = ProteinModel.build(resolve(str(backbone)), CLASSES, pooling="mean", max_length=40)
    with torch.no_grad():
        next(other.backbone.network.parameters()).add_(1.0)
    other.save(folder / "members" / NAMES[0])
    with pytest.raises(ModelLoadError):
        api.load(folder)


def test_the_task_of_an_ensemble_is_its_own(backbone: Path, tmp_path: Path) -> None:
    task = Task(TaskKind.MULTI_LABEL, ("a", "b", "c"))
    saved(backbone, tmp_path, task)
    members = {name: tmp_path / name for name in NAMES}
    own = replace(task, threshold=0.05)
    folder = save_ensemble(
        tmp_path / "own", members, task=own, calibration=Calibration(), provenance={"data": "x"}
    )
    assert api.load(folder).task.threshold == 0.05
    assert api.load(folder).fingerprint != api.load(tmp_path / "model").fingerprint


def test_novelty_is_the_mean_over_the_members(backbone: Path) -> None:
    spec = resolve(str(backbone))
    members = [ProteinModel.build(spec, CLASSES, method="freeze", max_length=40) for _ in range(3)]
    short, long = ["ACDEFGHIKL"] * 20, ["ACDEFGHIKL" * 9] * 20
    members[0].domain, members[1].domain = (
        fit_domain(short, short),
        fit_domain(long, long),
    )  # the third is old
    records = Ensemble(members, CLASSES, Calibration(), device="cpu").predict(
        ["ACDEFGHIKL", "ACDEFGHIKL" * 9, "Q" * 10]
    )
    assert [record["novelty"] for record in records] == [0.5, 0.5, 1.0]
    members[0].domain = members[1].domain = None
    (record,) = Ensemble(members, CLASSES, Calibration(), device="cpu").predict("ACDEFGHIKL")
    assert "novelty" not in record
