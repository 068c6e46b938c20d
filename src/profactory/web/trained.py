"""The trained models that can be used: those of finished runs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory.errors import NotARunError, ProFactoryError
from profactory.web.context import QUICK, Context, Shared
from profactory.web.standing import list_standings


def model_picker(context: Context, shared: Shared, *, tab: str) -> gr.Dropdown:
    """Make the control that chooses a finished run; the one that is open in Runs comes first."""
    words = context.words
    picker = gr.Dropdown(
        [],
        value=None,
        label=words("use.run"),
        info=words("use.run_help"),
        elem_id=f"{tab}-run",
        interactive=True,
    )

    def offer(visible: str, opened: str, chosen: str | None) -> Any:
        if visible != tab:
            return gr.skip()
        names = finished_runs(context)
        value = next((name for name in (chosen, opened, *names) if name in names), None)
        return gr.update(choices=names, value=value)

    shared.visible.change(offer, [shared.visible, shared.opened, picker], picker, **QUICK)
    return picker


def finished_runs(context: Context) -> list[str]:
    """Return the names of the runs that have a model, newest first."""
    folder = context.workspace.runs
    return [
        s.name
        for s in list_standings(context.workspace)
        if (folder / s.name / "model" / "config.json").is_file()
    ]


def check_run(context: Context, name: str | None) -> str:
    """Return the path of a run's model as it is typed; NotARunError if none was chosen."""
    if not name or name not in finished_runs(context):
        raise NotARunError(
            "No trained model was chosen." if not name else f"The run {name} has no finished model.",
            fix="choose a finished run, or train one first",
        )
    return str(context.workspace.run_path(name))


def task_of(context: Context, name: str) -> str:
    """Return the kind of task of a run's model; empty if it cannot be told."""
    try:
        status = context.workspace.open_run(name).status()
    except ProFactoryError:
        return ""
    return str(status.get("task", ""))
