"""The data report as lines for a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from profactory.errors import SHOWN_PROBLEMS

if TYPE_CHECKING:
    from profactory.data.checking import DataReport

WIDTH = 30  # of the longest bar
SHOWN_CLASSES = 20
RESIDUE_NOTES = {
    "lower_case": "sequences in lower case, made upper case",
    "white_space": "sequences with white space, removed",
    "stop_codon": "sequences ending in a stop codon '*', removed",
    "nonstandard": "sequences with non-standard residues (U O B Z X J), kept",
    "gap": "sequences with gaps ('-' or '.'), refused",
    "inner_stop": "sequences with a stop codon '*' before the end, refused",
    "other_letter": "sequences with other letters, refused",
    "empty": "rows without a sequence, refused",
    "too_long": "sequences of impossible length, refused",
}


def render(report: DataReport) -> str:
    """Return the report as text: rows, problems, task, labels, lengths, warnings, next command."""
    sections = (_rows, _problems, _residues, _missing, _labels, _lengths, _splits, _warnings, _next)
    return "\n".join(line for section in sections for line in section(report))


def printable(text: str) -> str:
    """Replace what a terminal might obey (escape sequences, text direction) by a visible mark."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def bars(counts: Mapping[str, int], *, total: int | None = None) -> list[str]:
    """Return one line per name: name, bar, count, share of the total."""
    if not counts:
        return []
    whole = total if total is not None else sum(counts.values())
    most = max(*counts.values(), 1)
    width = min(32, max(len(printable(name)) for name in counts))
    lines = []
    for name, count in counts.items():
        bar = "█" * round(WIDTH * count / most) or ("▏" if count else "")
        shown = printable(name)[:width]
        lines.append(f"  {shown:<{width}}  {bar:<{WIDTH}} {count:>9,}  {100 * count / max(1, whole):5.1f} %")
    return lines


def histogram(edges: Sequence[float], counts: Sequence[int], *, whole: bool) -> list[str]:
    """Return one line per bin; `whole` for numbers that are whole, such as lengths."""
    names = [
        f"{low:,.0f}–{high - 1:,.0f}" if whole else f"{low:.4g} … {high:.4g}"
        for low, high in itertools.pairwise(edges)
    ]
    return bars(dict(zip(names, counts, strict=True)))


def _rows(report: DataReport) -> list[str]:
    counts, columns = report.counts, report.columns
    labels = ", ".join(map(repr, columns["labels"])) or "none"
    lines = [
        printable(report.source),
        f"  {counts['rows_read']:,} rows read = {counts['used']:,} used + {counts['rejected']:,} rejected",
        f"  sequence column {columns['sequence']!r}; label {labels}; split {columns['split'] or 'none'!r}",
    ]
    if report.task:
        lines.append(f"  task {report.task['kind']}: {printable(report.task_reason)}")
    return lines


def _problems(report: DataReport) -> list[str]:
    if not report.problems:
        return []
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in report.counts["rejected_by"].items())
    lines = ["", f"Rows that cannot be used ({kinds}):"]
    lines += [f"  - {printable(str(problem))}" for problem in report.problems[:SHOWN_PROBLEMS]]
    more = report.counts["rejected"] - min(len(report.problems), SHOWN_PROBLEMS)
    if more > 0:
        lines.append(f"  - … and {more:,} more")
    if not report.written:
        lines.append("  --out DIR writes all of them to rejected_rows.csv; --fix as well, a clean copy")
    return lines


def residue_notes(found: Mapping[str, int]) -> list[str]:
    """Return what the residue policy did, one sentence per kind that occurs."""
    lines = [f"{found[kind]:,} {words}" for kind, words in RESIDUE_NOTES.items() if found.get(kind)]
    letters = ", ".join(f"{letter} {found[letter]:,}" for letter in "UOBZXJ" if found.get(letter))
    return [*lines, f"of the residues kept: {letters}"] if letters else lines


def _residues(report: DataReport) -> list[str]:
    lines = [f"  {line}" for line in residue_notes(report.counts["residues"])]
    return ["", "Residues", *lines] if lines else []


def _missing(report: DataReport) -> list[str]:
    empty = report.counts["empty_cells"]
    if not empty:
        return []
    named = [f"{name!r} {count:,}" for name, count in list(empty.items())[:SHOWN_CLASSES]]
    more = f", … ({len(empty):,} columns)" if len(empty) > len(named) else ""
    return ["", f"Empty cells by column: {', '.join(named)}{more}"]


def _labels(report: DataReport) -> list[str]:
    profile = report.labels
    if profile is None:
        return []
    missing = [f"  {profile.missing:,} without a label"] if profile.missing else []
    if profile.classes:
        largest = dict(sorted(profile.classes.items(), key=lambda item: -item[1])[:SHOWN_CLASSES])
        left = len(profile.classes) - len(largest)
        rest = [f"  … and {left:,} more classes"] if left else []
        whole = report.counts["used"] if profile.unit == "rows" else sum(profile.classes.values())
        title = f"{len(profile.classes):,} classes ({profile.unit})"
        return ["", title, *bars(largest, total=whole), *rest, *missing]
    lines = []
    for target, numbers in profile.numbers.items():
        lines += ["", f"Label {printable(target)} ({numbers['count']:,} numbers)", *_numbers(numbers)]
    return [*lines, *missing]


def _numbers(numbers: Mapping[str, Any]) -> list[str]:
    if not numbers["count"]:
        return []
    words = (f"{name} {numbers[name]:.4g}" for name in ("lowest", "median", "mean", "highest", "std"))
    shape = numbers["histogram"]
    return ["  " + ", ".join(words), *histogram(shape["edges"], shape["counts"], whole=False)]


def _lengths(report: DataReport) -> list[str]:
    lengths, shape = report.lengths, report.lengths["histogram"]
    return [
        "",
        f"Length: shortest {lengths['shortest']:,}, median {lengths['median']:,.0f},"
        f" longest {lengths['longest']:,}; {report.counts['total_residues']:,} residues",
        *histogram(shape["edges"], shape["counts"], whole=True),
    ]


def _splits(report: DataReport) -> list[str]:
    splits = {name: count for name, count in report.counts["splits"].items() if count}
    if not splits:
        return ["", "No splits: training divides the rows by itself (--split), or see profactory split."]
    return ["", "Splits", *bars(splits)]


def _warnings(report: DataReport) -> list[str]:
    return ["", "Note", *(f"  ! {printable(line)}" for line in report.warnings)] if report.warnings else []


def estimate_sentences(estimate: Mapping[str, Any]) -> list[str]:
    """Return memory, time and disk of training here as sentences; nothing where they are not known."""
    if "memory_bytes" not in estimate:
        return []
    once, epoch = estimate["seconds_once"], estimate["seconds_per_epoch"]
    time = f"{duration(once)} to compute embeddings once, then " if once else ""
    lines = [
        f"{estimate['model']}, {estimate['method']}: {size(estimate['memory_bytes'])} of memory"
        f" ({size(estimate['free_memory_bytes'])} free);"
        f" {time}{duration(epoch)} per epoch; {size(estimate['disk_bytes'])} of disk"
        f" ({size(estimate['free_disk_bytes'])} free).",
        f"Without a GPU, {estimate['basis']}.",
    ]
    if estimate["memory_bytes"] > estimate["free_memory_bytes"]:
        lines.append(
            "That is more memory than is free: see a smaller --model, --max-length or --method freeze."
        )
    if estimate["download_bytes"]:
        lines.append(
            f"{size(estimate['download_bytes'])} of weights are fetched first, unless they are here."
        )
    return lines


def duration(seconds: float) -> str:
    """Return a time as a rough number with a unit."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"about {seconds / length:,.0f} {unit}"
    return f"about {seconds:.0f} s" if seconds >= 1 else "under a second"


def size(count: float) -> str:
    """Return bytes as a rough number with a unit."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= length:
            return f"{count / length:,.1f} {unit}" if count < 10 * length else f"{count / length:,.0f} {unit}"
    return f"{count / 1e3:,.0f} kB"


def _next(report: DataReport) -> list[str]:
    sentences = estimate_sentences(report.estimate)
    lines = ["", "Training here", *(f"  {line}" for line in sentences)] if sentences else []
    written = [f"Written: {name}" for name in report.written]
    return [*lines, "", *written, f"Next: {printable(report.next_command)}"]
