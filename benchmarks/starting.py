"""How long one waits: for --help, for the page, for the first prediction.

usage: python benchmarks/starting.py [--repeats 3] [--out FILE]

Every measurement is a command of its own, from its start to its end (of the page: to its first answer), its
files in the page cache.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import material
import measuring

COMMAND = [sys.executable, "-m", "profactory"]
CASES = {"start": {"warm_up": False}}
PORT = 17860
MOST_SECONDS = 300


def finished(*words: str) -> dict[str, Any]:
    """Run a command to its end."""
    subprocess.run([*COMMAND, *words], check=True, capture_output=True)
    return {"peak_mb": children_peak()}


def show_help(case: Mapping[str, Any]) -> dict[str, Any]:
    """Wait for --help."""
    return finished("--help")


def first_page(case: Mapping[str, Any]) -> dict[str, Any]:
    """Start the page and fetch it."""
    with tempfile.TemporaryDirectory() as folder:
        places = ["--runs", f"{folder}/runs", "--data", folder, "--port", str(PORT)]
        page = subprocess.Popen([*COMMAND, "ui", *places], stdout=subprocess.DEVNULL)
        try:
            found = {"characters": len(answer(page))}
        finally:
            page.terminate()
            page.wait()
    return {**found, "peak_mb": children_peak()}


def children_peak() -> int:
    """Return the largest resident size of an ended child in MB."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def answer(page: subprocess.Popen[bytes]) -> bytes:
    """Ask the page until it answers."""
    until = time.perf_counter() + MOST_SECONDS
    while time.perf_counter() < until and page.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/", timeout=60) as reply:
                found: bytes = reply.read()
                return found
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the page did not answer")


def first_prediction(case: Mapping[str, Any]) -> dict[str, Any]:
    """Predict one sequence with a trained model."""
    return finished("predict", str(trained()), "--sequence=MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ")


def trained() -> Path:
    """Return a trained run, made when first asked for, which is not measured as it is kept."""
    from profactory import __version__

    run = Path(tempfile.gettempdir()) / f"profactory-benchmark-run-{__version__}"
    if not (run / "model").is_dir():
        with tempfile.TemporaryDirectory() as folder:
            file = material.location_table(Path(folder) / "table.csv", 40, 20, 20)
            finished("train", str(file), "--out", str(run), "--epochs", "1", "--overwrite")
    return run


CONTENDERS = {
    "profactory --help": show_help,
    "profactory ui, first page": first_page,
    "profactory predict, one sequence": first_prediction,
}

if __name__ == "__main__":
    if "--measure" not in sys.argv:
        trained()
    measuring.run(CONTENDERS, CASES, reference="profactory --help")
