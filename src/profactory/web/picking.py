"""Choosing data: a bundled set, a table of the data folder, or an upload."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from profactory.data.bundled import PREFIX, list_bundled
from profactory.data.catalog import list_catalog
from profactory.data.reading import TABLE_SUFFIXES
from profactory.errors import ProFactoryError
from profactory.web.context import QUICK
from profactory.web.sentences import said
from profactory.web.tables import first_rows
from profactory.web.uploading import keep_uploads, upload_button
from profactory.web.words import Words
from profactory.web.workspace import Workspace, is_inside, is_public

KINDS = [*TABLE_SUFFIXES, ".gz"]


@dataclass(frozen=True)
class DataPicker:
    """The controls for choosing data.

    Parameters
    ----------
    choice
        Drop-down whose value is what would be typed as DATA.
    upload
        Button that takes a file.
    trouble
        Where a refused upload is explained.
    """

    choice: gr.Dropdown
    upload: gr.UploadButton
    trouble: gr.HTML


def data_picker(workspace: Workspace, words: Words, *, name: str) -> DataPicker:
    """Make the controls and what happens at an upload.

    Parameters
    ----------
    workspace, words
        Of the page.
    name
        Begins the identifiers of the controls in the document.
    """
    with gr.Row(elem_classes="pf-picker"):
        choice = gr.Dropdown(
            choice_labels(workspace, words),
            value=None,
            allow_custom_value=True,
            label=words("data.choice"),
            info=words("data.choice_help", folder=workspace.data),
            elem_id=f"{name}-data",
            scale=4,
        )
        upload = upload_button(words("data.upload"), KINDS, f"{name}-upload")
    trouble = gr.HTML()

    def choices(kept: Path) -> list[Any]:
        return choice_labels(workspace, words, str(kept))

    def listed(source: str | None) -> Any:
        return gr.update(choices=choice_labels(workspace, words, source or ""))

    keep_uploads(workspace, words, (upload, choice, trouble), TABLE_SUFFIXES, choices)
    choice.focus(listed, choice, choice, **QUICK)  # the folder may hold other tables by now
    return DataPicker(choice, upload, trouble)


def choose_data(workspace: Workspace, words: Words, source: str) -> Any:
    """Return what makes a drop-down show these data, in the list or not."""
    return gr.update(choices=choice_labels(workspace, words, source), value=source or None)


def choice_labels(workspace: Workspace, words: Words, source: str = "") -> list[tuple[str, str]]:
    """Return what can be chosen, as (shown, meant); `source` as well, which may be none of the list."""
    bundled = {PREFIX + entry.name: entry for entry in list_bundled()}
    public = {entry.name: entry for entry in list_catalog()}

    def label(value: str) -> str:
        if value in bundled:
            return f"{said(bundled[value].title, words)} ({bundled[value].rows:,} {words('data.rows')})"
        return f"{said(public[value].title, words)} · {value} (Hub)" if value in public else value

    known = workspace.data_choices()
    others = [source] if source and source not in known else []
    return [
        *((label(value), value) for value in known),
        *((data_name(workspace, words, value), value) for value in others),
    ]


def data_name(workspace: Workspace, words: Words, source: str) -> str:
    """Return what people call data: without the folders in which the page keeps what it gets and makes."""
    place = Path(source)
    if is_inside(place, workspace.uploads):
        return words("data.uploaded", name=place.name)
    if is_inside(place, workspace.results):
        return "/".join(place.resolve().relative_to(workspace.results.resolve()).parts[1:])
    if is_inside(place, workspace.data):
        return str(workspace.data / place.resolve().relative_to(workspace.data.resolve()))
    return source


def column_names(workspace: Workspace, source: str | None) -> list[str]:
    """Return the columns of the data that were chosen; none if they cannot be told now."""
    try:
        checked = workspace.check_data(source or "")
        return [] if is_public(checked) else first_rows(checked, 0)[0]
    except ProFactoryError:
        return []
