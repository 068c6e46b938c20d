"""Small tables whose labels follow from the sequence: a model that learns can be told from others."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
SPLITS = ("train",) * 6 + ("validation", "test")


def random_sequences(count: int, *, low: int = 12, high: int = 40, seed: int = 0) -> list[str]:
    """Return random sequences of residues, uniform in length."""
    rng = random.Random(seed)
    return ["".join(rng.choices(RESIDUES, k=rng.randint(low, high))) for _ in range(count)]


def label_of(task: str, sequence: str, rng: random.Random) -> str:
    """Return a label that can be read off the sequence."""
    charged = sum(sequence.count(letter) for letter in "KRDE")
    match task:
        case "single_label_classification":
            return ("few", "some", "many")[min(2, 8 * charged // len(sequence) // 2)]
        case "multi_label_classification":
            names = [name for name in ("W", "C", "H", "M") if name in sequence]
            return ",".join(["any", *names])
        case "regression":
            return f"{10 + 5 * charged / len(sequence) + rng.gauss(0, 0.05):.4f}"
        case "residue_classification":
            return "".join("C" if letter in "KRDE" else "N" for letter in sequence)
        case "residue_multi_label_classification":
            sets = {
                "K": "charged|base",
                "R": "charged|base",
                "D": "charged",
                "E": "charged",
                "H": "base",
                "W": "?",
            }
            return ",".join(sets.get(letter, "") for letter in sequence)
        case "residue_regression":
            return " ".join(f"{RESIDUES.index(letter) / 4:.2f}" for letter in sequence)
    raise ValueError(task)


def write_table(path: Path, task: str, *, rows: int = 80, seed: int = 0, split: bool = True) -> Path:
    """Write a CSV file with columns id, sequence, label, note (and split)."""
    rng = random.Random(seed)
    sequences = random_sequences(rows, seed=seed)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["id", "sequence", "label", "note"] + ["split"] * split)
        for index, sequence in enumerate(sequences):
            row = [f"p{index}", sequence, label_of(task, sequence, rng), f"no {index}, kept"]
            writer.writerow(row + [SPLITS[index % len(SPLITS)]] * split)
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as dictionaries, with nothing but Python's own reader."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write dictionaries as a CSV file, with nothing but Python's own writer."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
