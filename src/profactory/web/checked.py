"""The report of ``profactory check --json`` as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from profactory.errors import SHOWN_PROBLEMS, Problem
from profactory.web import charts, markup
from profactory.web.sentences import said, warning_sentence
from profactory.web.words import Words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Report = Mapping[str, Any]


def summary(report: Report, words: Words) -> str:
    """Show whether the data can be used, what is in them, and what would spoil training."""
    return (
        _verdict(report, words) + _facts(report, words) + _warnings(report, words) + _problems(report, words)
    )


def label_chart(report: Report, words: Words) -> Figure | None:
    """Draw how often each class occurs, or how the numbers of the first target are spread."""
    labels = report.get("labels") or {}
    if labels.get("classes"):
        return charts.bars(labels["classes"], words(f"check.{labels.get('unit', 'rows')}"))
    for name, numbers in (labels.get("numbers") or {}).items():
        if "histogram" in numbers:
            return charts.histogram(
                numbers["histogram"]["edges"], numbers["histogram"]["counts"], name, words
            )
    return None


def length_chart(report: Report, words: Words) -> Figure:
    """Draw how long the sequences are."""
    found = report["lengths"]["histogram"]
    return charts.histogram(found["edges"], found["counts"], words("check.length"), words)


def division(report: Report, words: Words) -> str:
    """Show how data were divided: rows per part, and how new the test sequences are."""
    counts = {words(f"result.{name}"): rows for name, rows in report["counts"].items()}
    found = report.get("leakage")
    if not found:
        return markup.facts(counts)
    examined = f"{found['test_rows_examined']:,}"
    near = {
        words("check.exact"): found["exact_duplicates"].get("train-test", 0),
        words("check.near"): f"{found['near_duplicates']:,} / {examined}",
        words("check.strangers"): f"{found['no_relative_found']:,} / {examined}",
    }
    text = markup.facts({**counts, **near})
    estimated = "" if found["method"] == "mmseqs2" else markup.note(words("check.estimated"))
    warned = found["test_rows_examined"] and found["warning"]
    return text + estimated + (markup.note(words("check.leaking"), kind="warn") if warned else "")


def relatives_chart(report: Report, words: Words) -> Figure | None:
    """Draw how near each test sequence is to its nearest training sequence; None where nobody looked."""
    found = report.get("leakage")
    if not found:
        return None
    histogram = found["identity_histogram"]
    edges = [100 * edge for edge in histogram["edges"]]
    figure = charts.histogram(edges, histogram["counts"], words("check.identity"), words)
    figure.update_xaxes(range=[0, 100])
    return figure


def _verdict(report: Report, words: Words) -> str:
    counts = report["counts"]
    values = {"used": f"{counts['used']:,}", "rejected": f"{counts['rejected']:,}"}
    if not counts["rejected"]:
        return markup.note(words("check.good", **values), kind="good")
    return markup.note(words("check.bad", **values), kind="bad", detail=words("check.bad_hint"))


def _facts(report: Report, words: Words) -> str:
    counts, lengths, task = report["counts"], report["lengths"], report.get("task") or {}
    kind = str(task.get("kind", ""))
    splits = ", ".join(
        f"{words(f'result.{name}')} {count:,}" for name, count in counts["splits"].items() if count
    )
    return markup.facts(
        {
            words("runs.task"): words.maybe(f"choice.{kind}", kind),
            words("check.sequence_column"): report["columns"]["sequence"],
            words("check.label_column"): ", ".join(report["columns"]["labels"]),
            words("check.splits"): splits or words("check.not_divided"),
            words("check.length"): f"{lengths['shortest']:,} – {lengths['longest']:,}",
            words("check.residues"): counts["total_residues"],
            words("check.duplicates"): counts["duplicates"],
            words("check.contradictory"): counts["contradictory"],
            **{
                words("check.in_train", split=words(f"result.{name}")): shared
                for name, shared in counts.get("in_train", {}).items()
            },
        }
    )


def _warnings(report: Report, words: Words) -> str:
    said = (warning_sentence(str(warning), words) for warning in report["warnings"])
    return "".join(markup.note(text, kind="warn") for text in said)


def _problems(report: Report, words: Words) -> str:
    found = report["problems"][:SHOWN_PROBLEMS]
    if not found:
        return ""
    items = [Problem(**problem) for problem in found]
    rows = [[item.line, item.column, item.value, said(item.reason, words)] for item in items]
    head = [words(f"check.problem_{name}") for name in ("line", "column", "value", "reason")]
    caption = words("check.problems", shown=len(rows), count=f"{report['counts']['rejected']:,}")
    return markup.table(head, rows, caption=caption, numbers=[0], kind="pf-text")
