"""Reading and checking a million rows: time beside polars.read_csv, and peak memory.

usage: python benchmarks/read_table.py [--rows 1000000] [--out benchmarks/results/read_table.json]

Each measurement runs in a process of its own, on a file that has just been read once (so that all find it
in the page cache). The readers take turns, and the load of the machine is written down: on a busy machine
single ratios say little, so the median of the rounds and the ratio of the fastest runs are both given.
Memory is the peak of the process above what it held after its imports. "read and clean" is every cell read
strictly and every sequence through the residue policy; "prepare" also infers the task, checks the labels,
counts duplicates and writes the verified, memory-mapped data set; "check" is all of `profactory check`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import peak_memory

from profactory.files import sha256_file

HERE = Path(__file__)


def write_table(path: Path, rows: int) -> None:
    """Write proteins with lengths as in Swiss-Prot (log-normal, mean about 320) and seven classes."""
    rng = random.Random(0)
    pool = "".join(rng.choices("ACDEFGHIKLMNPQRSTVWY", k=2_000_000))
    with path.open("w", encoding="ascii") as handle:
        handle.write("id,sequence,label\n")
        for row in range(rows):
            length = min(2000, max(30, int(rng.lognormvariate(5.65, 0.5))))
            start = rng.randrange(len(pool) - length)
            handle.write(f"P{row},{pool[start : start + length]},{row % 7}\n")


def run_polars(path: str) -> int:
    """Read with polars' defaults."""
    import polars

    return len(polars.read_csv(path))


def run_read(path: str) -> int:
    """Read and clean."""
    from profactory.data.reading import open_table
    from profactory.data.residues import clean_sequences

    rows = 0
    for chunk in open_table(path).chunks():
        rows += len(clean_sequences(chunk.columns.column("sequence")).sequences)
    return rows


def run_prepare(path: str) -> int:
    """Make a validated data set, with nothing in the cache."""
    from profactory.data.prepare import prepare_dataset

    with tempfile.TemporaryDirectory() as cache:
        return len(prepare_dataset(path, cache=cache).dataset)


def run_check(path: str) -> int:
    """Make the whole data report, with nothing in the cache."""
    from profactory import api

    with tempfile.TemporaryDirectory() as cache:
        os.environ["PROFACTORY_CACHE"] = cache
        report = api.check(path)
    assert report.text()
    return int(report.counts["used"])


RUNS = {"polars": run_polars, "read_and_clean": run_read, "prepare": run_prepare, "check": run_check}


def warm_up(name: str) -> None:
    """Import what the measurement needs, so that only the work is measured."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.csv"
        write_table(path, 50)
        RUNS[name](str(path))


def measure_here(name: str, path: str) -> dict[str, float]:
    """Run one measurement in this process."""
    warm_up(name)
    before = peak_memory()
    start = time.perf_counter()
    rows = RUNS[name](path)
    seconds = time.perf_counter() - start
    return {"rows": rows, "seconds": round(seconds, 3), "peak_mb": round((peak_memory() - before) / 1024, 1)}


def measure(name: str, path: Path) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, str(HERE), "--measure", name, str(path)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return result


def measure_all(path: Path, rounds: int) -> dict[str, object]:
    """Take turns, so that what else the machine does meets all alike; ratios are within a round."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in RUNS}
    for _ in range(rounds):
        for name in RUNS:
            runs[name].append(measure(name, path))
    polars = [run["seconds"] for run in runs["polars"]]
    report: dict[str, object] = {"megabytes": round(path.stat().st_size / 1e6, 1)}
    for name, found in runs.items():
        seconds = [run["seconds"] for run in found]
        ratios = [round(own / other, 2) for own, other in zip(seconds, polars, strict=True)]
        report[name] = {
            "seconds": seconds,
            "peak_mb": max(run["peak_mb"] for run in found),
            "times_polars": {"median": statistics.median(ratios), "rounds": ratios},
            "fastest_over_fastest_polars": round(min(seconds) / min(polars), 2),
        }
    return report


def benchmark(rows: int, rounds: int) -> dict[str, object]:
    """Measure at a tenth of the rows (for the growth of memory) and at all of them."""
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (rows // 10, rows):
            path = Path(folder) / f"{size}.csv"
            write_table(path, size)
            sha256_file(path)  # into the page cache
            results[f"{size}_rows"] = measure_all(path, rounds)
    return results


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "read_table.json")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(*options.measure)))
        return
    report: dict[str, object] = {
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        **benchmark(options.rows, options.rounds),
    }
    report["load_after"] = os.getloadavg()[0]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
