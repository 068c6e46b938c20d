"""Evaluate: a trained model measured on labelled data."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory import jobs
from profactory.errors import ProFactoryError
from profactory.files import read_json
from profactory.jobs import Job
from profactory.web import markup
from profactory.web.board import Result, build_board, result_folder, result_link
from profactory.web.context import ONCE, Context, Shared
from profactory.web.form import make_control
from profactory.web.picking import data_picker
from profactory.web.planning import STRUCTURES, structure_flags
from profactory.web.telling import metric_table, per_class_table
from profactory.web.trained import any_model_picker, check_model, say_if_none

SPLITS = ("test", "validation", "train")


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    workspace, words = context.workspace, context.words
    picker = any_model_picker(context, shared, tab="evaluate")
    say_if_none(context, shared, tab="evaluate")
    data = data_picker(workspace, words, name="evaluate")
    with gr.Accordion(words("use.structures"), open=False), gr.Row(elem_classes="pf-grid"):
        structures = [make_control(name, words, tab="evaluate") for name in STRUCTURES]
    with gr.Row(elem_classes="pf-end"):
        choices = [(words("evaluate.all_rows"), ""), *((words(f"result.{split}"), split) for split in SPLITS)]
        split = gr.Dropdown(
            choices,
            value="",
            label=words("evaluate.split"),
            info=words("evaluate.split_help"),
            elem_id="evaluate-split",
            scale=3,
        )
        start = gr.Button(
            words("evaluate.start"), variant="primary", elem_id="evaluate-start", scale=1, min_width=160
        )
    trouble, opened = gr.HTML(), gr.Textbox(visible="hidden")

    def begin(run: str | None, source: str | None, part: str, *values: Any) -> tuple[str, Any]:
        try:
            model, checked = check_model(context, run), workspace.check_data(source or "")
            extra = [f"--split={part}"] if part in SPLITS else []
            extra += structure_flags(workspace, dict(zip(STRUCTURES, values, strict=True)))
            arguments = [model.place, checked, f"--out={workspace.new_result()}", *extra]
            job = jobs.start("evaluate", arguments, run=model.run)
        except ProFactoryError as error:
            return markup.problem(error, words), gr.skip()
        return "", job.name

    start.click(
        begin,
        [picker, data.choice, split, *structures],
        [trouble, opened],
        show_progress="hidden",
        **ONCE,
    )
    build_board(
        context, shared, tab="evaluate", verb="evaluate", opened=opened, make_result=lambda: _result(context)
    )


def _result(context: Context) -> Result:
    shown = gr.HTML(elem_id="evaluate-result")

    def tell(job: Job | None) -> list[Any]:
        folder = result_folder(context.workspace, job) if job else None
        if job is None or folder is None or not (folder / "metrics.json").is_file():
            return [""]
        metrics, words = read_json(folder / "metrics.json"), context.words
        parted = any(word.startswith("--split=") for word in job.arguments)
        names = sorted(file.name for file in folder.glob("*.png"))
        figures = "".join(_figure(result_link(context.workspace, job, name), name) for name in names)
        return [
            metric_table(metrics, words, "" if parted else words("evaluate.all_rows"))
            + f'<div class="pf-figures">{figures}</div>'
            + per_class_table(metrics, words)
            + _links(context, job)
        ]

    return Result([shown], tell)


def _figure(address: str, name: str) -> str:
    title = name.removesuffix(".png").replace("_", " ")
    return f'<figure><img src="{markup.safe(address)}" alt="{markup.safe(title)}" loading="lazy"></figure>'


def _links(context: Context, job: Job) -> str:
    folder = result_folder(context.workspace, job)
    names = (
        sorted(file.name for file in folder.glob("*") if file.suffix in (".csv", ".json", ".html"))
        if folder
        else []
    )
    return markup.links(
        markup.link(
            result_link(context.workspace, job, name),
            context.words("result.report") if name.endswith(".html") else name,
            download=not name.endswith(".html"),
        )
        for name in names
    )
