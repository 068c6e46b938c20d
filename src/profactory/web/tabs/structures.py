"""Structures: the chains of a file, their strings, and a chain in three dimensions."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory.errors import DataError, ProFactoryError
from profactory.structure.viewing import TABLE
from profactory.web import markup
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.residues import painted
from profactory.web.structure_picking import structure_picker
from profactory.web.structures import (
    DRAW,
    chain_table,
    chains_of,
    colour_chain,
    colourings_of,
    find_chain,
    predict_chain,
    strings_of,
    viewer,
)
from profactory.web.trained import check_run, model_picker


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    workspace, words = context.workspace, context.words
    picker = structure_picker(context, name="structures")
    table = gr.HTML(
        markup.empty(words("structures.empty"), words("structures.empty_hint")), elem_id="structures-table"
    )
    with gr.Column(visible=False) as frame:
        with gr.Row(elem_classes="pf-end"):
            by = gr.Dropdown([], label=words("structures.by"), elem_id="structures-by", scale=2)
            run = model_picker(context, shared, tab="structures", residues=True)
            go = gr.Button(words("structures.predict"), elem_id="structures-predict", scale=1, min_width=160)
        trouble = gr.HTML(elem_id="structures-trouble")
        scene = gr.HTML(js_on_load=DRAW, elem_id="structures-viewer")
        letters = gr.HTML(elem_id="structures-letters")
        strings = gr.HTML(elem_id="structures-strings")
    predicted = gr.State({})

    def arrive(view: str) -> tuple[str, Any]:
        rows = chains_of(workspace, view)
        if not rows:
            empty = markup.empty(words("structures.empty"), words("structures.empty_hint"))
            return empty, gr.update(visible=False)
        file = markup.link(f"../structures/{view}/{TABLE}", words("structures.download"), download=True)
        return chain_table(rows, words) + markup.links([file]), gr.update(visible=True)

    def offer(view: str, chain: str | None, chosen: str | None, known: dict[str, str]) -> Any:
        row = find_chain(chains_of(workspace, view), chain)
        if row is None:
            return gr.skip()
        names = colourings_of(row) + [p for p in ("prediction",) if f"{view}/{row['chain']}" in known]
        choices = [(words(f"structures.by_{name}"), name) for name in names]
        best = "plddt" if "plddt" in names else "ss3"
        return gr.update(choices=choices, value=chosen if chosen in names else best)

    def draw(view: str, chain: str | None, by: str | None, known: dict[str, str]) -> tuple[str, str, str]:
        rows = chains_of(workspace, view)
        row = find_chain(rows, chain)
        if row is None:
            return "", "", ""
        colouring = colour_chain(row, by or "ss3", words, known.get(f"{view}/{row['chain']}", ""))
        shown = viewer(rows, row, view, colouring, words)
        return shown, painted(row["sequence"], colouring), strings_of(row, words)

    def predict(view: str, chain: str | None, run: str | None, known: dict[str, str]) -> tuple[Any, Any, str]:
        try:
            row = find_chain(chains_of(workspace, view), chain)
            if row is None:
                raise DataError("No structure was chosen.", fix=words("structures.empty_hint"))
            found = predict_chain(workspace, check_run(context, run), view, row)
        except ProFactoryError as error:
            return gr.skip(), gr.skip(), markup.problem(error, words)
        known = {**known, f"{view}/{row['chain']}": str(found["prediction"])}
        names = [*colourings_of(row), "prediction"]
        choices = [(words(f"structures.by_{name}"), name) for name in names]
        return known, gr.update(choices=choices, value="prediction"), ""

    seen = [picker.view, picker.chain]
    picker.view.change(arrive, picker.view, [table, frame], **QUICK)
    gr.on(
        [picker.view.change, picker.chain.change],
        offer,
        [*seen, by, predicted],
        by,
        trigger_mode="always_last",
        **QUICK,
    )
    gr.on(
        [picker.view.change, picker.chain.change, by.change, predicted.change],
        draw,
        [*seen, by, predicted],
        [scene, letters, strings],
        trigger_mode="always_last",
        **QUICK,
    )
    go.click(predict, [*seen, run, predicted], [predicted, by, trouble], concurrency_limit=2, **ONCE)
