"""The page: header, tabs, and what happens when it is opened."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import gradio as gr

from profactory.web.context import QUICK, Context, Shared
from profactory.web.markup import safe
from profactory.web.tabs import data, evaluate, help, predict, runs, share, structures, train
from profactory.web.words import LANGUAGES, Words

TABS = {
    "data": data.build,
    "train": train.build,
    "runs": runs.build,
    "evaluate": evaluate.build,
    "predict": predict.build,
    "structures": structures.build,
    "share": share.build,
    "help": help.build,
}
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40" aria-hidden="true">'
    '<rect width="40" height="40" rx="10" fill="#14776b"/>'
    '<path d="M9 27c4 0 4-14 8-14s4 14 8 14 4-14 8-14" fill="none" stroke="#d5f1ea" stroke-width="3" '
    'stroke-linecap="round"/><circle cx="9" cy="27" r="2.6" fill="#fff"/>'
    '<circle cx="33" cy="13" r="2.6" fill="#fff"/></svg>'
)


def build_page(context: Context) -> gr.Blocks:
    """Return the page in the language of the context."""
    words = context.words
    page = gr.Blocks(title="ProFactory", analytics_enabled=False, delete_cache=(3600, 86400))
    with page:
        gr.HTML(_header(words), elem_id="header")
        # Not states: the browser keeps both in the address of the page.
        opened = gr.Textbox(visible="hidden", elem_id="opened-run")
        visible = gr.Textbox(next(iter(TABS)), visible="hidden", elem_id="visible-tab")
        chosen = gr.Textbox(visible="hidden")
        with gr.Tabs(elem_id="tabs") as tabs:
            shared = Shared(tabs, opened, visible, chosen)
            made = {}
            for name, build in TABS.items():
                with gr.Tab(words(f"{name}.title"), id=name, elem_id=f"tab-{name}") as tab:
                    build(context, shared)
                made[name] = tab
        for name, tab in made.items():
            tab.select(None, None, visible, js=f"() => window.profactory.keep('tab', '{name}')")
        opened.change(None, opened, None, js="(name) => window.profactory.keep('run', name)")
        page.load(_arrive, visible, [tabs, opened, visible], js="() => window.profactory.arrival", **QUICK)
    return page


def _arrive(address: str) -> tuple[Any, Any, Any]:
    """Open the run and the tab that the address named when the page was opened."""
    asked = {name: values[0] for name, values in parse_qs(address.lstrip("?")).items()}
    run, tab = asked.get("run", ""), asked.get("tab", "")
    front = tab if tab in TABS else "runs" if run else ""
    if not front:  # the visitor may have pressed a tab already
        return gr.skip(), gr.skip(), gr.skip()
    return gr.update(selected=front), run, front


def _header(words: Words) -> str:
    links = "".join(
        f'<a href="#" data-language="{key}" lang="{key}" '
        f'aria-current="{str(key == words.language).lower()}">{safe(name)}</a>'
        for key, name in LANGUAGES.items()
    )
    return (
        f'<header class="pf-header"><div class="pf-brand">{LOGO}<div><strong>ProFactory</strong>'
        f"<span>{safe(words('header.claim'))}</span></div></div>"
        f'<nav class="pf-languages" aria-label="{safe(words("header.language"))}">{links}</nav></header>'
    )
