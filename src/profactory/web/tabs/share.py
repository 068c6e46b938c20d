"""Share: a trained model in a form for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from profactory import jobs
from profactory.errors import ProFactoryError
from profactory.jobs import Job
from profactory.web import markup
from profactory.web.board import Result, build_board, result_folder, result_link
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.pushing import build_push
from profactory.web.trained import check_run, model_picker, say_if_none

FORMATS = ("zip", "merged", "onnx", "openvino")
MIB = 1 << 20


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    words = context.words
    picker = model_picker(context, shared, tab="share")
    say_if_none(context, shared, tab="share")
    with gr.Row(elem_classes="pf-end"):
        choices = [(words(f"share.{name}"), name) for name in FORMATS]
        form = gr.Dropdown(choices, value="zip", label=words("share.format"), elem_id="share-format", scale=3)
        small = gr.Checkbox(False, label=words("share.int8"), visible=False, elem_id="share-int8", scale=2)
        start = gr.Button(
            words("share.start"), variant="primary", elem_id="share-start", scale=1, min_width=140
        )
    trouble, opened = gr.HTML(), gr.Textbox(visible="hidden")

    def begin(run: str | None, kind: str, quantize: bool) -> tuple[str, Any]:
        try:
            place = check_run(context, run)
            name = f"{Path(place).name}.zip" if kind == "zip" else kind
            arguments = [place, f"--format={kind}", f"--out={context.workspace.new_result() / name}"]
            arguments += ["--quantize=int8"] if quantize and kind == "onnx" else []
            job = jobs.start("export", arguments, run=place)
        except ProFactoryError as error:
            return markup.problem(error, words), gr.skip()
        return "", job.name

    form.change(lambda kind: gr.update(visible=kind == "onnx"), form, small, **QUICK)
    start.click(begin, [picker, form, small], [trouble, opened], show_progress="hidden", **ONCE)
    build_board(
        context, shared, tab="share", verb="export", opened=opened, make_result=lambda: _result(context)
    )
    with gr.Accordion(words("push.title"), open=False):
        build_push(context, shared, picker)
    with gr.Accordion(words("share.card"), open=False):
        card = gr.Markdown(words("share.no_card"), elem_id="share-card")
    picker.change(lambda run: _card(context, run), picker, card, **QUICK)


def _result(context: Context) -> Result:
    shown = gr.HTML(elem_id="share-result")

    def tell(job: Job | None) -> list[Any]:
        if job is None or not job.result.exists():
            return [""]
        files = sorted(job.result.iterdir()) if job.result.is_dir() else [job.result]
        sizes = [(file, file.stat().st_size / MIB) for file in files if file.is_file()]
        root = result_folder(context.workspace, job) or job.result
        links = [
            markup.link(
                result_link(context.workspace, job, file.relative_to(root).as_posix()),
                f"{file.name} ({size:.1f} MB)",
                download=True,
            )
            for file, size in sizes
        ]
        where = markup.note(context.words("share.written", place=job.result), kind="good")
        return [where + markup.links(links)]

    return Result([shown], tell)


def _card(context: Context, run: str | None) -> str:
    """Return the model card of a run, which is Markdown; Gradio takes dangerous marks out of it."""
    try:
        card = Path(check_run(context, run)) / "model" / "README.md"
        text = card.read_text(encoding="utf-8")
    except (ProFactoryError, OSError):
        return context.words("share.no_card")
    return text.partition("---\n")[2].partition("---\n")[2] if text.startswith("---\n") else text
