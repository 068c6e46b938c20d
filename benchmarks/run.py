"""All benchmarks, one after the other, and the tables made of them: what `make bench` runs.

usage: python benchmarks/run.py [--full] [--small] [--out DIR]

Without options it is done in under ten minutes on two quiet cores. --full also trains on all rows of the
bundled set and predicts up to a million sequences, with more repeats, which takes hours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import growth
import measuring
import tables

HERE = Path(__file__).parent
QUICK = {
    "training": ["--minutes", "3.5", "--cases", "freeze", "lora", "full"],
    "inference": ["--minutes", "2.5"],
    "starting": ["--minutes", "0.7"],
    "growth": ["--minutes", "0.5", "--repeats", "1", "--cases", *growth.QUICK],
    "read_table": ["--rounds", "3"],
}
FULL = {
    "training": ["--minutes", "120"],
    "inference": ["--minutes", "30", "--repeats", "5"],
    "starting": ["--repeats", "5"],
    "growth": ["--minutes", "120", "--repeats", "1"],
    "read_table": [],
}
SMALL = {
    "training": ["--small", "--repeats", "1", "--cases", "freeze"],
    "inference": ["--small", "--repeats", "1", "--cases", "8M"],
    "starting": ["--small", "--repeats", "1", "--only", "profactory --help"],
    "growth": ["--small", "--repeats", "1", "--cases", "64 residues"],
    "read_table": ["--rows", "1000", "--rounds", "1"],
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--full", action="store_true", help="everything, with more repeats")
    parser.add_argument("--small", action="store_true", help="tiny work: a test of the benchmarks themselves")
    parser.add_argument("--out", type=Path, default=measuring.RESULTS, help="folder of the results")
    options = parser.parse_args()
    plan = SMALL if options.small else FULL if options.full else QUICK
    for name, words in plan.items():
        print(f"--- {name}", file=sys.stderr, flush=True)
        out = options.out / f"{name}.json"
        subprocess.run([sys.executable, HERE / f"{name}.py", *words, "--out", out], check=True)
    if options.out == measuring.RESULTS:
        tables.rewrite()


if __name__ == "__main__":
    main()
