"""The benchmarks: how runs become ratios and tables, and that they run at all. No time is asserted."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run_of(seconds: float, busy: float, **outcome: Any) -> dict[str, Any]:
    return {"seconds": seconds, "cpu_seconds": busy, "peak_mb": 100, "above_mb": 1, **outcome}


def test_ratios_are_within_a_round(load: Any) -> None:
    runs = {
        "slow": [run_of(10, 8), run_of(30, 8), run_of(12, 9)],
        "fast": [run_of(1, 2, residues=7), run_of(6, 2, residues=7), run_of(2, 3, residues=7)],
    }
    found = load("measuring").summary(runs, "slow")["fast"]
    assert found["times_faster"] == {"median": 6.0, "all": [10.0, 5.0, 6.0]}
    assert found["times_less_cpu"] == {"median": 4.0, "all": [4.0, 4.0, 3.0]}
    assert found["seconds"]["median"] == 2
    assert found["outcome"] == {"residues": 7}


def test_what_cannot_run_is_said(load: Any) -> None:
    measuring = load("measuring")

    def absent(case: Any) -> Any:
        raise measuring.UnavailableError("not installed")

    run = measuring.measure_here(absent, {"small": False})
    assert measuring.summary({"other": [run]}, "x") == {"other": {"unavailable": "not installed"}}


def test_tables_replace_what_stands_between_the_marks(load: Any, tmp_path: Path) -> None:
    measuring, tables = load("measuring"), load("tables")
    runs = {
        "trainer": [run_of(20, 10, mcc=0.5)],
        "profactory": [run_of(2, 4, mcc=0.25, training_seconds=1.5)],
    }
    report = {"machine": measuring.machine(), "command": "x", "cases": {}}
    report["cases"] = {"freeze": measuring.summary(runs, "trainer")}
    (tmp_path / "training.json").write_text(json.dumps(report), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    for page in tables.PAGES:
        places = [f"<!-- benchmark: {name} -->\nold\n<!-- end -->\n" for name in ("training", "growth")]
        (tmp_path / page).write_text("".join(["a\n", *places, "z\n"]), encoding="utf-8")
    tables.rewrite(tmp_path, tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| freeze | profactory | 2.0 | 4.0 | 10.0 | 2.5 | 1.5 | 0.250 | 100 |" in text
    assert "old" not in text
    assert "Not measured yet (growth.json)" in text
    assert text.startswith("a\n<!-- benchmark: training -->\n")
    assert text.endswith("<!-- end -->\nz\n")


@pytest.mark.slow
@pytest.mark.extensive
def test_all_benchmarks_run(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHMARKS / "run.py"), "--small", "--out", str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("*.json")}
    assert sorted(found) == ["growth", "inference", "read_table", "starting", "training"]
    eight = found["inference"]["cases"]["8M"]
    assert eight["sdpa, sorted"]["outcome"]["difference"] < 1e-4
    assert eight["profactory fp32"]["outcome"]["difference"] < 1e-4
    assert 0 < eight["profactory bf16"]["outcome"]["difference"] < 0.2
    assert set(found["training"]["cases"]["freeze"]) == {"trainer", "biotrainer", "profactory"}
