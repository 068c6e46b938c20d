"""Small pieces of HTML. Whatever comes from data passes :func:`safe` exactly once."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from profactory.data.checking_text import printable
from profactory.errors import SHOWN_PROBLEMS, ProFactoryError, read_message
from profactory.evaluation.formats import number
from profactory.web.sentences import problem_line, said
from profactory.web.words import Words


def safe(text: object) -> str:
    """Return text for HTML: marks escaped, control characters and direction overrides made visible."""
    lines = str(text).split("\n")
    return "\n".join(html.escape(printable(line.replace("\t", " "))) for line in lines)


def problem(error: ProFactoryError, words: Words) -> str:
    """Show one of our errors: what was found, what was expected, what to do."""
    items = "".join(f"<li>{safe(problem_line(item, words))}</li>" for item in error.problems[:SHOWN_PROBLEMS])
    if error.not_shown:
        items += f"<li>{safe(words('error.more', count=f'{error.not_shown:,}'))}</li>"
    rows = [(words("error.expected"), error.expected), (words("error.fix"), error.fix)]
    facts = "".join(f"<dt>{safe(name)}</dt><dd>{safe(said(text, words))}</dd>" for name, text in rows if text)
    lead = safe(said(error.found, words))
    body = (f"<ul>{items}</ul>" if items else "") + (f"<dl>{facts}</dl>" if facts else "")
    return f'<div class="pf-note pf-bad" role="alert"><p class="pf-lead">{lead}</p>{body}</div>'


def note(text: str, *, kind: str = "info", detail: str = "") -> str:
    """Show a sentence: ``info``, ``good``, ``warn`` or ``bad``."""
    more = f"<p>{safe(detail)}</p>" if detail else ""
    return f'<div class="pf-note pf-{kind}" role="status"><p class="pf-lead">{safe(text)}</p>{more}</div>'


def ended(reason: str, words: Words, otherwise: str, *, kind: str = "bad", detail: str = "") -> str:
    """Show why a process ended: the error that it printed, in its parts, or a sentence."""
    if "\n  " in reason:
        return problem(read_message(reason), words)
    return note(said(reason, words) or otherwise, kind=kind, detail=detail)


def empty(title: str, hint: str) -> str:
    """Show what a place is for while nothing is there, and what to do next."""
    return f'<div class="pf-empty"><p class="pf-lead">{safe(title)}</p><p>{safe(hint)}</p></div>'


def badge(state: str, words: Words) -> str:
    """Show the state of a run; told by word and shape, not by colour alone."""
    return (
        f'<span class="pf-badge pf-state-{safe(state)}">{safe(words.maybe(f"state.{state}", state))}</span>'
    )


def command(text: str) -> str:
    """Show a command to be typed."""
    return f'<pre class="pf-command"><code>{safe(text)}</code></pre>'


def facts(values: Mapping[str, object]) -> str:
    """Lay out names and values; a value is shown as text."""
    items = "".join(
        f"<div><dt>{safe(name)}</dt><dd>{safe(cell(value))}</dd></div>"
        for name, value in values.items()
        if value not in (None, "")
    )
    return f'<dl class="pf-facts">{items}</dl>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Iterable[int] = (),
    kind: str = "",
) -> str:
    """Lay out a table that scrolls sideways where it is too wide.

    Parameters
    ----------
    head, rows
        Texts, or numbers; escaped here.
    caption
        What the table shows.
    numbers
        Columns to be set flush right.
    kind
        A further class for the style sheet.
    """
    right = set(numbers)
    lines = "".join(
        "<tr>" + "".join(_cell(value, i in right) for i, value in enumerate(row)) + "</tr>" for row in rows
    )
    titles = "".join(_cell(title, i in right, "th") for i, title in enumerate(head))
    about = f"<caption>{safe(caption)}</caption>" if caption else ""
    return (
        f'<div class="pf-scroll"><table class="pf-table {kind}">{about}'
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def cell(value: object) -> str:
    """Return a value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def bar(share: float, label: str) -> str:
    """Show a share of one as a bar with its label."""
    percent = max(0.0, min(100.0, 100 * share))
    return (
        f'<div class="pf-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent:.0f}" aria-label="{safe(label)}">'
        f'<span style="width:{percent:.1f}%"></span></div>'
        f'<p class="pf-small">{safe(label)}</p>'
    )


def link(address: str, text: str, *, download: bool = False) -> str:
    """Show a link within the page's own origin."""
    extra = " download" if download else ' target="_blank" rel="noopener"'
    return f'<a class="pf-link" href="{safe(address)}"{extra}>{safe(text)}</a>'


def links(found: Iterable[str]) -> str:
    """Show links in a row that wraps."""
    return f'<div class="pf-links">{"".join(found)}</div>'


def _cell(value: Any, right: bool, tag: str = "td") -> str:
    extra = ' class="pf-right"' if right else ""
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{extra}{scope}>{safe(cell(value))}</{tag}>"
