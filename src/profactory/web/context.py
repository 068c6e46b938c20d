"""What every tab of one page is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from profactory.web.watching import EventLogs
from profactory.web.words import Words
from profactory.web.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """What every tab of one page is given.

    Parameters
    ----------
    workspace
        The folders of the page.
    words
        Its texts.
    logs
        Events of runs, shared by all visitors.
    """

    workspace: Workspace
    words: Words
    logs: EventLogs


@dataclass(frozen=True)
class Shared:
    """What the tabs of one page have in common.

    Parameters
    ----------
    tabs
        The row of tabs, to change to another one.
    opened
        Name of the run that is open; of one visitor.
    visible
        Identifier of the tab in front; of one visitor.
    data
        Data that another tab has chosen for training.
    """

    tabs: gr.Tabs
    opened: gr.Textbox
    visible: gr.Textbox
    data: gr.Textbox


#: No handler is offered to programs, which have the command line and Python; describing them all would
#: double what a browser has to load.
PAGE_ONLY: dict[str, Any] = {"api_visibility": "private"}
#: Handlers that only read are not queued behind those that work.
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", **PAGE_ONLY}
#: Handlers that work: pressed twice, they do it once.
ONCE: dict[str, Any] = {"trigger_mode": "once", **PAGE_ONLY}
