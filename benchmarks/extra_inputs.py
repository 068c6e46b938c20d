"""What structure strings and physico-chemical numbers add: the same run with and without, three seeds each.

usage: python benchmarks/extra_inputs.py --chains secondary_structure.csv.gz --table ec=ec_class.csv.gz \
           --table location=subcellular_location.csv.gz [--work runs] [--out FILE]

The chains need the columns sequence, ss3, rsa, foldseek_3di and split; the tables sequence, class_name and
split. Every run is a plain `profactory train` with the bundled model; those that are finished are not done
again.

ses-adapter is compared with itself on a column in which every 3Di letter is masked (X): the same network,
the same rows, the same order, and nothing to read; and with freeze, which has no such layers. ss8 is given to
none.

Scores are means over proteins of the test set. Intervals of a difference are 95 %: `seeds` by Student's t
over the differences of runs with the same seed (two degrees of freedom), `proteins` by bootstrap over the
test proteins, each with its mean over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
SEEDS = (0, 1, 2)
STUDENT = 4.303  # 97.5 % quantile, two degrees of freedom
FEATURES = ["hydrophobicity", "charge", "isoelectric-point", "length", "stability", "binding", "aaindex"]


TABLE_ARMS = {
    "features": ["--method", "freeze", "--features", *FEATURES],
    "plain": ["--method", "freeze"],
}


def agreement(row: dict[str, str], label: str) -> float:
    """Share of residues with the right letter."""
    return float(np.mean([a == b for a, b in zip(row[label], row["prediction"], strict=True)]))


def absolute_error(row: dict[str, str], label: str) -> float:
    """Mean absolute error over the residues."""
    truth, guess = row[label].split(), row["prediction"].replace(",", " ").split()
    return float(np.mean(np.abs(np.array(truth, float) - np.array(guess, float))))


def right(row: dict[str, str], label: str) -> float:
    """Whether the class is right."""
    return float(row[label] == row["prediction"])


def train(table: Path, out: Path, words: list[str]) -> str:
    """Train unless it was done; return the command."""
    command = ["train", str(table), *words, "--out", str(out)]
    if not (out / "report" / "predictions_test.csv").exists():
        subprocess.run([sys.executable, "-m", "profactory", *command, "--overwrite"], check=True)
    return " ".join(["profactory", *command])


def scores(run: Path, label: str, score: Callable[[dict[str, str], str], float]) -> Scores:
    """Return one score for each test protein, in order."""
    csv.field_size_limit(10**9)
    with (run / "report" / "predictions_test.csv").open(encoding="utf-8") as handle:
        return np.array([score(row, label) for row in csv.DictReader(handle)])


def difference(with_it: list[Scores], without: list[Scores]) -> dict[str, object]:
    """Compare runs seed by seed, and protein by protein."""
    by_seed = [float(np.mean(a) - np.mean(b)) for a, b in zip(with_it, without, strict=True)]
    mean, half = statistics.mean(by_seed), STUDENT * statistics.stdev(by_seed) / len(by_seed) ** 0.5
    by_protein = np.mean(with_it, axis=0) - np.mean(without, axis=0)
    rng = np.random.default_rng(0)
    means = by_protein[rng.integers(len(by_protein), size=(10_000, len(by_protein)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "by_seed": [round(value, 4) for value in by_seed],
        "mean": round(mean, 4),
        "seeds": [round(mean - half, 4), round(mean + half, 4)],
        "proteins": [round(float(low), 4), round(float(high), 4)],
    }


def compare(
    table: Path,
    label: str,
    score: Callable[[dict[str, str], str], float],
    arms: dict[str, list[str]],
    rows: int,
    work: Path,
) -> dict[str, object]:
    """Train each arm with each seed; the first is compared with every other."""
    shared = ["--label-column", label, "--limit", str(rows), "--threads", "1"]
    commands: list[str] = []
    found: dict[str, list[Scores]] = {name: [] for name in arms}
    for seed in SEEDS:
        for name, words in arms.items():
            out = work / f"{table.name.split('.')[0]}-{label}-{name}-{seed}"
            commands.append(train(table, out, [*shared, *words, "--seed", str(seed)]))
            found[name].append(scores(out, label, score))
    first, *others = found
    return {
        "commands": commands,
        "test_proteins": len(found[first][0]),
        "means": {
            name: [round(float(np.mean(values)), 4) for values in runs] for name, runs in found.items()
        },
        "differences": {f"{first} - {name}": difference(found[first], found[name]) for name in others},
    }


def add_masked(source: Path, target: Path, longest: int) -> Path:
    """Write the chains up to a length, with a column in which every 3Di letter is X."""
    if not target.exists():
        with gzip.open(source, "rt", encoding="utf-8") as handle, target.open("w", encoding="utf-8") as out:
            reader = csv.DictReader(handle)
            writer = csv.DictWriter(out, [*(reader.fieldnames or ()), "masked_3di"])
            writer.writeheader()
            for row in reader:
                if (length := len(row["sequence"])) <= longest:
                    writer.writerow({**row, "masked_3di": "X" * length})
    return target


def chain_arms(epochs: int) -> dict[str, list[str]]:
    """Return the options of the runs on chains."""
    shared = ["--epochs", str(epochs), "--batch-size", "16", "--method"]
    adapter = [*shared, "ses-adapter", "--structure-columns"]
    return {
        "3di": [*adapter, "3di=foldseek_3di"],
        "masked": [*adapter, "3di=masked_3di"],
        "freeze": [*shared, "freeze"],
    }


def main() -> None:
    """Run everything and write one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chains", type=Path)
    parser.add_argument("--table", action="append", default=[], help="NAME=FILE")
    parser.add_argument("--chain-rows", type=int, default=600)
    parser.add_argument("--longest", type=int, default=128, help="residues of a chain")
    parser.add_argument("--table-rows", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=5, help="for the chains")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/extra_inputs.json"))
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {}

    def note(name: str, *what: Any) -> None:
        results[name] = compare(*what, asked.work)
        asked.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")

    if asked.chains:
        chains = add_masked(asked.chains, asked.work / "chains.csv", asked.longest)
        arms = chain_arms(asked.epochs)
        note("ss3", chains, "ss3", agreement, arms, asked.chain_rows)
    for name, path in (entry.split("=", 1) for entry in asked.table):
        note(name, Path(path), "class_name", right, TABLE_ARMS, asked.table_rows)
    if asked.chains:
        note("rsa", chains, "rsa", absolute_error, arms, asked.chain_rows)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
