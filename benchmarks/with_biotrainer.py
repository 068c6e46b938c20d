"""Run by training.py with the Python of an environment that has biotrainer: a JSON file in, JSON out."""

import json
import resource
import sys
import tempfile
import time

from biotrainer.utilities.executer import parse_config_file_and_execute_run


def train(fasta: str, epochs: int) -> float:
    """Train as biotrainer's documentation configures a frozen model; return the MCC of the test sequences."""
    with tempfile.TemporaryDirectory() as folder:
        found = parse_config_file_and_execute_run(
            {
                "protocol": "sequence_to_class",
                "input_file": fasta,
                "output_dir": folder,
                "embedder_name": work["model"],
                "model_choice": "FNN",
                "num_epochs": epochs,
                "patience": epochs,
                "learning_rate": work["learning_rate"],
                "batch_size": 16,
                "device": "cpu",
            }
        )
    return float(found["test_results"]["test"]["metrics"]["matthews-corr-coeff"])


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as handle:
        work = json.load(handle)
    train(work["small"], 1)  # imports and first uses are not measured
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    mcc = train(work["fasta"], work["epochs"])
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cost = {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(busy, 3),
        "peak_mb": round(after.ru_maxrss / 1024),
    }
    print("\n" + json.dumps({**cost, "mcc": round(mcc, 3)}))
