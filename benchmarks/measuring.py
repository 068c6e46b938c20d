"""What all benchmarks share: contenders that take turns, and results with the machine they are of.

A contender is a function that does the work and returns what came out (a metric, a number of residues), so
that nobody is fast by doing something else. Its process first runs it on a small sample, so that imports
and first-use costs are not measured, unless the benchmark is about just these.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Contender = Callable[[Mapping[str, Any]], dict[str, Any]]


def run(
    contenders: Mapping[str, Contender], cases: Mapping[str, Mapping[str, Any]], *, reference: str
) -> None:
    """Measure, or (in a child) be measured.

    Parameters
    ----------
    contenders
        By name. Each takes the case with ``"small": True`` for the warm-up and False for the measurement.
    cases
        What to do, by name; JSON values only.
    reference
        The contender that the ratios are against.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="*", choices=list(cases), default=list(cases))
    parser.add_argument("--only", nargs="*", choices=list(contenders), default=list(contenders))
    parser.add_argument("--out", type=Path, default=RESULTS / f"{Path(sys.argv[0]).stem}.json")
    parser.add_argument("--measure", nargs=2, metavar=("CONTENDER", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, case = options.measure
        print(json.dumps(measure_here(contenders[name], json.loads(case))))
        return
    chosen = {name: cases[name] for name in options.cases}
    found = {name: turns(options.only, case, options.repeats) for name, case in chosen.items()}
    report = {"machine": machine(), "command": command(), "reference": reference}
    report["cases"] = {name: summary(runs, reference) for name, runs in found.items()}
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report["cases"], indent=2))


def turns(names: list[str], case: Mapping[str, Any], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Let the contenders take turns, so that what else the machine does meets all alike."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(repeats):
        for name in names:
            words = [sys.executable, sys.argv[0], "--measure", name, json.dumps(dict(case))]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{turn + 1}/{repeats} {name}: {runs[name][-1]}", file=sys.stderr, flush=True)
    return runs


def measure_here(contender: Contender, case: Mapping[str, Any]) -> dict[str, Any]:
    """Run one contender in this process."""
    if case.get("warm_up", True):
        contender({**case, "small": True})
    before, start = peak_memory(), time.perf_counter()
    outcome = contender({**case, "small": False})
    seconds = time.perf_counter() - start
    return {
        "seconds": round(seconds, 3),
        "peak_mb": round(peak_memory() / 1024),
        "above_mb": round((peak_memory() - before) / 1024),
        **outcome,
    }


def summary(runs: Mapping[str, list[dict[str, Any]]], reference: str) -> dict[str, Any]:
    """Return medians and spread, and how many times faster than the reference each is (per round, median)."""
    out: dict[str, Any] = {}
    for name, found in runs.items():
        seconds = [each["seconds"] for each in found]
        entry = {
            "seconds": {"median": statistics.median(seconds), "all": seconds},
            "peak_mb": max(each["peak_mb"] for each in found),
            "outcome": {k: v for k, v in found[-1].items() if k not in ("seconds", "peak_mb", "above_mb")},
        }
        if reference in runs:
            ratios = [r["seconds"] / own for r, own in zip(runs[reference], seconds, strict=True)]
            entry["times_faster"] = {
                "median": round(statistics.median(ratios), 2),
                "all": [round(r, 2) for r in ratios],
            }
        out[name] = entry
    return out


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    packages = ("profactory", "torch", "transformers", "peft", "accelerate", "openvino", "onnxruntime")
    model = "unknown"
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def version(name: str) -> str | None:
    """Return the version of a package, None if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def command() -> str:
    """Return what was typed."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in kB; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
