"""Models on the Hub: pushed with card, without code, without secrets; loaded by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from profactory import api
from profactory.errors import ConfigError, NotARunError
from profactory.models.ensembles import save_ensemble
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Calibration, Task, TaskKind
from tests.support.fake_hub import COMMIT, FakeHub, fake_hub
from tests.support.models import tiny_esm

SECRET = "hf_secret"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
    spec = resolve(str(tiny_esm(folder / "tiny")))
    return ProteinModel.build(spec, task, method="lora").save(folder / "model")


def _run(hub: FakeHub, home: Path, *words: str, token: str = SECRET) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user with this Hub would."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": token,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-m", "profactory", *words]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_pushed_model_is_loaded_by_its_name(model: Path, tmp_path: Path) -> None:
    (model / "notes.py").write_text("raise SystemExit")  # not part of a model: stays here
    with fake_hub() as hub:
        done = _run(hub, tmp_path, "push", str(model), "me/model", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["url"].endswith(f"/me/model/commit/{COMMIT}")
        of_model = [p.relative_to(model).as_posix() for p in model.rglob("*.*") if p.suffix != ".py"]
        assert sorted(hub.files) == sorted(["README.md", *of_model])
        card = hub.files["README.md"].decode()
        assert card.startswith("---\nlibrary_name: profactory\n")
        assert 'profactory.load("me/model")' in card
        assert all(SECRET.encode() not in content for content in hub.files.values())
        hub.files["evil.py"] = b"raise SystemExit"
        hub.files["pytorch_model.bin"] = b"\x80\x04."
        done = _run(hub, tmp_path, "predict", "me/model", "--sequence", "MKTAYIAK", "--json")
        assert done.returncode == 0, done.stderr
        expected = api.load(model, device="cpu").predict("MKTAYIAK")
        assert json.loads(done.stdout) == [pytest.approx(record) for record in expected]
        assert f"me/model@{COMMIT}" in done.stderr
        assert not any("evil" in path or ".bin" in path for path in hub.requests)
        refused = _run(hub, tmp_path, "push", str(model), "me/model", token="hf_wrong")
        assert refused.returncode == 1
        assert "hf auth login" in refused.stderr
        assert "Traceback" not in refused.stderr
    (model / "notes.py").unlink()


@pytest.mark.parametrize(
    "name", ["model", "me/model/more", "../model", "me/mo del", "me/model@main", "https://x/y"]
)
def test_names_that_are_no_repository_are_refused(model: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="user/name"):
        api.push(model, name)


def test_a_mistyped_run_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of the network when the first part of the path is a folder here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(NotARunError):
        api.load("runs/missing")


@pytest.mark.slow
def test_a_pushed_ensemble_is_loaded_by_its_name(tmp_path: Path) -> None:
    task = Task(TaskKind.SINGLE_LABEL, ("a", "b"))
    spec = resolve(str(tiny_esm(tmp_path / "tiny")))
    members = {f"seed-{seed}": tmp_path / f"seed-{seed}" for seed in range(2)}
    for seed, folder in enumerate(members.values()):
        ProteinModel.build(spec, task, method="freeze", seed=seed).save(folder)
    model = save_ensemble(
        tmp_path / "model", members, task=task, calibration=Calibration(), provenance={"source": "x.csv"}
    )
    with fake_hub() as hub:
        done = _run(hub, tmp_path, "push", str(model), "me/both", "--json")
        assert done.returncode == 0, done.stderr
        weights = [name for name in hub.files if name.endswith("model.safetensors")]
        assert weights == ["members/seed-0/model.safetensors"]  # the frozen backbone, once
        assert "members/seed-1/config.json" in hub.files
        assert 'profactory.load("me/both")' in hub.files["README.md"].decode()
        done = _run(hub, tmp_path, "predict", "me/both", "--sequence", "MKTAYIAK", "--json")
        assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record == pytest.approx(api.load(model, device="cpu").predict("MKTAYIAK")[0])
    assert record["prediction_std"] > 0
