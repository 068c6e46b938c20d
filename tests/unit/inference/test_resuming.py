"""Work on a file that is interrupted, by an error or by a kill, and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from profactory import api
from profactory.errors import ProFactoryError, RunLockedError
from profactory.evaluation.domain import fit_domain
from profactory.inference.partial import working_alone
from profactory.inference.predictor import Predictor
from profactory.inference.tables import open_request, predict_file
from profactory.models.protein_model import ProteinModel
from profactory.models.zoo import resolve
from profactory.tasks import Task, TaskKind
from tests.support.fake_model import FakeModel
from tests.support.models import tiny_esm

Model = TypeVar("Model", bound=FakeModel)

REGRESSION = Task(TaskKind.REGRESSION)
RESIDUES = Task(TaskKind.RESIDUE_CLASSIFICATION, ("C", "H"))
FORMATS = [".csv", ".tsv.gz", ".jsonl", ".parquet"]


class Interrupted(FakeModel):
    """Runs `batches` batches, then fails as a full disk or Ctrl-C would."""

    batches = 10**9
    failure: BaseException = KeyboardInterrupt()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.batches -= 1
        if self.batches < 0:
            raise self.failure
        return super().forward(*inputs)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    rows = [f"p{i},{'ACDEFGHIKL'[i % 10] * (i % 13)}" for i in range(100)]  # every 13th is empty
    path.write_text("id,sequence\n" + "\n".join(rows) + "\n")
    return path


def _knowing(model: Model) -> Model:
    """Give a model a domain, so that its predictions have the column ``novelty``."""
    known = ["ACDEFGHIKL"[i % 10] * (1 + i % 13) + "ACDEFG"[: i % 6] for i in range(60)]
    model.domain = fit_domain(known[:30], known[30:])
    return model


def _predict(model: FakeModel, source: Path, out: Path, **options: str) -> None:
    predictor = Predictor(model, device="cpu", tokens_per_batch=40, **options)
    predict_file(predictor, open_request(source, out), block_rows=7)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("task", [REGRESSION, RESIDUES], ids=lambda task: task.kind)
def test_an_interrupted_file_ends_with_the_same_bytes(
    source: Path, tmp_path: Path, task: Task, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    _predict(_knowing(FakeModel(task)), source, whole)
    for batches in (9, 0, 15):
        model = _knowing(Interrupted(task))
        model.batches = batches
        with pytest.raises(KeyboardInterrupt):
            _predict(model, source, out)
        assert not out.exists()
        assert "the same command goes on" in caplog.text
    last = _knowing(Interrupted(task))
    _predict(last, source, out)
    assert out.read_bytes() == whole.read_bytes()
    complete = _knowing(Interrupted(task))
    _predict(complete, source, tmp_path / f"again{suffix}")
    assert len(last.seen) < len(complete.seen)  # what was done was not done again
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("change", ["input", "option"])
def test_another_input_or_option_starts_anew(
    source: Path, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out.csv"
    model = Interrupted(REGRESSION)
    model.batches = 9
    with pytest.raises(KeyboardInterrupt):
        _predict(model, source, out)
    options = {}
    if change == "input":
        source.write_text(source.read_text().replace("p1,", "p1x,"))
    else:
        options["long"] = "windows"
    _predict(FakeModel(REGRESSION), source, out, **options)
    assert "starting anew" in caplog.text
    _predict(FakeModel(REGRESSION), source, tmp_path / "whole.csv", **options)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_full_disk_keeps_what_is_done(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Interrupted(REGRESSION)
    model.batches, model.failure = 20, OSError(28, "No space left on device")
    out = tmp_path / "out.csv"
    with pytest.raises(ProFactoryError, match="No space left") as caught:
        _predict(model, source, out)
    assert re.search(r"about 0\.\d\d MB of free disk space", caught.value.expected)
    assert f"kept in {tmp_path}/.out.csv.partial; the same command goes on" in caught.value.fix
    assert not caplog.text  # said once
    assert list(tmp_path.glob(".out.csv.partial/block-*.arrow"))
    _predict(FakeModel(REGRESSION), source, out)
    assert out.exists()


def test_what_a_killed_process_left_beside_the_output_is_removed(source: Path, tmp_path: Path) -> None:
    """A process killed while it writes leaves a temporary file; that of a live one is kept."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [tmp_path / f".out.csv.{pid}-0123abcd.tmp" for pid in (dead.pid, os.getpid())]
    for file in left:
        file.write_text("half a row")
    _predict(FakeModel(REGRESSION), source, tmp_path / "out.csv")
    assert [file.exists() for file in left] == [False, True]


def test_a_damaged_note_of_what_was_asked_starts_anew(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / ".out.csv.partial"
    folder.mkdir()
    (folder / "request.json").write_text("{")
    (folder / "block-000000.arrow").write_bytes(b"rubbish")
    _predict(FakeModel(REGRESSION), source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").exists()


def test_two_do_not_write_one_output(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    said = r"out\.csv is being written by another process"
    with working_alone(out) as folder, pytest.raises(RunLockedError, match=said):
        _predict(FakeModel(REGRESSION), source, out)
    assert not folder.exists()
    _predict(FakeModel(REGRESSION), source, out)
    assert not folder.exists()


@pytest.mark.slow
def test_a_killed_process_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    model = ProteinModel.build(resolve(str(tiny_esm(tmp_path / "tiny"))), REGRESSION, max_length=60)
    model.save(tmp_path / "model")
    source = tmp_path / "in.fasta"
    letters = "ACDEFGHIKLMNPQRSTVWY"
    source.write_text(
        "".join(f">p{i}\n{(letters * 3)[i % 20 : 20 + i % 40]}{letters[i % 19]}\n" for i in range(20_000))
    )
    api.predict(tmp_path / "model", source, out=tmp_path / "whole.csv", device="cpu")
    out = tmp_path / "out.csv"
    command = [sys.executable, "-m", "profactory", "predict", str(tmp_path / "model"), str(source)]
    for wanted in (1, 3):
        process = subprocess.Popen(
            [*command, "--out", str(out), "--device", "cpu"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and len(list(tmp_path.glob(".out.csv.partial/*.arrow"))) < wanted:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    api.predict(tmp_path / "model", source, out=out, device="cpu")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
