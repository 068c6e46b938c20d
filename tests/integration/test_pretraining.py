"""Pretraining from the command line: a family is learnt, a killed run goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import EsmForMaskedLM

import profactory
from profactory.errors import CheckpointError, ConfigError, DataError, RunExistsError
from profactory.models.backbone import Backbone
from profactory.models.zoo import resolve
from profactory.runs import Run
from profactory.training.history import metric_rows


def environment() -> dict[str, str]:
    """Return the environment of a process: the cache of this very test, which is not known at import."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
TINY = {"layers": 1, "width": 32, "heads": 2, "tokens_per_batch": 512, "epochs": 2, "threads": 1}


def _write_family(path: Path, *, count: int = 60, seed: int = 0) -> Path:
    """Variants of one sequence: about one residue in ten replaced."""
    rng = np.random.default_rng(seed)
    parent = rng.choice(list(RESIDUES), size=60)
    changed = (np.where(rng.random(60) < 0.1, rng.choice(list(RESIDUES), 60), parent) for _ in range(count))
    path.write_text("".join(f">v{i}\n{''.join(row)}\n" for i, row in enumerate(changed)))
    return path


@pytest.fixture
def family(tmp_path: Path) -> Path:
    return _write_family(tmp_path / "family.fasta")


@pytest.mark.slow
@pytest.mark.parametrize("method", [pytest.param("full", marks=pytest.mark.extensive), "lora"])
def test_continuing_mini_on_a_family_lowers_its_perplexity(tmp_path: Path, method: str) -> None:
    run = profactory.pretrain(
        "bundled:demo-gb1",
        init="mini",
        method=method,
        out=tmp_path / "run",
        validation_share=0.02,
        max_steps=8,
        eval_steps=4,
        tokens_per_batch=2048,
        learning_rate=1e-3 if method == "full" else 1e-2,
    )
    now, before = run.metrics["validation"], run.metrics["baselines"]["starting model"]
    assert now["perplexity"]["value"] < before["perplexity"]["value"] - 1
    assert now["perplexity"]["low"] < now["perplexity"]["value"] < now["perplexity"]["high"]
    assert run.metrics["comparison"]["outcome"] == "better"
    assert {"metrics.json", "report.html", "loss.png", "perplexity.png"} <= set(
        os.listdir(run.path / "report")
    )

    _, info = EsmForMaskedLM.from_pretrained(run.model, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    # The model is a backbone like any other, and no longer mini.
    assert (
        Backbone.load(resolve(str(run.model))).weights_hash() != Backbone.load(resolve("mini")).weights_hash()
    )


def test_a_new_model_is_trained_measured_and_described(tmp_path: Path, family: Path) -> None:
    with family.open("a") as handle:
        handle.write(">short\nMKT\n>odd\n" + 30 * "M1" + "\n")
    run = profactory.pretrain(family, out=tmp_path / "run", **TINY)
    assert run.metrics["baselines"].keys() == {"composition"}
    opened = Run.open(run.path)
    assert opened.status()["state"] == "finished"
    data = json.loads((run.path / "data.json").read_text())
    read = data["train"]["read"]
    assert (read["used"], read["skipped_too_short"], read["skipped_unknown_letters"]) == (60, 1, 1)
    assert data["train"]["records"] + data["validation"]["records"] == 60
    assert data["shared_sequences"] == 0
    page = run.report.read_text()
    assert "2 sequences could not be used" in page
    assert "Each residue on validation" in page
    evaluations = [event for event in opened.events() if event["event"] == "evaluation"]
    assert [event["epoch"] for event in evaluations] == [1, 2]
    with pytest.raises(RunExistsError):
        profactory.pretrain(family, out=tmp_path / "run", **TINY)


def test_labels_are_learnt_beside_and_their_heads_left_out(tmp_path: Path, family: Path) -> None:
    terms, chains = tmp_path / "terms.tsv", tmp_path / "chains.tsv"
    terms.write_text("id\tterm_indices\n" + "".join(f"v{i}\t{i % 3}\n" for i in range(60)))
    chains.write_text("sequence\tss8\trsa_decile\n" + f"{RESIDUES * 3}\t{'HEC' * 20}\t{'0123456789' * 6}\n")
    held_out = _write_family(tmp_path / "other.fasta", count=5, seed=1)
    run = profactory.pretrain(
        family, annotations=terms, residue_labels=chains, validation=held_out, out=tmp_path / "run", **TINY
    )
    checkpoint = max((run.path / "ckpt").iterdir())
    trained = load_file(checkpoint / "model.safetensors")
    assert {name.split(".")[1] for name in trained if name.startswith("heads.")} == {
        "terms",
        "ss8",
        "accessibility",
    }
    assert all(trained[f"heads.{name}.weight"].abs().sum() > 0 for name in ("terms", "ss8", "accessibility"))
    assert not [name for name in load_file(run.model / "model.safetensors") if "heads" in name]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"init": "mini", "layers": 2}, "describe a new model"),
        ({"method": "lora"}, "continue from"),
        ({"init": "prott5-xl-uniref50"}, "decoder"),
        ({"init": "mini", "max_length": 5000}, "at most 1,022"),
        ({"width": 100, "heads": 6}, "--width 96"),
        ({"max_steps": 0}, "max_steps"),
        ({"monitor": "mcc"}, "no option is called 'monitor'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_a_run_is_made(
    tmp_path: Path, family: Path, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        profactory.pretrain(family, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_too_few_sequences_are_refused_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "few.fasta"
    path.write_text(f">a\n{RESIDUES}\n>b\nMKT\n")
    with pytest.raises(DataError, match="1 can be used, 1 too short"):
        profactory.pretrain(path, out=tmp_path / "run")


def _command(family: Path, run: Path) -> list[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    program = [sys.executable, "-m", "profactory", "pretrain", str(family), "--out", str(run)]
    return [*program, *flags, "--save-steps=1", "--eval-steps=5", "--precision=bf16"]


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(tmp_path: Path, family: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run(
        _command(family, straight), env=environment(), check=True, capture_output=True, timeout=300
    )
    child = subprocess.Popen(_command(family, killed), env=environment(), stderr=subprocess.PIPE)
    _wait_for_checkpoint(child, killed, step=3)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert Run.open(killed).status()["state"] == "died"
    torch.set_num_threads(1)
    resumed = profactory.resume(killed)
    assert isinstance(resumed, profactory.PretrainedRun)
    assert Run.open(killed).status()["state"] == "finished"

    one, two = (load_file(run / "model" / "model.safetensors") for run in (straight, killed))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert metric_rows(Run(straight).events()) == metric_rows(Run(killed).events())
    assert resumed.metrics == profactory.PretrainedRun(straight).metrics


def _wait_for_checkpoint(process: subprocess.Popen[bytes], path: Path, step: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(process.communicate()[1].decode())
        if path.exists() and any(e.get("step", 0) >= step for e in Run(path).events()):
            return
        time.sleep(0.01)
    raise AssertionError("the process never came that far")


def test_a_resumed_run_refuses_other_sequences(tmp_path: Path, family: Path) -> None:
    run = profactory.pretrain(family, out=tmp_path / "run", **TINY)
    opened = Run.open(run.path)
    opened.set_status("stopped")
    _write_family(family, count=61)
    with pytest.raises(CheckpointError, match="sequences changed"):
        profactory.resume(run.path)
