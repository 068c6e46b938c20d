"""How memory grows with the rows of a table: anonymous pages of check, split and train.

usage: python benchmarks/rows.py [--rows 100000 1000000] [--words check split …] [--out FILE]

Tables of short random proteins (8 to 14 residues, two classes), so that what is held for each row shows.
Mapped pages of the data set are not counted: the system takes them back when it needs them. `freeze` and
`lora` stop before the first sequence is embedded, or at the first steps; `trained` is a whole training of one
epoch, with its report. The model is a random ESM-2 of 32 dimensions. Needs /proc, so Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import material
import measuring
import numpy as np

TRAIN = ["--split", "random", "--batch-size", "256", "--epochs", "1", "--out", "run"]
#: What is typed behind the table, and what is said or noted when enough was seen.
WORDS: dict[str, tuple[str, list[str], str]] = {
    "check": ("check", [], ""),
    "split": ("split", ["--method", "random", "--out", "parts"], ""),
    "freeze": ("train", [*TRAIN, "--method", "freeze"], "embedding: "),
    "lora": ("train", [*TRAIN, "--method", "lora"], '"event": "step"'),
    "trained": ("train", [*TRAIN, "--method", "freeze"], ""),
}


def write_table(path: Path, rows: int) -> None:
    """Write distinct random proteins."""
    rng, letters = np.random.default_rng(0), np.frombuffer(material.LETTERS.encode(), np.uint8)
    with path.open("w", encoding="ascii") as handle:
        handle.write("id,sequence,label\n")
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            ends = np.cumsum(rng.integers(8, 15, count)).tolist()
            text = letters[rng.integers(0, len(letters), ends[-1])].tobytes().decode()
            for row, (low, high) in enumerate(zip([0, *ends], ends, strict=False), start):
                handle.write(f"p{row},{text[low:high]},{'ab'[row % 2]}\n")


def measure(word: str, table: Path, model: Path, folder: Path) -> dict[str, float]:
    """Run a command in a folder of its own; return the peak of its anonymous memory."""
    command, options, enough = WORDS[word]
    options = [*options, "--model", str(model)] if command == "train" else options
    words = [sys.executable, "-m", "profactory", command, str(table), *options]
    environment = {**os.environ, "PROFACTORY_CACHE": str(folder / "cache")}
    log, events, peak, begun = folder / "log", folder / "run" / "events.jsonl", 0, time.perf_counter()
    with log.open("w") as handle:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=handle, stderr=handle)
        while process.poll() is None:
            peak = max(peak, measuring.memory_of(process.pid, "RssAnon"))
            if enough and any(enough in file.read_text() for file in (log, events) if file.is_file()):
                process.send_signal(signal.SIGINT)
                process.wait()
                break
            time.sleep(0.02)
    if process.returncode not in (0, 128 + signal.SIGINT):
        raise SystemExit(log.read_text()[-4000:])
    return {"anonymous_mb": round(peak / 1024), "seconds": round(time.perf_counter() - begun)}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--words", nargs="+", choices=list(WORDS), default=list(WORDS))
    parser.add_argument("--out", type=Path, default=measuring.RESULTS / "rows.json")
    options = parser.parse_args()
    model = Path(material.esm2("tiny"))
    found: dict[str, dict[str, dict[str, float]]] = {word: {} for word in options.words}
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as place:
            table = Path(place) / "table.csv"
            write_table(table, rows)
            for word in options.words:
                folder = Path(place) / word
                folder.mkdir()
                found[word][str(rows)] = measure(word, table, model, folder)
                print(word, rows, json.dumps(found[word][str(rows)]), file=sys.stderr, flush=True)
    report = {"machine": measuring.machine(), "command": measuring.command(), "anonymous": found}
    measuring.write(options.out, report)


if __name__ == "__main__":
    main()
