"""Every method on real data: the validation loss falls below that of the start."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from typing import Any

import pytest

from profactory.config import TrainConfig
from profactory.config.methods import METHODS
from profactory.data.bundled import bundled_path
from profactory.pipeline.fitting import fit_model
from profactory.pipeline.preparation import prepare_job
from profactory.pipeline.single import build_model, make_run
from profactory.training import loop
from tests.support.tables import write_rows

pytestmark = pytest.mark.slow
QUICK = ("lora", "qlora", "full")  # the others are run by `make test-all`


def helix_contents(path: Path) -> Path:
    """Write chains of the PDB with their secondary structure (DSSP); the label is their share of helix."""
    lines = gzip.decompress(bundled_path("demo-ss3").read_bytes()).decode().splitlines()
    rows = [
        {
            "sequence": row["sequence"],
            "ss8": row["label"],
            "label": f"{row['label'].count('H') / len(row['label']):.4f}",
            "split": row["split"],
        }
        for row in csv.DictReader(lines)
    ]
    return write_rows(path, rows)


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in QUICK else pytest.mark.extensive) for name in METHODS]
)
def test_the_validation_loss_falls(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[float] = []
    steps = loop._Fit._steps

    def measured_before(self: Any) -> None:
        self.module.eval()
        starts.append(self.validate()["loss"])
        steps(self)

    monkeypatch.setattr(loop._Fit, "_steps", measured_before)
    settings = {"method": method, "limit": 200, "max_length": 96, "epochs": 2, "batch_size": 8}
    with_strings = method == "ses-adapter"
    data = helix_contents(tmp_path / "helix.csv") if with_strings else "bundled:demo-membrane"
    job = prepare_job(str(data), TrainConfig.build({**settings, "device": "cpu"}))
    run = make_run(job, tmp_path / "run")
    with run.lock():
        fit_model(job, build_model(job), run, resume=False)
    losses = [event["metrics"]["loss"] for event in run.events() if event["event"] == "evaluation"]
    assert math.isfinite(starts[0])
    assert min(losses) < 0.9 * starts[0], (starts, losses)
