"""From files of sequences and labels to a corpus; what cannot be used is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from profactory.data.columns import find_columns
from profactory.data.reading import Table, open_table
from profactory.errors import ColumnError, Problem, RowError
from profactory.files import atomic_dir, atomic_write_json, cache_dir, read_json, sha256_bytes, sha256_file
from profactory.pretraining.corpus import LAST_STANDARD, NO_LABEL, SS8_STATES, UNK, Corpus, codes_of, encode

#: Raised whenever the arrays change their meaning, so that none of an older version is taken from the cache.
_VERSION = 2
_SKIPPED_SHOWN = 10
_LETTER_TO_SS8 = codes_of(SS8_STATES, 0, NO_LABEL)
_LETTER_TO_LEVEL = codes_of("0123456789", 0, NO_LABEL)


@dataclass
class CorpusReport:
    """What was read, kept and left out; every record is in exactly one of used and the skipped counts."""

    used: int = 0
    residues: int = 0
    skipped_unreadable: int = 0
    skipped_too_short: int = 0
    skipped_unknown_letters: int = 0
    with_ambiguous_residues: int = 0
    annotated: int = 0
    annotation_ids_not_found: int = 0
    with_residue_labels: int = 0
    skipped_label_length: int = 0
    examples_skipped: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """Number of records left out."""
        return (
            self.skipped_unreadable
            + self.skipped_too_short
            + self.skipped_unknown_letters
            + self.skipped_label_length
        )


def open_corpus(
    source: Path, *, annotations: Path | None = None, chains: Path | None = None, min_length: int = 20
) -> tuple[Corpus, CorpusReport, str]:
    """Return a corpus from the cache, built there first if it is not in it; parameters of `build_corpus`.

    Returns
    -------
    corpus, report, hash
        The hash is over the content of the files.
    """
    files = {"sequences": source, "annotations": annotations, "residue labels": chains}
    hashes = {name: sha256_file(path) for name, path in files.items() if path is not None}
    content = sha256_bytes(json.dumps(hashes).encode())
    folder = cache_dir() / "corpora" / f"{content[:24]}-{min_length}-{_VERSION}"
    if not (folder / "corpus.json").is_file():
        corpus, report = build_corpus(source, annotations=annotations, chains=chains, min_length=min_length)
        with atomic_dir(folder) as temporary:
            corpus.save(temporary)
            atomic_write_json(temporary / "report.json", asdict(report))
    return Corpus.load(folder), CorpusReport(**read_json(folder / "report.json")), content


def build_corpus(
    source: Path, *, annotations: Path | None = None, chains: Path | None = None, min_length: int = 20
) -> tuple[Corpus, CorpusReport]:
    """Read sequences and labels into one corpus.

    Parameters
    ----------
    source : Path
        FASTA, or a table with a sequence column; plain or gzipped.
    annotations : Path, optional
        Table with columns ``id`` and ``term_indices`` (space-separated integers), ids as in `source`.
    chains : Path, optional
        Table with columns ``sequence``, ``ss8`` and ``rsa_decile``, equally long strings; added as records.
    min_length : int
        Shorter sequences are counted and left out.

    Raises
    ------
    ReadError, ColumnError
        A file cannot be read or lacks a column. Single records that cannot be used are only counted.
    RowError
        An annotation is no list of indices.
    """
    builder = _Builder(min_length)
    terms = _read_annotations(annotations) if annotations is not None else {}
    table = open_table(source)
    columns = find_columns(table.columns, need_label=False, file=str(source))
    names = (columns.identifier or columns.sequence, columns.sequence)
    for line, (name, sequence) in _rows(table, names, builder.report):
        builder.add(name, line, sequence, terms=terms.pop(name, None))
    builder.report.annotation_ids_not_found = len(terms)
    if chains is not None:
        table = _table_with(chains, ("sequence", "ss8", "rsa_decile"))
        for line, (sequence, ss8, levels) in _rows(table, ("sequence", "ss8", "rsa_decile"), builder.report):
            labels = (_encode_ss8(ss8), _encode_levels(levels))
            builder.add(f"{chains.name}:{line}", line, sequence, residue_labels=labels)
    return builder.finish(), builder.report


def _table_with(path: Path, columns: Sequence[str]) -> Table:
    table = open_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ColumnError(
            f"{path} has no column {', '.join(map(repr, missing))}.",
            expected=f"a table with the columns {', '.join(columns)}",
            fix=f"rename its columns, which are {', '.join(table.columns[:12])}",
        )
    return table


def _rows(
    table: Table, columns: Sequence[str], report: CorpusReport
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield line and cells of each record; count those that cannot be read."""
    for chunk in table.chunks():
        report.skipped_unreadable += len(chunk.problems)
        cells = [chunk.columns.column(name).to_pylist() for name in columns]
        yield from zip(chunk.lines.tolist(), zip(*cells, strict=True), strict=True)


def _read_annotations(path: Path) -> dict[str, npt.NDArray[np.int32]]:
    names = ("id", "term_indices")
    found, problems = {}, []
    for line, (name, terms) in _rows(_table_with(path, names), names, CorpusReport()):
        indices = terms.split()
        if all(index.isdecimal() for index in indices):
            found[name] = np.array(indices, dtype=np.int32)
        else:
            problems.append(Problem("no list of indices", file=str(path), line=line, value=terms[:40]))
    if problems:
        raise RowError(
            f"{path}: {len(problems):,} annotations cannot be read.",
            expected="indices from 0, with spaces between them",
            problems=problems[:100],
        )
    return found


class _Builder:
    """Collects records; kept apart from `Corpus` so that a corpus is never half-built."""

    def __init__(self, min_length: int) -> None:
        self.min_length = min_length
        self.report = CorpusReport()
        self._tokens: list[npt.NDArray[np.uint8]] = []
        self._lines: list[int] = []
        self._labels: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]] = []
        self._terms: list[npt.NDArray[np.int32] | None] = []

    def add(
        self,
        name: str,
        line: int,
        sequence: str,
        *,
        terms: npt.NDArray[np.int32] | None = None,
        residue_labels: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None = None,
    ) -> None:
        tokens = encode(_clean(sequence))
        if not self._usable(name, tokens, residue_labels):
            return
        if residue_labels is None:
            unknown = np.full(len(tokens), NO_LABEL, dtype=np.uint8)
            residue_labels = (unknown, unknown)
        else:
            self.report.with_residue_labels += 1
        self._tokens.append(tokens)
        self._lines.append(line)
        self._labels.append(residue_labels)
        self._terms.append(terms)
        self.report.used += 1
        self.report.residues += len(tokens)
        self.report.annotated += terms is not None
        self.report.with_ambiguous_residues += bool((tokens > LAST_STANDARD).any())

    def _usable(
        self,
        name: str,
        tokens: npt.NDArray[np.uint8],
        labels: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]] | None,
    ) -> bool:
        report = self.report
        if len(tokens) < self.min_length:
            report.skipped_too_short += 1
        elif (tokens == UNK).any():
            report.skipped_unknown_letters += 1
        elif labels is not None and any(len(part) != len(tokens) for part in labels):
            report.skipped_label_length += 1
        else:
            return True
        if len(report.examples_skipped) < _SKIPPED_SHOWN:
            report.examples_skipped.append(name)
        return False

    def finish(self) -> Corpus:
        none = np.zeros(0, dtype=np.int32)
        terms = [none if t is None else t for t in self._terms]
        highest = max((int(t.max()) for t in terms if len(t)), default=-1)
        return Corpus(
            tokens=_concatenate(self._tokens, np.uint8),
            offsets=_offsets([len(t) for t in self._tokens]),
            lines=np.array(self._lines, dtype=np.int64),
            ss8=_concatenate([pair[0] for pair in self._labels], np.uint8),
            accessibility=_concatenate([pair[1] for pair in self._labels], np.uint8),
            terms=_concatenate(terms, np.int32),
            term_offsets=_offsets([len(t) for t in terms]),
            annotated=np.array([t is not None for t in self._terms], dtype=np.bool_),
            num_terms=highest + 1,
        )


def _clean(sequence: str) -> str:
    return "".join(sequence.split()).upper().removesuffix("*")


def _encode_ss8(states: str) -> npt.NDArray[np.uint8]:
    return _LETTER_TO_SS8[np.frombuffer(states.encode("ascii", "replace"), dtype=np.uint8)]


def _encode_levels(levels: str) -> npt.NDArray[np.uint8]:
    return _LETTER_TO_LEVEL[np.frombuffer(levels.encode("ascii", "replace"), dtype=np.uint8)]


def _offsets(lengths: list[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(lengths, dtype=np.int64))])


def _concatenate(parts: list[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts]).astype(dtype, copy=False)
