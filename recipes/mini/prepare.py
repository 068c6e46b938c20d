"""The data of the bundled model, from two public Debian packages.

    apt-get download metastudent-data promod3-data
    for package in *.deb; do dpkg -x "$package" packages; done
    python recipes/mini/prepare.py --packages packages --tasks TASKS --out data

Sequences are clustered at 50 % identity with MMseqs2 (`pip install "profactory[homology]"`), those of TASKS
(the files that evaluate.py measures on) among them. A cluster with a sequence of a test split is left out
whole; of every other the longest sequence stays. One cluster in nine is for validation.

Written are corpus_train.fasta.gz, corpus_valid.fasta.gz, go_train.tsv.gz and go_terms.tsv.gz (the 1,000 most
frequent GO terms, ancestors included), and chains_train.tsv.gz (structures of chains in training clusters).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from packages import Chain, chains, go_names, go_terms, swissprot
from probing import read_rows

from profactory.data.homology import cluster
from profactory.files import atomic_write_bytes

SHORTEST = 30
TERMS = 1000
VALIDATION = 9
IDENTITY, COVERAGE = 0.5, 0.8
SEED = 0


def divide(records: Mapping[str, str], tests: Sequence[str]) -> tuple[dict[str, str], set[str]]:
    """Divide proteins by cluster.

    Parameters
    ----------
    records
        Name to sequence.
    tests
        Sequences whose clusters are left out.

    Returns
    -------
    parts, representatives
        Name to ``train``, ``valid`` or ``test`` (left out), and the names of the longest of each cluster.
    """
    clusters = cluster([*records.values(), *tests], identity=IDENTITY, coverage=COVERAGE)
    mine, forbidden = clusters[: len(records)], set(clusters[len(records) :].tolist())
    part_of = np.random.default_rng(SEED).integers(VALIDATION, size=int(clusters.max()) + 1) == 0
    parts, longest = {}, {}
    for name, number in zip(records, mine.tolist(), strict=True):
        parts[name] = "test" if number in forbidden else "valid" if part_of[number] else "train"
        if number not in longest or len(records[name]) > len(records[longest[number]]):
            longest[number] = name
    return parts, set(longest.values())


def test_sequences(folder: Path) -> list[str]:
    """Return the sequences of all test splits in a folder of task files."""
    rows = (row for path in sorted(folder.glob("*.csv.gz")) for row in read_rows(path))
    return sorted({row["sequence"] for row in rows if row.get("split") == "test"})


def write_fasta(path: Path, records: Mapping[str, str], names: Iterable[str]) -> None:
    """Write the records of some names."""
    write_text(path, "".join(f">{name}\n{records[name]}\n" for name in names))


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table, tab-separated."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write gzipped text; the same text gives the same bytes."""
    atomic_write_bytes(path, gzip.compress(text.encode(), mtime=0))


def write_terms(folder: Path, packages: Path, accessions: Sequence[str]) -> None:
    """Write the most frequent terms, and which of them each protein has."""
    terms = go_terms(packages)
    counts = Counter(term for name in accessions for term in terms[name])
    frequent = sorted(counts, key=lambda term: (-counts[term], term))[:TERMS]
    names, index = go_names(packages), {term: i for i, term in enumerate(frequent)}
    described = [(i, term, names.get(term, ""), counts[term]) for i, term in enumerate(frequent)]
    write_table(folder / "go_terms.tsv.gz", ("index", "go", "name", "count"), described)
    rows = ((a, " ".join(map(str, sorted(index[t] for t in terms[a] if t in index)))) for a in accessions)
    write_table(folder / "go_train.tsv.gz", ("id", "term_indices"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", type=Path, required=True, help="folder that the packages were put into")
    parser.add_argument("--tasks", type=Path, required=True, help="folder with the task files (*.csv.gz)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--limit", type=int, default=0, help="at most this many of each kind (quick look)")
    args = parser.parse_args()
    proteins = _first(swissprot(args.packages), args.limit)
    structures = {chain.sequence: chain for chain in chains(args.packages) if len(chain.sequence) >= SHORTEST}
    by_name: dict[str, Chain] = _first({chain.name: chain for chain in structures.values()}, args.limit)
    records = proteins | {name: chain.sequence for name, chain in by_name.items()}
    records = {name: sequence for name, sequence in records.items() if len(sequence) >= SHORTEST}
    parts, representatives = divide(records, test_sequences(args.tasks))
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = {
        part: [name for name in records if name in representatives and parts[name] == part]
        for part in ("train", "valid")
    }
    for part, names in chosen.items():
        write_fasta(args.out / f"corpus_{part}.fasta.gz", records, names)
        print(f"{part}: {len(names):,} sequences", flush=True)
    write_terms(args.out, args.packages, [name for name in chosen["train"] if name in proteins])
    # Of a training cluster every structure is used, not only the longest sequence's.
    usable = [chain for name, chain in by_name.items() if parts[name] == "train"]
    columns = ("pdb_chain", "sequence", "ss8", "rsa_decile")
    rows = [(chain.name, chain.sequence, chain.ss8, chain.rsa_decile) for chain in usable]
    write_table(args.out / "chains_train.tsv.gz", columns, rows)
    left_out = sum(part == "test" for part in parts.values())
    print(f"structures: {len(usable):,} chains; left out near test sequences: {left_out:,}", flush=True)


def _first(items: Mapping[str, Any], limit: int) -> dict[str, Any]:
    return dict(list(items.items())[: limit or None])


if __name__ == "__main__":
    main()
