"""What all benchmarks share: contenders that take turns, and results with the machine they are of.

A contender is a function that does the work and returns what came out (a metric, a number of residues), so
that nobody is fast by doing something else. Each runs in a process of its own, which first does a small
sample, so that imports and first-use costs are not measured, unless the benchmark is about just these.

Two times are written down: that of the clock, and that of the processor (all threads, user and system). On a
quiet machine the clock counts; on a busy one only the processor's time says something.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Contender = Callable[[Mapping[str, Any]], dict[str, Any]]
#: Not what came out, but what it cost.
COSTS = ("seconds", "cpu_seconds", "peak_mb", "above_mb")


class UnavailableError(Exception):
    """A contender cannot run here; the reason is written into the results."""


def run(
    contenders: Mapping[str, Contender], cases: Mapping[str, Mapping[str, Any]], *, reference: str
) -> None:
    """Measure, or (in a child) be measured.

    Parameters
    ----------
    contenders
        By name. Each takes the case with ``"small": True`` for the warm-up and False for the measurement.
    cases
        What to do, by name; JSON values only. ``contenders`` in a case names those that take part.
    reference
        The contender that the ratios are against.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="begin no further round that would end later than this"
    )
    parser.add_argument("--cases", nargs="*", choices=list(cases), default=list(cases))
    parser.add_argument("--only", nargs="*", choices=list(contenders), default=list(contenders))
    parser.add_argument("--small", action="store_true", help="tiny work: a test of the benchmark itself")
    parser.add_argument("--out", type=Path, default=RESULTS / f"{Path(sys.argv[0]).stem}.json")
    parser.add_argument("--measure", nargs=2, metavar=("CONTENDER", "CASE"), help=argparse.SUPPRESS)
    options, begun = parser.parse_args(), time.perf_counter()
    if options.measure:
        name, given = options.measure
        print(json.dumps(measure_here(contenders[name], json.loads(given))))
        return
    found = {}
    for place, name in enumerate(options.cases):
        case = {**cases[name], "name": name, "small": options.small}
        taking_part = [one for one in options.only if one in case.get("contenders", contenders)]
        left = 60 * options.minutes - (time.perf_counter() - begun)
        found[name] = turns(taking_part, case, options.repeats, left / (len(options.cases) - place))
    report = {"machine": machine(), "command": command(), "reference": reference}
    report["cases"] = {name: summary(runs, reference) for name, runs in found.items()}
    write(options.out, report)


def write(file: Path, report: Mapping[str, Any]) -> None:
    """Write results."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def turns(
    names: list[str], case: Mapping[str, Any], repeats: int, seconds: float
) -> dict[str, list[dict[str, Any]]]:
    """Let the contenders take turns, so that what else the machine does meets all alike.

    There is one round at least, and another as long as it would end within `seconds`.
    """
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    begun = time.perf_counter()
    for turn in range(repeats):
        passed = time.perf_counter() - begun
        if turn and passed * (turn + 1) / turn > seconds:
            break
        for name in names:
            if runs[name] and "unavailable" in runs[name][0]:
                continue
            words = [sys.executable, sys.argv[0], "--measure", name, json.dumps(dict(case))]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(
                f"{case['name']} {turn + 1}/{repeats} {name}: {runs[name][-1]}", file=sys.stderr, flush=True
            )
    return runs


def measure_here(contender: Contender, case: Mapping[str, Any]) -> dict[str, Any]:
    """Run one contender in this process."""
    try:
        if case.get("warm_up", True):
            contender({**case, "small": True})
        before, start, busy = peak_memory(), time.perf_counter(), processor_seconds()
        outcome = contender(case)
    except UnavailableError as reason:
        return {"unavailable": str(reason)}
    return {
        **passed(start, busy),
        "peak_mb": round(peak_memory() / 1024),
        "above_mb": round((peak_memory() - before) / 1024),
        **outcome,
    }


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Measure a part of a contender's work; what comes out replaces the time of all of it."""
    found: dict[str, float] = {}
    start, busy = time.perf_counter(), processor_seconds()
    yield found
    found.update(passed(start, busy))


def passed(start: float, busy: float) -> dict[str, float]:
    """Return the seconds of the clock and of the processor since a moment."""
    seconds, busy = time.perf_counter() - start, processor_seconds() - busy
    return {"seconds": round(seconds, 3), "cpu_seconds": round(busy, 3)}


def summary(runs: Mapping[str, list[dict[str, Any]]], reference: str) -> dict[str, Any]:
    """Return medians and all runs, and how many times faster than the reference each is.

    The ratios are within a round: of the clock (``times_faster``) and of the processor (``times_less_cpu``).
    """
    out: dict[str, Any] = {}
    for name, found in runs.items():
        if not found or "unavailable" in found[0]:
            out[name] = {"unavailable": found[0]["unavailable"] if found else "was not asked for"}
            continue
        entry: dict[str, Any] = {cost: spread([each[cost] for each in found]) for cost in COSTS[:2]}
        entry["peak_mb"] = max(each["peak_mb"] for each in found)
        entry["outcome"] = {key: value for key, value in found[-1].items() if key not in COSTS}
        for cost, title in (("seconds", "times_faster"), ("cpu_seconds", "times_less_cpu")):
            if reference in runs:
                pairs = zip(runs[reference], found, strict=True)
                entry[title] = spread([round(other[cost] / own[cost], 2) for other, own in pairs])
        out[name] = entry
    return out


def spread(values: list[float]) -> dict[str, Any]:
    """Return the median and what it is of."""
    return {"median": round(statistics.median(values), 3), "all": values}


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
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
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
    """Return what was typed, but for where the results go."""
    words = sys.argv[1:]
    if "--out" in words:
        place = words.index("--out")
        words = words[:place] + words[place + 2 :]
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def processor_seconds() -> float:
    """Return the time that processors have worked for this process and its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in kB; getrusage would count its parent's."""
    return memory_of("self", "VmHWM")


def memory_of(process: int | str, kind: str) -> int:
    """Return what the system notes of a process's memory, in kB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(kind)), 0)
