"""Runs: the list, one of them live, and several side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory import jobs
from profactory.errors import ProFactoryError, RunError
from profactory.evaluation.names import label_of
from profactory.web import markup
from profactory.web.comparing import build_comparison
from profactory.web.context import QUICK, Context, Shared
from profactory.web.parts import parts_of
from profactory.web.standing import Standing, list_standings, standing_of
from profactory.web.telling import Told, tell
from profactory.web.watching import fingerprint
from profactory.web.words import Words

SECONDS = 1.0
MAIN_METRICS = ("mcc", "f1_max", "spearman")
CHOOSE = """
const open = (row) => { if (row) trigger('choose', {run: row.dataset.run}); };
element.addEventListener('click', (e) => open(e.target.closest('[data-run]')));
"""


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    workspace, words = context.workspace, context.words
    listing = gr.HTML(elem_id="runs-list", js_on_load=CHOOSE)
    view = _View(words)
    build_comparison(context)
    seen, seen_list, asked = gr.State(()), gr.State(()), gr.State("")
    timer = gr.Timer(SECONDS)

    def refresh(opened: str, visible: str, seen: Any, seen_list: Any, asked: str) -> list[Any]:
        """Return what is new; nothing while another tab is in front."""
        if visible != "runs":
            return [gr.skip()] * (3 + view.size)
        rows, marks = _listing(context, opened, seen_list)
        mark = (*_marks(context, opened), asked)
        if mark == seen:
            return [rows, marks, gr.skip(), *[gr.skip()] * view.size]
        return [rows, marks, mark, *view.update(_told(context, opened), asked=asked == opened)]

    inputs = [shared.opened, shared.visible, seen, seen_list, asked]
    outputs = [listing, seen_list, seen, *view.outputs]
    changes = [timer.tick, shared.opened.change, shared.visible.change]
    gr.on(changes, refresh, inputs, outputs, trigger_mode="always_last", **QUICK)
    listing.choose(_chosen, None, shared.opened, **QUICK)

    def act(what: Any) -> Any:
        def handler(opened: str, asked: str) -> tuple[str, str]:
            try:
                done: tuple[str, str] = what(opened, asked)
            except ProFactoryError as error:
                return asked, markup.problem(error, words)
            return done

        return handler

    def stop(opened: str, asked: str) -> tuple[str, str]:
        now = asked == opened
        jobs.stop(workspace.run_path(opened), now=now)
        return opened, markup.note(words("runs.stopping_now" if now else "runs.stopping"))

    def resume(opened: str, asked: str) -> tuple[str, str]:
        run = workspace.open_run(opened)
        jobs.start("resume", [str(workspace.runs / opened)], run=run.path)
        return "", markup.note(words("runs.resumed"), kind="good")

    def delete(opened: str, asked: str) -> tuple[str, str]:
        path = workspace.run_path(opened)
        if (path / "status.json").is_file():
            workspace.open_run(opened).delete()
        jobs.forget(path)
        return "", markup.note(words("runs.deleted", name=opened), kind="good")

    view.stop.click(act(stop), [shared.opened, asked], [asked, view.said], **QUICK)
    view.resume.click(act(resume), [shared.opened, asked], [asked, view.said], **QUICK)
    view.delete.click(lambda: gr.update(visible=True), None, view.confirm, **QUICK)
    view.keep.click(lambda: gr.update(visible=False), None, view.confirm, **QUICK)
    view.sure.click(act(delete), [shared.opened, asked], [asked, view.said], **QUICK).then(
        lambda: ("", gr.update(visible=False)), None, [shared.opened, view.confirm], **QUICK
    )


class _View:
    """The controls that show one run."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.head = gr.HTML(elem_id="run-head")
        with gr.Row(elem_classes="pf-actions"):
            self.stop = gr.Button(words("runs.stop"), visible=False, elem_id="run-stop")
            self.resume = gr.Button(
                words("runs.resume"), variant="primary", visible=False, elem_id="run-resume"
            )
            self.delete = gr.Button(words("runs.delete"), visible=False, elem_id="run-delete")
        with gr.Row(visible=False, elem_classes="pf-actions") as self.confirm:
            self.sure = gr.Button(words("runs.delete_sure"), variant="stop", elem_id="run-delete-sure")
            self.keep = gr.Button(words("runs.delete_keep"))
        self.said = gr.HTML()
        with gr.Row():
            self.loss = gr.Plot(show_label=False, visible=False, min_width=320, elem_id="run-loss")
            self.metric = gr.Plot(show_label=False, visible=False, min_width=320, elem_id="run-metric")
        self.result = gr.HTML(elem_id="run-result")
        with gr.Accordion(words("runs.log"), open=False, visible=False) as self.log_frame:
            self.log = gr.HTML(elem_id="run-log")
        self.outputs = [
            self.head, self.stop, self.resume, self.delete,
            self.loss, self.metric, self.result, self.log_frame, self.log,
        ]  # fmt: skip
        self.size = len(self.outputs)

    def update(self, told: Told | None, *, asked: bool) -> list[Any]:
        """Return the content of the controls."""
        words = self.words
        if told is None:
            off = gr.update(visible=False)
            return ["", off, off, off, off, off, "", off, ""]
        standing = told.standing
        stop = words("runs.stop_now") if asked and standing.is_running else words("runs.stop")
        return [
            told.head,
            gr.update(visible=standing.is_running, value=stop, variant="stop" if asked else "secondary"),
            gr.update(visible=standing.can_resume),
            gr.update(visible=not standing.is_running),
            gr.update(visible=told.loss is not None, value=told.loss),
            gr.update(visible=told.metric is not None, value=told.metric),
            told.result,
            gr.update(visible=bool(told.log)),
            told.log,
        ]


def _chosen(event: gr.EventData) -> str:
    return str(event.run)


def _told(context: Context, opened: str) -> Told | None:
    if not opened:
        return None
    try:
        return tell(context, standing_of(context.workspace, opened))
    except RunError as error:
        return Told.missing(opened, markup.problem(error, context.words))


def _marks(context: Context, opened: str) -> tuple[Any, ...]:
    if not opened:
        return ()
    try:
        path = context.workspace.run_path(opened)
        job = jobs.find(path)
    except RunError:
        return (opened,)
    files = [
        path / name
        for name in ("status.json", "events.jsonl", "log.txt", "report/metrics.json", "report/diagnosis.json")
    ]
    files += [part / "events.jsonl" for part in parts_of(path)]
    more = [job.log, job.folder / "progress.json", job.folder / "end.json"] if job else []
    return (opened, fingerprint(*files, *more), job.is_running if job else False)


def _listing(context: Context, opened: str, seen: Any) -> tuple[Any, Any]:
    """Return the list of runs, if it is not what was shown before."""
    standings = list_standings(context.workspace)
    marks = (opened, tuple((s.name, s.state, _main_value(s)) for s in standings))
    if marks == seen:
        return gr.skip(), gr.skip()
    words = context.words
    if not standings:
        return markup.empty(words("runs.empty"), words("runs.empty_hint")), marks
    rows = "".join(_row(standing, opened, words) for standing in standings)
    titles = "".join(f'<th scope="col">{markup.safe(words(f"runs.column_{key}"))}</th>' for key in COLUMNS)
    head = f"<thead><tr>{titles}</tr></thead>"
    table = f'<table class="pf-table">{head}<tbody>{rows}</tbody></table>'
    return f'<div class="pf-scroll">{table}</div>', marks


COLUMNS = ("name", "state", "data", "model", "method", "result", "created")


def _row(standing: Standing, opened: str, words: Words) -> str:
    summary = standing.summary
    data = summary.data.rsplit("/", 1)[-1] if summary else ""
    texts = [data, summary.model, summary.method] if summary else ["", "", ""]
    created = summary.created[:16].replace("T", " ") if summary else ""
    cells = "".join(f"<td>{markup.safe(text)}</td>" for text in [*texts, _main_value(standing), created])
    name = markup.safe(standing.name)
    return (
        f'<tr data-run="{name}" aria-selected="{str(standing.name == opened).lower()}">'
        f'<td><button type="button" class="pf-open">{name}</button></td>'
        f"<td>{markup.badge(standing.state, words)}</td>{cells}</tr>"
    )


def _main_value(standing: Standing) -> str:
    """Return the task's main metric, as ``MCC 0.812``."""
    metrics = standing.summary.metrics if standing.summary else {}
    name = next((name for name in (*MAIN_METRICS, *metrics) if name in metrics), None)
    return f"{label_of(name)} {markup.cell(metrics[name])}" if name else ""
