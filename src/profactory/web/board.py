"""The jobs of one kind, such as all predictions: which there are, how they stand, what came out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from profactory import jobs
from profactory.jobs import Job
from profactory.web import markup
from profactory.web.context import QUICK, Context, Shared
from profactory.web.telling import job_progress
from profactory.web.watching import fingerprint, tail
from profactory.web.words import Words
from profactory.web.workspace import Workspace, is_inside

SECONDS = 1.0
SHOWN = 20
#: Commands whose result is elsewhere.
NO_FILES = ("push",)
CHOOSE = """
element.addEventListener('click', (e) => {
  const row = e.target.closest('[data-run]');
  if (row) trigger('choose', {job: row.dataset.run});
});
"""


@dataclass(frozen=True)
class Result:
    """How a tab shows what came out of a job.

    Parameters
    ----------
    outputs
        The controls.
    tell
        Their content for a job that has finished; for None with nothing in them.
    """

    outputs: list[Any]
    tell: Callable[[Job | None], list[Any]]


def build_board(
    context: Context,
    shared: Shared,
    *,
    tab: str,
    verb: str,
    opened: gr.Textbox,
    make_result: Callable[[], Result],
    name: str = "",
) -> None:
    """Make the part of a tab that shows its jobs.

    Parameters
    ----------
    context, shared
        Of the page.
    tab
        Name of the tab; only while it is in front something is read.
    verb
        The command whose jobs are shown.
    opened
        Name of the job that is shown; the newest if empty.
    make_result
        Makes the controls of the result, below the state of the job and above the list.
    name
        Begins the identifiers of the controls, and those of their texts; the tab's if not given.
    """
    words, own = context.words, name or tab
    head = gr.HTML(elem_id=f"{own}-head")
    with gr.Row(elem_classes="pf-actions"):
        stop = gr.Button(words("board.stop"), visible=False, elem_id=f"{own}-stop")
    result = make_result()
    with gr.Accordion(words(f"{own}.earlier"), open=False):
        listing = gr.HTML(js_on_load=CHOOSE, elem_id=f"{own}-list")
        with gr.Row(elem_classes="pf-actions"):
            forget = gr.Button(words("board.forget"), elem_id=f"{own}-forget")
    seen = gr.State(())

    def refresh(chosen: str, visible: str, seen: Any) -> list[Any]:
        if visible != tab:
            return [gr.skip()] * (4 + len(result.outputs))
        found = jobs_of(context.workspace, verb)
        job = next((job for job in found if job.name == chosen), found[0] if found else None)
        marks = [(j.name, j.state().name, fingerprint(j.folder / "progress.json")) for j in found]
        mark = (chosen, *marks)
        if mark == seen:
            return [gr.skip()] * (4 + len(result.outputs))
        done = job if job is not None and job.state().name == "finished" else None
        running = gr.update(visible=job is not None and job.is_running)
        return [mark, _head(job, words), running, _listing(found, job, words), *result.tell(done)]

    def end(chosen: str) -> None:
        job = _find(context.workspace, verb, chosen)
        if job is not None:
            jobs.stop(job)

    def drop(chosen: str) -> str:
        job = _find(context.workspace, verb, chosen)
        if job is not None:
            remove_job(context.workspace, job)
        return ""

    changes = [gr.Timer(SECONDS).tick, opened.change, shared.visible.change]
    targets = [seen, head, stop, listing, *result.outputs]
    gr.on(changes, refresh, [opened, shared.visible, seen], targets, trigger_mode="always_last", **QUICK)
    listing.choose(_chosen, None, opened, **QUICK)
    stop.click(end, opened, None, **QUICK)
    forget.click(drop, opened, opened, **QUICK)


def jobs_of(workspace: Workspace, verb: str) -> list[Job]:
    """Return the jobs of one command whose results the page keeps, newest first."""
    return [
        job
        for job in jobs.list_jobs(workspace.runs)
        if job.verb == verb and (verb in NO_FILES or is_inside(job.result, workspace.results))
    ][:SHOWN]


def remove_job(workspace: Workspace, job: Job) -> None:
    """Remove a job that is over, and its result."""
    if job.is_running:
        return
    folder = result_folder(workspace, job)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    jobs.forget(job)


def result_folder(workspace: Workspace, job: Job) -> Path | None:
    """Return the folder below ``.results`` that the job wrote to."""
    root = workspace.results.resolve()
    place = job.result.resolve()
    return root / place.relative_to(root).parts[0] if place.is_relative_to(root) and place != root else None


def result_link(workspace: Workspace, job: Job, name: str) -> str:
    """Return the address of a file that a job wrote, relative to the page."""
    folder = result_folder(workspace, job)
    return f"../results/{folder.name}/{name}" if folder else ""


def _find(workspace: Workspace, verb: str, name: str) -> Job | None:
    found = jobs_of(workspace, verb)
    return next((job for job in found if job.name == name), None) if name else next(iter(found), None)


def _chosen(event: gr.EventData) -> str:
    return str(event.job)


def _head(job: Job | None, words: Words) -> str:
    if job is None:
        return ""
    state = job.state()
    title = (
        f'<div class="pf-title"><h3>{markup.safe(_title(job))}</h3>{markup.badge(state.name, words)}</div>'
    )
    if job.is_running:
        return title + job_progress(job, words)
    if state.name == "finished":
        return title
    printed = tail(job.log, 2000)
    log = (
        f'<pre class="pf-command pf-log"><code>{markup.safe(printed)}</code></pre>'
        if printed and not state.reason
        else ""
    )
    return title + markup.ended(state.reason, words, words("board.ended")) + log


def _title(job: Job) -> str:
    """Return run and input, which is what a visitor knows a job by."""
    source = job.arguments[1] if len(job.arguments) > 1 else ""
    return f"{job.run.name} · {source.removeprefix('--format=').rpartition('/')[2]}"


def _listing(found: list[Job], job: Job | None, words: Words) -> str:
    if not found:
        return f'<p class="pf-small">{markup.safe(words("board.none"))}</p>'
    rows = "".join(
        f'<tr data-run="{markup.safe(each.name)}" aria-selected="{str(each is job).lower()}">'
        f'<td><button type="button" class="pf-open">{markup.safe(_title(each))}</button></td>'
        f"<td>{markup.badge(each.state().name, words)}</td>"
        f"<td>{markup.safe(each.started[:16].replace('T', ' '))}</td></tr>"
        for each in found
    )
    return f'<div class="pf-scroll"><table class="pf-table"><tbody>{rows}</tbody></table></div>'
