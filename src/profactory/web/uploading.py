"""The button beside a list that puts a file of one's own into it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import gradio as gr

from profactory.errors import ProFactoryError
from profactory.web.context import PAGE_ONLY
from profactory.web.markup import problem
from profactory.web.words import Words
from profactory.web.workspace import Workspace


def upload_button(label: str, kinds: Iterable[str], identifier: str) -> gr.UploadButton:
    """Make the button, for the end of a row with a list."""
    return gr.UploadButton(
        label, file_types=list(kinds), elem_id=identifier, size="md", scale=1, min_width=140
    )


def keep_uploads(
    workspace: Workspace,
    words: Words,
    controls: tuple[gr.UploadButton, gr.Dropdown, gr.HTML],
    kinds: Collection[str],
    choices: Callable[[Path], list[Any]],
) -> None:
    """Keep what is uploaded and choose it.

    Parameters
    ----------
    workspace, words
        Of the page.
    controls
        The button, the list, and where a refused upload is explained.
    kinds
        Endings of the names that are taken.
    choices
        Returns what can be chosen when there is that file.
    """
    upload, choice, trouble = controls

    def keep(file: str) -> tuple[Any, str]:
        try:
            kept = workspace.keep_upload(Path(file), Path(file).name, kinds)
        except ProFactoryError as error:
            return gr.skip(), problem(error, words)
        return gr.update(choices=choices(kept), value=str(kept)), ""

    upload.upload(keep, upload, [choice, trouble], show_progress="hidden", **PAGE_ONLY)
