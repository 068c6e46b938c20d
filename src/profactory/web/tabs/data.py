"""Data: look at a table, check it, mend it, divide it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from profactory.errors import ConfigError, ProFactoryError
from profactory.jobs import as_flags
from profactory.runs.listing import run_name
from profactory.web import checked, markup, tables
from profactory.web.commands import ask
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.form import make_control, read_form
from profactory.web.picking import choose_data, column_names, data_picker

COLUMNS = ("sequence_column", "label_column", "split_column", "task")
DIVISION = {"split": "method", "split_ratios": "ratios", "split_identity": "identity", "seed": "seed"}
SLOW: dict[str, Any] = {"concurrency_limit": 2, **ONCE}


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    workspace, words = context.workspace, context.words
    picker = data_picker(workspace, words, name="data")
    look = gr.HTML(markup.empty(words("data.empty"), words("data.empty_hint")), elem_id="data-preview")
    with gr.Accordion(words("data.columns"), open=False), gr.Row(elem_classes="pf-grid"):
        columns = {name: make_control(name, words) for name in COLUMNS}
    with gr.Row(elem_classes="pf-actions"):
        check = gr.Button(words("data.check"), variant="primary", elem_id="data-check")
        fix = gr.Button(words("data.fix"), elem_id="data-fix")
        use = gr.Button(words("data.use"), elem_id="data-use")
    report = gr.HTML(elem_id="data-report")
    with gr.Row():
        labels = gr.Plot(show_label=False, visible=False, min_width=320, elem_id="data-labels")
        lengths = gr.Plot(show_label=False, visible=False, min_width=320, elem_id="data-lengths")
    with gr.Accordion(words("data.divide"), open=False):
        with gr.Row(elem_classes="pf-grid"):
            division = {name: make_control(name, words) for name in DIVISION}
        with gr.Row(elem_classes="pf-actions"):
            divide = gr.Button(words("data.divide_start"), elem_id="data-divide")
    made = gr.HTML(elem_id="data-made")
    relatives = gr.Plot(show_label=False, visible=False, elem_id="data-relatives")

    def show(source: str | None) -> list[Any]:
        hidden = gr.update(visible=False)
        old = ["", hidden, hidden]  # the report on the data before
        if not source:
            return [gr.skip(), *old, *[gr.skip()] * len(COLUMNS)]
        try:
            shown = tables.preview(workspace.check_data(source), words)
        except ProFactoryError as error:
            return [markup.problem(error, words), *old, *[gr.skip()] * len(COLUMNS)]
        found = column_names(workspace, source)
        return [shown, *old, *(gr.update(choices=found) if name != "task" else gr.skip() for name in COLUMNS)]

    def look_closely(source: str | None, *values: Any) -> tuple[str, Any, Any]:
        hidden = gr.update(visible=False)
        try:
            found = ask("check", [workspace.check_data(source or ""), *_flags(COLUMNS, values)])
        except ProFactoryError as error:
            return markup.problem(error, words), hidden, hidden
        bars = checked.label_chart(found, words)
        shown = gr.update(visible=True, value=checked.length_chart(found, words))
        return checked.summary(found, words), gr.update(visible=bars is not None, value=bars), shown

    def mend(source: str | None, *values: Any) -> tuple[str, Any, Any]:
        flags = _flags(COLUMNS, values)
        _, said, chosen = _make(
            context,
            source,
            "clean",
            lambda out: ask("check", [workspace.check_data(source or ""), *flags, "--fix", f"--out={out}"]),
        )
        return said, chosen, gr.update(visible=False)

    def split(source: str | None, *values: Any) -> tuple[str, Any, Any]:
        def work(out: Path) -> Any:
            asked = read_form(dict(zip((*COLUMNS, *DIVISION), values, strict=True)))
            names = {DIVISION.get(name, name): value for name, value in asked.items()}
            return ask("split", [workspace.check_data(source or ""), f"--out={out}", *as_flags(names)])

        report, said, chosen = _make(context, source, "divided", work)
        if report is None:
            return said, chosen, gr.update(visible=False)
        figure = checked.relatives_chart(report, words)
        return (
            said + checked.division(report, words),
            chosen,
            gr.update(visible=figure is not None, value=figure),
        )

    controls = [picker.choice, *columns.values()]
    shown = [look, report, labels, lengths, *columns.values()]
    picker.choice.change(show, picker.choice, shown, **QUICK)
    check.click(look_closely, controls, [report, labels, lengths], **SLOW)
    fix.click(mend, controls, [made, picker.choice, relatives], **SLOW)
    divide.click(split, [*controls, *division.values()], [made, picker.choice, relatives], **SLOW)
    use.click(
        lambda source: (source or "", gr.update(selected="train")),
        picker.choice,
        [shared.data, shared.tabs],
        **QUICK,
    )


def _flags(names: tuple[str, ...], values: tuple[Any, ...]) -> list[str]:
    return as_flags(read_form(dict(zip(names, values, strict=True))))


def _make(
    context: Context, source: str | None, what: str, work: Callable[[Path], Any]
) -> tuple[Any, str, Any]:
    """Let a command write files; return its report, HTML that shows them, and the data to be chosen.

    The folder is called after the data and what was done, and so is a run that is trained on them.
    """
    workspace, words = context.workspace, context.words
    try:
        if not source:
            raise ConfigError("No data were chosen.", fix=words("data.empty_hint"))
        out = workspace.new_result() / run_name(source, what, "")
        report = work(out)
    except ProFactoryError as error:
        return None, markup.problem(error, words), gr.skip()
    names = sorted(file.name for file in out.iterdir() if file.is_file() and not file.name.startswith("."))
    place = f"../results/{out.parent.name}/{out.name}"
    links = [markup.link(f"{place}/{name}", name, download=True) for name in names]
    data = out / "clean.csv" if (out / "clean.csv").is_file() else out
    note = markup.note(words("data.made"), kind="good")
    return report, note + markup.links(links), choose_data(workspace, words, str(data))
