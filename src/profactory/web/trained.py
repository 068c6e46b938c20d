"""The trained models that can be used: of finished runs, in an uploaded file, on the Hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from profactory.errors import NotARunError, ProFactoryError
from profactory.sharing.hub import REPOSITORY
from profactory.web.context import QUICK, Context, Shared
from profactory.web.markup import empty
from profactory.web.standing import list_standings
from profactory.web.uploading import keep_uploads, upload_button
from profactory.web.workspace import is_inside

ZIP = (".zip",)
_NOT_OF_RUNS = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Model:
    """A trained model that was chosen.

    Parameters
    ----------
    place
        What is typed for it: the path of a run or of a file, or ``user/name`` of the Hub.
    run
        The path under whose name its jobs are kept; a run only if the model is of one.
    """

    place: str
    run: Path


def model_picker(context: Context, shared: Shared, *, tab: str, residues: bool = False) -> gr.Dropdown:
    """Make the control that chooses a finished run; the one that is open in Runs comes first.

    Parameters
    ----------
    context, shared
        Of the page.
    tab
        Name of the tab that it is in.
    residues
        Offer models of residue tasks only.
    """
    words = context.words
    picker = gr.Dropdown(
        [],
        value=None,
        label=words("use.run"),
        info=words("structures.run_help" if residues else "use.run_help"),
        elem_id=f"{tab}-run",
        interactive=True,
    )
    _offer(context, shared, picker, tab=tab, residues=residues)
    return picker


def any_model_picker(context: Context, shared: Shared, *, tab: str) -> gr.Dropdown:
    """Make the controls that choose a finished run, a model of the Hub or an uploaded one."""
    words = context.words
    with gr.Row(elem_classes="pf-picker"):
        picker = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label=words("use.run"),
            info=words("use.any_help"),
            elem_id=f"{tab}-run",
            interactive=True,
            scale=4,
        )
        upload = upload_button(words("use.upload"), ZIP, f"{tab}-model-upload")
    trouble = gr.HTML()

    def choices(kept: Path) -> list[Any]:
        return _choices(context, str(kept))

    keep_uploads(context.workspace, words, (upload, picker, trouble), ZIP, choices)
    _offer(context, shared, picker, tab=tab, others=True)
    return picker


def _offer(
    context: Context,
    shared: Shared,
    picker: gr.Dropdown,
    *,
    tab: str,
    residues: bool = False,
    others: bool = False,
) -> None:
    """Fill the list whenever the tab comes to the front."""

    def offer(visible: str, opened: str, chosen: str | None) -> Any:
        if visible != tab:
            return gr.skip()
        names = finished_runs(context, residues=residues)
        if others and chosen and chosen not in names:
            return gr.update(choices=_choices(context, chosen))
        value = next((name for name in (chosen, opened, *names) if name in names), None)
        return gr.update(choices=names, value=value)

    shared.visible.change(offer, [shared.visible, shared.opened, picker], picker, **QUICK)


def say_if_none(context: Context, shared: Shared, *, tab: str) -> None:
    """Make the place that says what to do while there is no trained model."""
    words = context.words
    place = gr.HTML(elem_id=f"{tab}-none")
    none = empty(words("use.none"), words("use.none_hint"))

    def say(visible: str) -> Any:
        if visible != tab:
            return gr.skip()
        return "" if finished_runs(context) else none

    shared.visible.change(say, shared.visible, place, **QUICK)


def _choices(context: Context, other: str) -> list[Any]:
    """Return the finished runs, and a model that is none."""
    shown = context.words("data.uploaded", name=Path(other).name) if _is_upload(context, other) else other
    return [*finished_runs(context), (shown, other)]


def finished_runs(context: Context, *, residues: bool = False) -> list[str]:
    """Return the names of the runs that have a model (of a residue task), newest first."""
    folder = context.workspace.runs
    return [
        s.name
        for s in list_standings(context.workspace)
        if (folder / s.name / "model" / "config.json").is_file()
        and not (residues and not (s.summary and s.summary.task.startswith("residue_")))
    ]


def check_run(context: Context, name: str | None) -> str:
    """Return the path of a run's model as it is typed; NotARunError if none was chosen."""
    if not name or name not in finished_runs(context):
        raise NotARunError(
            "No trained model was chosen." if not name else f"The run {name} has no finished model.",
            fix="choose a finished run, or train one first",
        )
    return str(context.workspace.run_path(name))


def check_model(context: Context, name: str | None) -> Model:
    """Return the model that was chosen: of a run, uploaded, or of the Hub.

    Raises
    ------
    NotARunError
        It is none of these.
    """
    chosen, runs = (name or "").strip(), context.workspace.runs
    if _is_upload(context, chosen):
        stem = _NOT_OF_RUNS.sub("-", Path(chosen).stem).strip("-.")
        return Model(chosen, runs / (stem or "uploaded"))
    if "/" in chosen and REPOSITORY.fullmatch(chosen) and not Path(chosen.split("/")[0]).exists():
        return Model(chosen, runs / _NOT_OF_RUNS.sub("-", chosen))
    if "/" in chosen or "\\" in chosen:
        raise NotARunError(
            f"{chosen!r} is no trained model that this page may read.",
            expected="a finished run, an uploaded zip file, or user/name of the Hugging Face Hub",
            fix="upload the file that `profactory export --format zip` wrote",
        )
    return Model(check_run(context, chosen), context.workspace.run_path(chosen))


def _is_upload(context: Context, place: str) -> bool:
    path = Path(place) if place and "\0" not in place else None
    return (
        path is not None
        and path.suffix in ZIP
        and is_inside(path, context.workspace.uploads)
        and path.is_file()
    )


def task_of(context: Context, name: str) -> str:
    """Return the kind of task of a run's model; empty if it cannot be told."""
    try:
        status = context.workspace.open_run(name).status()
    except ProFactoryError:
        return ""
    return str(status.get("task", ""))
