"""A report on a data set before any training: what is in it, what is wrong with it, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from profactory.data.checking_text import render
from profactory.data.dataset import DATA_FILE
from profactory.data.fixing import Fixed, fix_dataset, write_problems, write_rejected
from profactory.data.label_profile import LabelProfile, profile_labels
from profactory.data.prepare import NoUsableRowError, Prepared, prepare_dataset
from profactory.errors import Problem
from profactory.files import counted
from profactory.tasks import TaskKind

MODEL_LENGTH = 1022  # residues that ESM-2 models were trained to read; the commonest limit
FEW_ROWS = 100
RARE_CLASS = 10
IMBALANCED = 10.0  # commonest class by rarest
BINS = 12  # of the histogram of lengths
OUTLIERS = 2.0  # lengths above so many times the 99th percentile share the last bin

#: From a prepared data set to what training on it costs; see :mod:`profactory.pipeline.check`.
Estimator = Callable[[Prepared], Mapping[str, Any]]


@dataclass(frozen=True)
class DataReport:
    """What is known about a data set.

    Parameters
    ----------
    source
        What the user typed.
    files
        Path, split and size of each file.
    columns
        Which column is the sequence, the labels, the split, the identifier.
    counts
        ``rows_read`` = ``used`` + ``rejected``, and what else the reader counted.
    problems
        Rows that cannot be used, with line, column, value and reason (the first 10,000; all of them are
        in ``rejected_rows.csv`` if a folder was given).
    task, task_reason
        What the labels are and why; empty without labels.
    labels
        Class balance or range of the numbers.
    lengths
        Residues: shortest, mean, median, longest and a histogram.
    too_long, model_length
        Sequences longer than what the model reads, and that length.
    warnings
        Sentences about what would spoil training or its evaluation.
    estimate
        Memory, time and disk of training here; ``table_bytes`` is the validated table alone.
    next_command
        The command to type next.
    fixed
        What ``fix`` wrote.
    written
        Files written in all.
    """

    source: str
    files: list[dict[str, Any]]
    columns: dict[str, Any]
    counts: dict[str, Any]
    problems: list[Problem]
    task: dict[str, Any]
    task_reason: str
    labels: LabelProfile | None
    lengths: dict[str, Any]
    too_long: int
    model_length: int
    warnings: list[str]
    estimate: dict[str, Any]
    next_command: str
    fixed: Fixed | None = None
    written: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether there is something to train on: no row is rejected, or a clean copy was written."""
        return not self.counts["rejected"] or self.fixed is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the whole report as JSON-ready values."""
        return {
            **vars(self),
            "usable": self.usable,
            "problems": [problem.to_dict() for problem in self.problems],
            "labels": self.labels.to_dict() if self.labels else None,
            "fixed": self.fixed.to_dict() if self.fixed else None,
        }

    def text(self) -> str:
        """Return the report as lines for a terminal."""
        return render(self)


@dataclass
class _Options:
    """What the user typed, to be typed again in the next command."""

    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    def command(self, prepared: Prepared, fixed: Fixed | None) -> str:
        """Return the command to type next, with the clean copy if there is one."""
        if prepared.task is None:
            return f"profactory predict RUN {shlex.quote(self.source)} --out predictions.csv"
        rejected = bool(prepared.counts["rejected"])
        words = ["profactory", "train", shlex.quote(str(fixed.data) if fixed else self.source)]
        for name, value in self.settings.items():
            if fixed and name in ("header_pattern", "limit", "sample"):
                continue  # the clean copy is a table of just those rows
            for item in value if isinstance(value, list | tuple) else [] if value is None else [value]:
                words += [f"--{name.replace('_', '-')}", shlex.quote(str(item))]
        if rejected and fixed is None:
            words.append("--bad-rows drop")
        return " ".join(words)


def check(
    source: str | Path,
    *,
    sequence_column: str | None = None,
    label_column: str | list[str] | None = None,
    split_column: str | None = None,
    header_pattern: str | None = None,
    task: TaskKind | None = None,
    limit: int | None = None,
    sample: float | None = None,
    seed: int = 0,
    max_length: int = MODEL_LENGTH,
    estimator: Estimator | None = None,
    also_typed: Mapping[str, Any] | None = None,
    fix: bool = False,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> DataReport:
    """Read a data set as training would, and report on it.

    Parameters
    ----------
    source
        Whatever training takes.
    sequence_column, label_column, split_column, header_pattern, task, limit, sample, seed
        As for :func:`profactory.data.prepare.prepare_dataset`.
    max_length
        Residues that the model to be trained reads; longer sequences are counted.
    estimator
        Says what training costs; None to leave that out.
    also_typed
        Further settings to repeat in the next command.
    fix, out, overwrite
        A folder for ``rejected_rows.csv`` and, with `fix`, clean files and ``changes.csv``. Without a folder
        nothing is written.

    Raises
    ------
    DataError
        The data cannot be read at all, columns are missing, or no row can be used; in that case
        ``rejected_rows.csv`` is written nevertheless.
    """
    reading = {
        "sequence_column": sequence_column,
        "label_column": label_column,
        "split_column": split_column,
        "header_pattern": header_pattern,
        "task": task,
    }
    prepared = prepare_dataset(
        source,
        **reading,  # type: ignore[arg-type]
        limit=limit,
        sample=sample,
        seed=seed,
        need_labels=bool(label_column or task),
        bad_rows="drop",
        keep_rejected=None if out is None else partial(write_problems, out=Path(out), overwrite=overwrite),
    )
    fixed, written = None, []
    if out is not None:
        written.append(str(write_rejected(prepared, Path(out), overwrite=overwrite)))
        fixed = fix_dataset(prepared, Path(out), overwrite=overwrite) if fix else None
        written += fixed.files if fixed else []
    options = _Options(str(source), {**reading, "limit": limit, "sample": sample, **(also_typed or {})})
    estimate = estimator(prepared) if estimator else {}
    report = _report(prepared, options, max_length, fixed, estimate)
    return replace(report, written=written)


def _report(
    prepared: Prepared,
    options: _Options,
    max_length: int,
    fixed: Fixed | None,
    estimate: Mapping[str, Any],
) -> DataReport:
    dataset = prepared.dataset
    profile = profile_labels(dataset, prepared.task) if prepared.task else None
    too_long = int((dataset.lengths > max_length).sum())
    return DataReport(
        source=options.source,
        files=[{k: file[k] for k in ("path", "split", "size")} for file in dataset.sources],
        columns=dataset.columns.to_dict(),
        counts=prepared.counts,
        problems=prepared.rejected,
        task=prepared.task.to_dict() if prepared.task else {},
        task_reason=prepared.task_reason,
        labels=profile,
        lengths=describe_lengths(dataset.lengths),
        too_long=too_long,
        model_length=max_length,
        warnings=_warnings(prepared, profile, too_long, max_length),
        estimate={"table_bytes": (dataset.path / DATA_FILE).stat().st_size, **estimate},
        next_command=options.command(prepared, fixed),
        fixed=fixed,
    )


def report_of_nothing(source: str, error: NoUsableRowError) -> DataReport:
    """Return the report on data of which not one row can be used."""
    return DataReport(
        source=source,
        files=[{k: file[k] for k in ("path", "split", "size")} for file in error.files],
        columns=error.columns,
        counts=error.counts,
        problems=list(error.problems),
        task={},
        task_reason="",
        labels=None,
        lengths={},
        too_long=0,
        model_length=0,
        warnings=["Not one row can be used. Is another column the one with the sequences?"],
        estimate={},
        next_command=f"profactory check {shlex.quote(source)} --sequence-column NAME",
    )


def describe_lengths(lengths: Any) -> dict[str, Any]:
    """Return shortest, mean, median, longest, and a histogram of at most twelve round bins.

    Where a few sequences are far longer than all others, one more bin holds these.

    Examples
    --------
    >>> describe_lengths([10, 20, 30])["histogram"]
    {'edges': [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32], 'counts': [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]}
    """
    values = np.asarray(lengths)
    low, high = int(values.min()), int(values.max())
    usual = float(np.percentile(values, 99))
    top = int(usual) if high > OUTLIERS * usual else high
    step = next(
        s * 10**p for p in range(9) for s in (1, 2, 5) if (top // (s * 10**p)) - (low // (s * 10**p)) < BINS
    )
    edges = np.arange(low // step * step, (top // step + 1) * step + 1, step)
    edges = np.append(edges, high + 1) if high >= edges[-1] else edges
    counts, _ = np.histogram(values, edges)
    return {
        "shortest": low,
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "longest": high,
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def _warnings(prepared: Prepared, profile: LabelProfile | None, too_long: int, max_length: int) -> list[str]:
    """Say what would spoil training or its evaluation, most serious first."""
    counts = prepared.counts
    residues = prepared.task is not None and prepared.task.per_residue
    found = []
    if prepared.task is None:
        found.append(_no_labels(prepared))
    found += [
        f"{shared:,} of {counts['splits'][name]:,} {name} rows have a sequence that is also in train;"
        f" the {name} score will be too good. Divide anew: profactory split."
        for name, shared in counts["in_train"].items()
        if shared
    ]
    if counts["contradictory"]:
        several = counted(counts["contradictory"], "sequence occurs", "sequences occur")
        found.append(f"{several} with more than one label; at most one can be right.")
    if counts["duplicates"]:
        repeated = counted(counts["duplicates"], "row repeats", "rows repeat")
        found.append(f"{repeated} a sequence; splits keep them on one side.")
    if too_long:
        long = counted(too_long, "sequence has", "sequences have")
        found.append(
            f"{long} more than {max_length:,} residues: the model reads the first"
            f" {max_length:,} (--max-length)"
            + (", and labels of residues behind are not used." if residues else " and nothing behind.")
        )
    if counts["used"] < FEW_ROWS:
        few = counted(counts["used"], "row is", "rows are")
        found.append(f"{few} few: intervals will be wide, prefer --method freeze.")
    return found + (_class_warnings(profile) if profile else [])


def _no_labels(prepared: Prepared) -> str:
    columns = prepared.dataset.columns
    if prepared.task_reason:
        return f"{prepared.task_reason} Name another by --label-column, or predict on these data."
    known = (columns.sequence, columns.split, columns.identifier)
    others = [name for name in prepared.dataset.table.column_names if name not in known]
    named = f"; the other columns are {', '.join(map(repr, others[:10]))}" if others else ""
    fasta = " (of FASTA headers, make columns with --header-pattern)" if "header" in others else ""
    return f"No label column was found{named}. Name it by --label-column{fasta}, or predict on these data."


def _class_warnings(profile: LabelProfile) -> list[str]:
    found = []
    sizes = profile.classes
    rare = [name for name, size in sizes.items() if size < RARE_CLASS]
    if rare and profile.unit == "rows":
        shown = ", ".join(rare[:5]) + (", …" if len(rare) > 5 else "")
        found.append(f"{len(rare):,} of {len(sizes):,} classes have fewer than {RARE_CLASS} rows: {shown}.")
    if sizes and max(sizes.values()) > IMBALANCED * max(1, min(sizes.values())):
        found.append("The classes are imbalanced; look at MCC and macro F1 rather than at accuracy.")
    return found
