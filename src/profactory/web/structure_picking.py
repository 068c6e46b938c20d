"""Choosing a structure: a file of the data folder or an upload, and one of its chains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from profactory.errors import ProFactoryError
from profactory.structure.files import SUFFIXES
from profactory.web.context import PAGE_ONLY, QUICK, Context
from profactory.web.markup import problem
from profactory.web.structures import chains_of, prepare
from profactory.web.uploading import keep_uploads, upload_button


@dataclass(frozen=True)
class StructurePicker:
    """The controls for choosing a structure.

    Parameters
    ----------
    choice
        Drop-down whose value is the file.
    chain
        Drop-down whose value is the name of a chain.
    view
        Name of the folder with what is shown of the structure; empty for none. Of one visitor.
    """

    choice: gr.Dropdown
    chain: gr.Dropdown
    view: gr.Textbox


def structure_picker(context: Context, *, name: str) -> StructurePicker:
    """Make the controls, and what happens at a choice and an upload.

    Parameters
    ----------
    context
        Of the page.
    name
        Begins the identifiers of the controls in the document.
    """
    workspace, words = context.workspace, context.words
    with gr.Row(elem_classes="pf-picker"):
        choice = gr.Dropdown(
            workspace.structure_choices(),
            value=None,
            allow_custom_value=True,
            label=words("structures.choice"),
            info=words("structures.choice_help", folder=workspace.data),
            elem_id=f"{name}-structure",
            scale=4,
        )
        chain = gr.Dropdown(
            [],
            label=words("structures.chain"),
            visible=False,
            elem_id=f"{name}-chain",
            scale=1,
            min_width=120,
        )
        upload = upload_button(words("structures.upload"), [*SUFFIXES, ".gz"], f"{name}-structure-upload")
    trouble = gr.HTML(elem_id=f"{name}-structure-trouble")
    view = gr.Textbox(visible="hidden")

    def choices(kept: Path) -> list[Any]:
        return [*workspace.structure_choices(), (words("data.uploaded", name=kept.name), str(kept))]

    def read(source: str | None) -> tuple[Any, str, str]:
        if not source:
            return gr.update(visible=False), "", ""
        try:
            folder = prepare(workspace, source)
        except ProFactoryError as error:
            return gr.update(visible=False), "", problem(error, words)
        names = [row["chain"] for row in chains_of(workspace, folder)]
        return gr.update(choices=names, value=names[0], visible=True), folder, ""

    keep_uploads(workspace, words, (upload, choice, trouble), SUFFIXES, choices)
    choice.focus(lambda: gr.update(choices=workspace.structure_choices()), None, choice, **QUICK)
    choice.change(
        read, choice, [chain, view, trouble], concurrency_limit=2, trigger_mode="always_last", **PAGE_ONLY
    )
    return StructurePicker(choice, chain, view)
