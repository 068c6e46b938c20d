"""Which model to begin with: what the machine, the number of sequences and their lengths decide."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from profactory.cli.main import main
from profactory.doctor import gpu
from profactory.models.estimate import estimate
from profactory.models.zoo import resolve
from profactory.pipeline import recommending
from profactory.pipeline.recommending import Candidate, recommend
from tests.support.tables import random_sequences, write_rows, write_table

GB = 10**9


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, 32 GB of memory, four cores."""
    monkeypatch.setattr(recommending, "gpu_memory", lambda: None)
    monkeypatch.setattr(recommending, "free_memory", lambda: 32 * GB)
    monkeypatch.setattr("profactory.models.estimate.usable_cores", lambda: 4)


def table(path: Path, rows: int, residues: int) -> Path:
    sequences = random_sequences(rows, low=residues, high=residues)
    cells = [{"sequence": s, "label": str(n / 7), "split": ""} for n, s in enumerate(sequences)]
    return write_rows(path, [{key: value for key, value in row.items() if value} for row in cells])


def against(candidates: tuple[Candidate, ...]) -> dict[str, str]:
    return {candidate.name: candidate.against for candidate in candidates}


def test_few_sequences_get_a_small_model(tmp_path: Path) -> None:
    found = {rows: recommend(table(tmp_path / f"{rows}.csv", rows, 60)).model for rows in (150, 900, 1_200)}
    assert found == {150: "esm2-35m", 900: "esm2-150m", 1_200: "esm2-650m"}


def test_memory_and_time_are_those_of_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = table(tmp_path / "t.csv", 1_200, 60)
    found = recommend(data)
    for candidate in found.candidates:
        spec = resolve(candidate.name)
        cost = estimate(spec, [60] * 1_200, "freeze")
        assert cost is not None
        assert candidate.memory_bytes == cost.memory_bytes
        assert candidate.seconds == pytest.approx(cost.seconds_once + 30 * cost.seconds_per_epoch)
    slowest = max(c.seconds or 0 for c in found.candidates if c.name == "esm2-650m")
    assert recommend(data, minutes=slowest / 60 * 1.01).model == "esm2-650m"
    hurried = recommend(data, minutes=slowest / 60 * 0.99)
    assert hurried.model == "esm2-150m"
    assert against(hurried.candidates)["esm2-650m"].startswith("takes about")
    monkeypatch.setattr(recommending, "free_memory", lambda: 2 * GB)
    cramped = recommend(data)
    assert cramped.model == "esm2-150m"
    assert "of memory" in against(cramped.candidates)["esm2-650m"]
    monkeypatch.setattr(recommending, "free_memory", lambda: GB // 10)
    assert "Nothing fits; mini is the smallest" in " ".join(recommend(data).reasons)


def test_long_sequences_get_a_model_that_reads_them(tmp_path: Path) -> None:
    found = recommend(table(tmp_path / "t.csv", 1_200, 1_500), minutes=10_000)
    assert found.model in recommending.LONG
    cut = {candidate.name: candidate.cut for candidate in found.candidates}
    assert cut["esm2-650m"] == 1
    assert cut[found.model] == 0


def test_a_gpu_adapts_the_model_if_there_is_enough_to_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recommending, "gpu_memory", lambda: 16 * GB)
    many, few = (recommend(table(tmp_path / f"{rows}.csv", rows, 60)) for rows in (1_200, 400))
    assert (many.method, few.method) == ("lora", "freeze")
    assert all(candidate.seconds is None for candidate in many.candidates)  # never measured there
    assert "GPU with 16 GB" in " ".join(many.reasons)


def test_without_data_what_is_assumed_is_said() -> None:
    found = recommend()
    assert "1,000 sequences of 350 residues are assumed" in found.reasons[0]
    assert found.commands[0] == f"profactory train DATA --model {found.model}"
    assert "mini" in found.compare


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_table(tmp_path / "t.csv", "residue_classification", rows=48)
    assert main(["models", "recommend", str(data), "--minutes", "5", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert "48 sequences (residue classification)" in written["reasons"][0]
    assert main(["models", "recommend", str(data), "--minutes", "5"]) == 0
    said = capsys.readouterr().out
    assert f"profactory train {data} --model {written['model']}" in said
    assert "large for 48 sequences" in said


def test_it_does_without_torch(tmp_path: Path) -> None:
    code = "import sys, profactory; profactory.recommend(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("24564\n8192\n", 24564 << 20), ("", None), ("[N/A]\n", None), ("No devices were found\n", None)],
)
def test_what_nvidia_smi_says_of_memory(answer: str, expected: int | None, tmp_path, monkeypatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu.gpu_memory() == expected
