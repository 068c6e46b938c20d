"""From files of structures to a table with a row per chain: in parallel, resumable, bad files listed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sklearn.utils.parallel import Parallel, delayed

from profactory.data.writing import format_of, open_writer
from profactory.errors import DataError, Problem, ProFactoryError
from profactory.files import sha256_bytes
from profactory.progress import Progress
from profactory.structure.files import find_files
from profactory.structure.rows import COLUMNS, rows_of

SHOWN = 20
FEW = 4  # files from which several processes are worth their start

log = logging.getLogger("profactory")


@dataclass
class StructureReport:
    """What became of structure files.

    Parameters
    ----------
    out
        The table.
    files, chains
        Files read and rows written.
    problems
        One per file that could not be used.
    notes
        What a reader should know of some chains.
    """

    out: Path
    files: int = 0
    chains: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        listed = [problem.to_dict() for problem in self.problems]
        return {
            "out": str(self.out),
            "files": self.files,
            "chains": self.chains,
            "problems": listed,
            "notes": self.notes,
        }

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [
            f"{self.chains:,} chains of {self.files - len(self.problems):,} files: {self.out}",
            *self.notes,
        ]
        if self.problems:
            lines.append(f"{len(self.problems):,} files could not be used:")
            lines += [f"  - {problem}" for problem in self.problems[:SHOWN]]
            if len(self.problems) > SHOWN:
                lines.append(f"  - … and {len(self.problems) - SHOWN:,} more (--json lists all)")
        return "\n".join(lines)


def extract_structures(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    chains: Sequence[str] | None = None,
    model: int = 1,
    mask_below: float | None = None,
    processes: int | None = None,
    overwrite: bool = False,
) -> StructureReport:
    """Write a table with what the coordinates say of every chain.

    Started again after an interruption it goes on with the files that are left.

    Parameters
    ----------
    sources
        Files and folders.
    out
        ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl``.
    chains
        Names of chains; all that are protein if not given.
    model
        Number of the model in files with several.
    mask_below
        3Di letters of residues with a lower pLDDT become X; only in files that say they are predictions.
    processes
        Files read at a time; the number of physical cores if not given.
    overwrite
        Replace `out`.

    Raises
    ------
    ProFactoryError
        `out` exists, there is no structure file, or none of them can be used.
    """
    target = Path(out)
    format_of(target)
    if target.exists() and not overwrite:
        raise ProFactoryError(
            f"{target} exists already.",
            expected="a path that is free: nothing is overwritten unasked",
            fix="choose another --out, or add --overwrite",
        )
    files = find_files(sources)
    options = {"chains": list(chains) if chains else None, "model": model, "mask_below": mask_below}
    journal = _Journal(target, options)
    report = StructureReport(target, len(files))
    with Progress("reading structures", len(files), unit="files") as progress, journal:
        progress.advance(len(files) - len(journal.missing(files)))
        for path, outcome in _outcomes(journal.missing(files), options, processes):
            journal.note(path, outcome)
            progress.advance()
    rows = _unique_rows((journal.outcome(path) for path in files), report)
    _check_some(report)
    with open_writer(target, list(COLUMNS)) as writer:
        writer.write({name: [row[name] for row in rows] for name in COLUMNS})
    report.chains = len(rows)
    journal.remove()
    return report


Outcome = dict[str, Any]  # {"rows": […]} or {"problem": {…}}


def _outcome(path: Path, options: Mapping[str, Any]) -> Outcome:
    try:
        return {"rows": rows_of(path, **options)}
    except DataError as error:
        return {"problem": Problem(error.found.removeprefix(f"{path.name}: "), str(path)).to_dict()}


def _outcomes(
    files: Sequence[Path], options: Mapping[str, Any], processes: int | None
) -> Iterator[tuple[Path, Outcome]]:
    """Read files, several at a time where that is worth it, in any case in their order."""
    workers = min(processes or psutil.cpu_count(logical=False) or 1, max(1, len(files) // FEW))
    parallel = Parallel(workers, return_as="generator")
    yield from zip(files, parallel(delayed(_outcome)(path, options) for path in files), strict=True)


class _Journal:
    """What was read so far, beside the table to be; begun anew when the options are others."""

    def __init__(self, out: Path, options: Mapping[str, Any]) -> None:
        self.path = out.with_name(f".{out.name}.progress.jsonl")
        self.key = sha256_bytes(json.dumps(options, sort_keys=True).encode())
        self.found: dict[str, Outcome] = {}
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                noted = json.loads(line)
            except ValueError:
                continue  # the line that was being written when it was killed
            if noted.get("key") == self.key:
                self.found[noted["file"]] = noted["outcome"]
        if self.found:
            log.info("Going on: %s files were read before.", f"{len(self.found):,}")

    def __enter__(self) -> _Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self.path if self.found else None
        self._stream = self.path.open("a" if kept else "w", encoding="utf-8")
        self._stream.write("\n" if kept else "")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def missing(self, files: Sequence[Path]) -> list[Path]:
        """Return the files that are not yet read, or were changed since."""
        return [path for path in files if _stamp(path) not in self.found]

    def note(self, path: Path, outcome: Outcome) -> None:
        """Keep what became of a file."""
        line = {"key": self.key, "file": _stamp(path), "outcome": outcome}
        self.found[_stamp(path)] = outcome
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()

    def outcome(self, path: Path) -> Outcome:
        """Return what became of a file."""
        return self.found[_stamp(path)]

    def remove(self) -> None:
        """Forget everything: the table is there."""
        self.path.unlink(missing_ok=True)


def _stamp(path: Path) -> str:
    about = os.stat(path)
    return f"{path}|{about.st_size}|{about.st_mtime_ns}"


def _unique_rows(outcomes: Iterable[Outcome], report: StructureReport) -> list[dict[str, Any]]:
    """Collect rows and problems; a second structure for a name is a problem, never an overwritten row."""
    rows: dict[str, dict[str, Any]] = {}
    broken = 0
    for outcome in outcomes:
        if "problem" in outcome:
            report.problems.append(Problem(**outcome["problem"]))
            continue
        for row in outcome["rows"]:
            first = rows.setdefault(row["id"], row)
            if first is not row:
                reason = f"the name {row['id']!r} is taken by {first['file']}"
                report.problems.append(Problem(reason, row["file"]))
            broken += first is row and bool(row["breaks"])
    if broken:
        report.notes.append(f"{broken:,} chains have gaps (columns breaks, missing_residues).")
    return list(rows.values())


def _check_some(report: StructureReport) -> None:
    if len(report.problems) >= report.files:
        raise DataError(
            f"None of {report.files:,} files can be used.",
            expected="PDB, mmCIF or BinaryCIF files with protein",
            problems=report.problems,
        )
