"""What the page says about one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profactory.evaluation.metric_rows import metric_rows
from profactory.files import read_json
from profactory.jobs import Job
from profactory.web import charts, markup, parts
from profactory.web.context import Context
from profactory.web.picking import data_name
from profactory.web.sentences import baseline_kind, finding_sentence, remedies_of, said, verdict_sentence
from profactory.web.standing import Standing, metrics_of
from profactory.web.watching import tail
from profactory.web.words import Words

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Told:
    """What is shown of a run: HTML and figures.

    Parameters
    ----------
    standing
        How it stands.
    head, result, log
        HTML.
    loss, metric
        Curves; None before there are any.
    """

    standing: Standing
    head: str
    loss: Figure | None = None
    metric: Figure | None = None
    result: str = ""
    log: str = ""

    @classmethod
    def missing(cls, name: str, text: str) -> Told:
        """What is said of a run that is not there."""
        return cls(Standing(name, "damaged", "", None, {}, None), text)


def tell(context: Context, standing: Standing) -> Told:
    """Put together all that is shown of a run."""
    path = context.workspace.runs / standing.name
    loss, metric = _curves(context, standing, path)
    log = tail(path / "log.txt") or (tail(standing.job.log) if standing.job else "")
    return Told(
        standing,
        _head(context, standing),
        loss,
        metric,
        _result(context, standing),
        f'<pre class="pf-command pf-log"><code>{markup.safe(log)}</code></pre>' if log else "",
    )


def _curves(context: Context, standing: Standing, path: Path) -> tuple[Figure | None, Figure | None]:
    """Draw loss and metric of a training, or of all that a run consists of."""
    trainings = parts.parts_of(path)
    if trainings:
        return parts.part_charts(context, trainings)
    events = context.logs.of(path).read()
    monitor = str(standing.status.get("monitor") or "")
    return charts.loss_chart(events, context.words), charts.metric_chart(events, monitor, context.words)


def duration(seconds: float | None, words: Words) -> str:
    """Return a span of time as people say it."""
    if seconds is None:
        return ""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return words("time.hours", hours=hours, minutes=minutes)
    return (
        words("time.minutes", minutes=minutes, seconds=rest)
        if minutes
        else words("time.seconds", seconds=rest)
    )


def job_progress(job: Job, words: Words, doing: str = "") -> str:
    """Show how far a job is, or what it does while it does not count."""
    noted = job.progress()
    if not noted or not noted.get("total"):
        return markup.bar(0, doing or words("runs.doing_starting"))
    what, unit = (said(str(noted.get(name, "")), words) for name in ("description", "unit"))
    text = f"{what}: {noted['done']:,} / {noted['total']:,} {unit}"
    left = duration(noted.get("seconds_left"), words)
    return markup.bar(
        noted["done"] / noted["total"], f"{text} · {words('runs.left', time=left)}" if left else text
    )


def _head(context: Context, standing: Standing) -> str:
    words = context.words
    name, badge = markup.safe(standing.name), markup.badge(standing.state, words)
    title = f'<div class="pf-title"><h3>{name}</h3>{badge}</div>'
    summary = standing.summary
    facts = {}
    if summary:
        facts = {
            words("runs.column_data"): data_name(context.workspace, words, summary.data),
            words("runs.task"): words.maybe(f"choice.{summary.task}", summary.task),
            words("runs.column_model"): summary.model,
            words("runs.column_method"): summary.method,
            words("runs.column_created"): summary.created[:16].replace("T", " "),
        }
    return (
        title
        + _reason(standing, words)
        + _progress(context, standing)
        + (markup.facts(facts) if facts else "")
    )


def _reason(standing: Standing, words: Words) -> str:
    if standing.is_running or standing.state == "finished":
        return ""
    error = standing.status.get("error")
    fix = str(error.get("fix") or "") if isinstance(error, dict) else ""
    hint = words(f"runs.hint_{'resume' if standing.can_resume else 'none'}")
    kind = "info" if standing.state == "stopped" else "bad"
    mend = f"{words('error.fix')}{words('error.after')}{said(fix, words)}" if fix else ""
    detail = mend or (hint if standing.can_resume and standing.reason else "")
    return markup.ended(standing.reason, words, hint, kind=kind, detail=detail)


def _progress(context: Context, standing: Standing) -> str:
    status, words = standing.status, context.words
    if not standing.is_running:
        return ""
    if standing.state == "training" and status.get("total_steps"):
        share, text = _position(context, standing)
        left = duration(status.get("eta_seconds"), words)
        return markup.bar(share, f"{text} · {words('runs.left', time=left)}" if left else text)
    doing = words.maybe(f"runs.doing_{standing.state}", words("runs.doing_starting"))
    return job_progress(standing.job, words, doing) if standing.job else markup.bar(0, doing)


def _position(context: Context, standing: Standing) -> tuple[float, str]:
    """Return how far a training is, as a share of one and in words."""
    status, words = standing.status, context.words
    if status.get("unit"):
        return parts.part_progress(status, parts.parts_of(context.workspace.runs / standing.name), words)
    step, total = int(status.get("step") or 0), int(status["total_steps"])
    epoch = {name: status.get(name) or 0 for name in ("epoch", "epochs")}
    return step / total, words("runs.progress", step=f"{step:,}", total=f"{total:,}", **epoch)


def _result(context: Context, standing: Standing) -> str:
    path, words = context.workspace.runs / standing.name, context.words
    metrics = metrics_of(path)
    shown = [_diagnosis(context, standing)]
    if metrics and "main_split" in metrics:
        shown += [metric_table(metrics, words), parts.part_table(metrics, words)]
        shown += [_links(context, standing.name)]
    return "".join(shown)


def metric_table(metrics: dict[str, Any], words: Words, rows_of: str = "") -> str:
    """Lay out ``metrics.json``: one row per metric with its interval, the baselines beside it.

    Parameters
    ----------
    metrics
        Its content.
    words
        Texts.
    rows_of
        What the measured rows are called; the name of the split if not given.
    """
    measured = rows_of or words(f"result.{metrics['main_split']}")
    baselines = list(metrics.get("baselines") or {})
    head = [words("result.metric"), measured, words("result.interval")]
    head += [words.maybe(f"result.baseline_{baseline_kind(name, metrics)}", name) for name in baselines]
    rows = []
    for row in metric_rows({"baselines": {}, **metrics}):
        value, interval = row["cells"][0]
        rows.append([words.metric(row["key"]), value, interval.replace(" to ", " – "), *row["baselines"]])
    verdict = verdict_sentence(metrics, words)
    text = f"<p>{markup.safe(verdict)}</p>" if verdict else ""
    return text + markup.table(head, rows, caption=words("result.caption"), numbers=range(1, len(head)))


def per_class_table(metrics: dict[str, Any], words: Words) -> str:
    """Lay out the values of each class (or target), if there are any."""
    found = metrics.get("per_class") or metrics.get("per_target") or {}
    rows = found.get(metrics["main_split"], [])
    if not rows:
        return ""
    names = list(rows[0])
    head = [words.maybe(f"class.{name}", words.metric(name)) for name in names]
    lines = [[row.get(name) for name in names] for row in rows]
    return markup.table(head, lines, caption=words("result.per_class"), numbers=range(1, len(names)))


def _links(context: Context, name: str) -> str:
    words, run = context.words, context.workspace.runs / name
    base = f"../files/{name}"
    links = [
        ("report/report.html", words("result.report"), False),
        ("report/members.html", words("parts.page"), False),
        ("report/sweep.html", words("parts.sweep"), False),
        ("report/metrics.json", "metrics.json", True),
    ]
    links += [
        (f"report/predictions_{split}.csv", f"predictions_{split}.csv", True)
        for split in ("test", "validation")
    ]
    links += [("config.yaml", "config.yaml", True), ("log.txt", "log.txt", True)]
    return markup.links(
        markup.link(f"{base}/{place}", text, download=download)
        for place, text, download in links
        if (run / place).is_file()
    )


def _diagnosis(context: Context, standing: Standing) -> str:
    """Show what the diagnosis of the training found, if it was written."""
    try:
        found = read_json(context.workspace.runs / standing.name / "report" / "diagnosis.json")
    except (OSError, ValueError):
        return ""
    findings = found.get("findings", [])
    if not findings:
        return markup.note(context.words("runs.healthy"), kind="good") if found.get("healthy") else ""
    return "".join(_finding(finding, context.words) for finding in findings)


def _finding(finding: dict[str, Any], words: Words) -> str:
    remedies = remedies_of(finding, words)
    detail = words("runs.remedies", remedies=remedies) if remedies else ""
    return markup.note(finding_sentence(finding, words), kind="warn", detail=detail)
