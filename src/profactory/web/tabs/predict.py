"""Predict: one sequence at once, or a table as a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from profactory import jobs
from profactory.errors import DataError, ProFactoryError
from profactory.jobs import Job
from profactory.web import charts, markup, tables
from profactory.web.board import Result, build_board, result_link
from profactory.web.commands import ask
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.form import make_control
from profactory.web.picking import data_picker
from profactory.web.planning import STRUCTURES, structure_flags
from profactory.web.residues import coloured
from profactory.web.structure_picking import structure_picker
from profactory.web.structures import DRAW, Row, chains_of, colour_chain, find_chain, predict_chain, viewer
from profactory.web.trained import any_model_picker, check_model, say_if_none, task_of
from profactory.web.words import Words

MAX_RESIDUES = 20_000
OUTPUT = "predictions.csv"


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    words = context.words
    picker = any_model_picker(context, shared, tab="predict")
    say_if_none(context, shared, tab="predict")
    with gr.Tabs():
        with gr.Tab(words("predict.single")):
            _build_single(context, picker)
        with gr.Tab(words("predict.batch")):
            _build_batch(context, shared, picker)


def _build_single(context: Context, picker: gr.Dropdown) -> None:
    words = context.words
    sequence = gr.Textbox(
        label=words("predict.sequence"),
        placeholder="MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV",
        info=words("predict.sequence_help"),
        lines=4,
        max_length=MAX_RESIDUES + 1000,
        elem_id="predict-sequence",
    )
    with gr.Accordion(words("predict.structure"), open=False):
        given = structure_picker(context, name="predict")
    go = gr.Button(words("predict.go"), variant="primary", elem_id="predict-go")
    answer = gr.HTML(elem_id="predict-answer")
    scene = gr.HTML(js_on_load=DRAW, elem_id="predict-viewer")
    bars = gr.Plot(show_label=False, visible=False, elem_id="predict-bars")

    def predict(model: str | None, text: str, view: str, chain: str | None) -> tuple[str, str, Any]:
        hidden = gr.update(visible=False)
        try:
            place, clean = check_model(context, model).place, clean_sequence(text)
            seen = _Seen.find(context, view, chain, clean)
            record = (
                seen.predict(context, place) if seen else ask("predict", [place, f"--sequence={clean}"])[0]
            )
        except ProFactoryError as error:
            return markup.problem(error, words), "", hidden
        shares = tables.probabilities(record)
        figure = charts.bars(shares, words("predict.probability")) if shares else None
        shown = seen.draw(record, words) if seen and _is_by_residue(record) else ""
        return _answer(record, clean, words), shown, gr.update(visible=figure is not None, value=figure)

    def take(view: str, chain: str | None) -> Any:
        row = find_chain(chains_of(context.workspace, view), chain)
        return row["sequence"] if row else gr.skip()

    seen = [given.view, given.chain]
    gr.on([given.view.change, given.chain.change], take, seen, sequence, trigger_mode="always_last", **QUICK)
    gr.on(
        [go.click, sequence.submit],
        predict,
        [picker, sequence, *seen],
        [answer, scene, bars],
        concurrency_limit=2,
        **ONCE,
    )


@dataclass(frozen=True)
class _Seen:
    """The chain of a structure whose sequence is predicted."""

    view: str
    rows: list[Row]
    row: Row

    @classmethod
    def find(cls, context: Context, view: str, chain: str | None, sequence: str) -> _Seen | None:
        """Return the chain that was chosen if it has that sequence; None otherwise."""
        rows = chains_of(context.workspace, view)
        row = find_chain(rows, chain)
        return cls(view, rows, row) if row and row["sequence"] == sequence.upper() else None

    def predict(self, context: Context, place: str) -> dict[str, Any]:
        return predict_chain(context.workspace, place, self.view, self.row)

    def draw(self, record: dict[str, Any], words: Words) -> str:
        colouring = colour_chain(self.row, "prediction", words, str(record["prediction"]))
        return viewer(self.rows, self.row, self.view, colouring, words)


def clean_sequence(text: str) -> str:
    """Return a sequence without FASTA header and white space; the command names what is no residue.

    Raises
    ------
    DataError
        There is none, or it is too long to type.
    """
    lines = [line for line in (text or "").splitlines() if not line.startswith(">")]
    clean = "".join("".join(lines).split())
    if not clean:
        raise DataError(
            "There is no sequence.", expected="residue letters, such as MKTAYIAKQR", fix="paste a sequence"
        )
    if len(clean) > MAX_RESIDUES:
        raise DataError(
            f"The sequence has {len(clean):,} letters.",
            expected=f"at most {MAX_RESIDUES:,}",
            fix="predict it from a file",
        )
    return clean


def _is_by_residue(record: dict[str, Any]) -> bool:
    """Tell whether there is an item per residue: numbers of residues are text, those of a protein numbers."""
    numbers = [value for name, value in record.items() if name.startswith("probability_")]
    return isinstance((numbers or [record.get("prediction")])[0], str)


def _answer(record: dict[str, Any], sequence: str, words: Words) -> str:
    """Show the prediction of one sequence in full."""
    if _is_by_residue(record):
        return coloured(sequence, record, words)
    shown = {
        words.maybe(f"column.{name}", name): value.replace(",", ", ") if isinstance(value, str) else value
        for name, value in record.items()
        if name != "prediction" and not name.startswith("probability_")
    }
    lead = f'<p class="pf-big">{markup.safe(markup.cell(record.get("prediction")))}</p>'
    title = f'<p class="pf-small">{markup.safe(words("predict.prediction"))}</p>'
    return f'<div class="pf-note pf-good">{title}{lead}{markup.facts(shown)}</div>'


def _build_batch(context: Context, shared: Shared, picker: gr.Dropdown) -> None:
    workspace, words = context.workspace, context.words
    data = data_picker(workspace, words, name="predict")
    look = gr.HTML()
    with gr.Accordion(words("use.structures"), open=False), gr.Row(elem_classes="pf-grid"):
        structures = [make_control(name, words, tab="predict") for name in STRUCTURES]
    with gr.Row(elem_classes="pf-end"):
        tokens = gr.Textbox(
            label=words("predict.tokens"),
            info=words("predict.tokens_help"),
            placeholder=words("form.automatic"),
            elem_id="predict-tokens",
            scale=3,
        )
        start = gr.Button(
            words("predict.start"), variant="primary", elem_id="predict-start", scale=1, min_width=160
        )
    trouble, opened = gr.HTML(), gr.Textbox(visible="hidden")

    def show(source: str | None) -> str:
        try:
            return tables.preview(workspace.check_data(source or ""), words) if source else ""
        except ProFactoryError as error:
            return markup.problem(error, words)

    def begin(run: str | None, source: str | None, size: str, *values: Any) -> tuple[str, Any]:
        try:
            model, checked = check_model(context, run), workspace.check_data(source or "")
            out = workspace.new_result() / OUTPUT
            extra = [f"--tokens-per-batch={int(size)}"] if size.strip() else []
            extra += structure_flags(workspace, dict(zip(STRUCTURES, values, strict=True)))
            job = jobs.start("predict", [model.place, checked, f"--out={out}", *extra], run=model.run)
        except ValueError:
            error = DataError(f"{size!r} is no number of tokens.", fix=words("predict.tokens_help"))
            return markup.problem(error, words), gr.skip()
        except ProFactoryError as error:
            return markup.problem(error, words), gr.skip()
        return "", job.name

    data.choice.change(show, data.choice, look, **QUICK)
    start.click(
        begin,
        [picker, data.choice, tokens, *structures],
        [trouble, opened],
        show_progress="hidden",
        **ONCE,
    )
    build_board(
        context, shared, tab="predict", verb="predict", opened=opened, make_result=lambda: _result(context)
    )


def _result(context: Context) -> Result:
    """Make the controls that show a finished prediction: summary, first rows, the file."""
    words = context.words
    plot = gr.Plot(show_label=False, visible=False, elem_id="predict-summary")
    rows = gr.HTML(elem_id="predict-rows")

    def tell(job: Job | None) -> list[Any]:
        if job is None or not job.result.is_file():
            return [gr.update(visible=False), ""]
        figure = tables.summary_chart(job.result, task_of(context, job.run.name), words)
        link = markup.link(
            result_link(context.workspace, job, OUTPUT), words("predict.download"), download=True
        )
        return [
            gr.update(visible=figure is not None, value=figure),
            tables.preview(str(job.result), words) + markup.links([link]),
        ]

    return Result([plot, rows], tell)
