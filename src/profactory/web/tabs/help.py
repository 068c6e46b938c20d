"""Help: questions and answers, and what the doctor says of this machine."""

from __future__ import annotations

from typing import Any

import gradio as gr

from profactory.errors import ProFactoryError
from profactory.web import markup
from profactory.web.commands import ask
from profactory.web.context import ONCE, QUICK, Context, Shared
from profactory.web.helping import show_questions
from profactory.web.sentences import said
from profactory.web.words import Words

GO = """
element.addEventListener('click', (e) => {
  const button = e.target.closest('[data-tab]');
  if (button) trigger('go', {tab: button.dataset.tab});
});
"""


def build(context: Context, shared: Shared) -> None:
    """Make the tab."""
    words = context.words
    questions = gr.HTML(show_questions(words), js_on_load=GO, elem_id="help-questions")
    with gr.Accordion(words("help.doctor"), open=False, elem_id="help-doctor-frame"):
        start = gr.Button(words("help.doctor_start"), elem_id="help-doctor")
        report = gr.HTML(elem_id="help-report")

    def examine() -> str:
        try:
            return _findings(ask("doctor", ["--quick"]), words)
        except ProFactoryError as error:
            return markup.problem(error, words)

    questions.go(_chosen, None, shared.tabs, **QUICK)
    start.click(examine, None, report, concurrency_limit=1, **ONCE)


def _chosen(event: gr.EventData) -> Any:
    return gr.update(selected=str(event.tab))


def _findings(found: dict[str, Any], words: Words) -> str:
    marks = {"ok": "✓", "absent": "⊘", "broken": "✗"}
    columns = ["name", "detail"] + ["fix"] * any(entry["fix"] for entry in found["findings"])
    rows = [
        [marks.get(entry["state"], "?"), *(said(entry[key], words) for key in columns)]
        for entry in found["findings"]
    ]
    head = ["", words("help.what"), words("help.found"), words("error.fix")][: 1 + len(columns)]
    kind, key = ("good", "help.well") if found["ok"] else ("bad", "help.unwell")
    return markup.note(words(key), kind=kind) + markup.table(head, rows, kind="pf-text")
