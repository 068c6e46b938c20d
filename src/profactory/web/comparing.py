"""Several runs in one figure and one table."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory.errors import RunError
from profactory.web import charts, markup
from profactory.web.context import QUICK, Context
from profactory.web.standing import list_standings, metrics_of


def build_comparison(context: Context) -> None:
    """Make the folded part of the tab that compares runs."""
    words = context.words
    with gr.Accordion(words("compare.title"), open=False, elem_id="compare") as frame:
        with gr.Row():
            chosen = gr.Dropdown(
                [], multiselect=True, label=words("compare.runs"), elem_id="compare-runs", scale=3
            )
            metric = gr.Dropdown(["loss"], value="loss", label=words("compare.metric"), scale=1)
        plot = gr.Plot(show_label=False, visible=False)
        table = gr.HTML(markup.empty(words("compare.empty"), words("compare.hint")))

    def offer(kept: list[str] | None) -> Any:
        names = [standing.name for standing in list_standings(context.workspace) if standing.summary]
        return gr.update(choices=names, value=[name for name in kept or [] if name in names])

    def show(names: list[str], wanted: str) -> tuple[Any, Any, Any]:
        runs = {name: context.logs.of(context.workspace.runs / name).read() for name in names or []}
        metrics = _metrics(runs)
        shown = wanted if wanted in metrics else metrics[0]
        figure = charts.comparison_chart(runs, shown, words)
        return (
            gr.update(choices=[(words.metric(name), name) for name in metrics], value=shown),
            gr.update(visible=figure is not None, value=figure),
            _table(context, names or []),
        )

    frame.expand(offer, chosen, chosen, **QUICK)
    chosen.focus(offer, chosen, chosen, **QUICK)
    gr.on([chosen.change, metric.input], show, [chosen, metric], [metric, plot, table], **QUICK)


def _metrics(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    found = [
        name
        for events in runs.values()
        for event in events
        if event.get("event") == "evaluation"
        for name in event.get("metrics") or {}
    ]
    return list(dict.fromkeys(["loss", *found]))


def _table(context: Context, names: list[str]) -> str:
    words = context.words
    if not names:
        return markup.empty(words("compare.empty"), words("compare.hint"))
    rows = []
    for name in names:
        try:
            config = context.workspace.open_run(name).status()
        except RunError:
            continue
        metrics = metrics_of(context.workspace.runs / name)
        measured = metrics.get(metrics.get("main_split", ""), {})
        rows.append(
            (name, config, {key: entry["value"] for key, entry in measured.items() if "value" in entry})
        )
    metric_names = list(dict.fromkeys(key for *_, values in rows for key in values))
    # Runs side by side: there are more metrics than a line has room for.
    lines = [
        [words(f"runs.column_{key}"), *(config.get(key) for _, config, _ in rows)]
        for key in ("model", "method")
    ]
    lines += [[words.metric(key), *(values.get(key) for *_, values in rows)] for key in metric_names]
    head = ["", *(name for name, *_ in rows)]
    return markup.table(head, lines, numbers=range(1, len(head)))
