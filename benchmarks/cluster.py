"""One process beside a Ray cluster on the same machine: time of the clock and of all processors.

usage: python benchmarks/cluster.py [--rows 256 1024] [--workers 2] [--model SHAPE] [--out FILE]

`profactory predict` of random proteins (50 to 350 residues) with the shape of an ESM-2, random weights, a
head: once in one process with one thread for each worker, once with `--cluster ray --workers N`. The time of
the processors is summed over the command and all that it starts. Two sizes tell what a cluster costs once
from what it costs for every row. And: how fast the input is read and hashed, which the command does itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import material
import measuring
import numpy as np
import psutil

RESIDUES = (50, 351)


def write_table(path: Path, rows: int) -> int:
    """Write random proteins; return their residues."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(*RESIDUES, rows)
    with path.open("w", encoding="ascii") as handle:
        handle.write("id,sequence\n")
        for row, length in enumerate(lengths):
            handle.write(f"p{row},{''.join(rng.choice(list(material.LETTERS), length))}\n")
    return int(lengths.sum())


def write_model(folder: Path, shape: str) -> Path:
    """Save a model with a head that was never trained."""
    from profactory.models.protein_model import ProteinModel
    from profactory.models.zoo import resolve
    from profactory.tasks import Task, TaskKind

    spec = resolve(str(material.esm2(shape)))
    made = ProteinModel.build(spec, Task(TaskKind.REGRESSION), max_length=1022)
    return made.save(folder, provenance={})


def measure(words: list[str], threads: int) -> dict[str, float]:
    """Run a command; return its seconds, and the CPU-seconds of it and all that it starts."""
    begun = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(words, env=environment, stdout=log, stderr=log)
        spent: dict[int, float] = {}
        while process.poll() is None:
            for one in [process, *process.children(recursive=True)]:
                try:
                    used = one.cpu_times()
                    spent[one.pid] = used.user + used.system
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.2)
        if process.returncode:
            log.seek(0)
            raise SystemExit(log.read().decode()[-4000:])
    return {"seconds": round(time.perf_counter() - begun, 1), "cpu_seconds": round(sum(spent.values()), 1)}


def read_speed(table: Path) -> dict[str, float]:
    """Return what the command spends on each row before a cluster is asked."""
    from profactory.scale.inputs import open_input, survey

    begun = time.process_time()
    rows = survey(open_input(str(table))).rows
    spent = time.process_time() - begun
    return {
        "rows_per_cpu_second": round(rows / spent),
        "mb_per_cpu_second": round(table.stat().st_size / spent / 1e6),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--read-rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--model", default="8M")
    parser.add_argument("--out", type=Path, default=measuring.RESULTS / "cluster.json")
    options = parser.parse_args()
    found: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        model = write_model(Path(place, "model"), options.model)
        predict = [sys.executable, "-m", "profactory", "predict", str(model)]
        for rows in options.rows:
            table = Path(place, f"{rows}.csv")
            residues = write_table(table, rows)
            local = ["--out", str(table.with_suffix(".parquet")), "--engine", "torch"]
            spread = [
                "--out",
                str(table.with_suffix("")),
                "--cluster",
                "ray",
                "--workers",
                str(options.workers),
            ]
            found[str(rows)] = {
                "residues": residues,
                "one process": measure([*predict, str(table), *local], options.workers),
                "ray": measure([*predict, str(table), *spread], options.workers),
            }
            print(rows, json.dumps(found[str(rows)]), file=sys.stderr, flush=True)
        write_table(Path(place, "read.csv"), options.read_rows)
        found["reading"] = read_speed(Path(place, "read.csv"))
        print("reading", json.dumps(found["reading"]), file=sys.stderr, flush=True)
    report = {"machine": measuring.machine(), "command": measuring.command(), "found": found}
    measuring.write(options.out, report)


if __name__ == "__main__":
    main()
