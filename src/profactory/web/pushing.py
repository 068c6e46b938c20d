"""A trained model goes to the Hugging Face Hub; the token is handed to the process and written nowhere."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from profactory import jobs
from profactory.errors import ConfigError, ProFactoryError
from profactory.jobs import Job
from profactory.sharing.hub import REPOSITORY
from profactory.web import markup
from profactory.web.board import Result, build_board
from profactory.web.context import ONCE, Context, Shared
from profactory.web.trained import check_run
from profactory.web.watching import tail

_TOKEN = re.compile(r"[\x21-\x7e]{1,500}")
_ADDRESS = re.compile(r"^pushed: (?P<address>https?://[\w.:/-]+)$", re.MULTILINE)


def build_push(context: Context, shared: Shared, picker: gr.Dropdown) -> None:
    """Make the folded part of the tab Share that pushes.

    Parameters
    ----------
    context, shared
        Of the page.
    picker
        Chooses the run.
    """
    words = context.words
    with gr.Row(elem_classes="pf-end"):
        place = gr.Textbox(
            label=words("push.place"), placeholder="user/name", elem_id="push-place", max_length=200, scale=3
        )
        token = gr.Textbox(
            label=words("push.token"),
            info=words("push.token_help"),
            type="password",
            html_attributes=gr.InputHTMLAttributes(autocomplete="off"),
            elem_id="push-token",
            scale=3,
        )
        private = gr.Checkbox(True, label=words("push.private"), elem_id="push-private", scale=2)
        start = gr.Button(words("push.start"), elem_id="push-start", scale=1, min_width=140)
    trouble, opened = gr.HTML(elem_id="push-trouble"), gr.Textbox(visible="hidden")

    def begin(run: str | None, repository: str, secret: str, private: bool) -> tuple[str, Any, str]:
        try:
            model, repository = check_run(context, run), check_repository(repository)
            arguments = [model, repository, *(["--private"] if private else [])]
            job = jobs.start("push", arguments, run=model, environment=variables_of(secret))
        except ProFactoryError as error:
            return markup.problem(error, words), gr.skip(), ""
        return "", job.name, ""

    start.click(
        begin,
        [picker, place, token, private],
        [trouble, opened, token],
        show_progress="hidden",
        **ONCE,
    )
    build_board(
        context,
        shared,
        tab="share",
        verb="push",
        opened=opened,
        make_result=lambda: _result(context),
        name="push",
    )


def check_repository(name: str) -> str:
    """Return the name of a repository; ConfigError if it is none."""
    found = REPOSITORY.fullmatch(name.strip())
    if found is None or found["revision"]:
        raise ConfigError(
            f"{name.strip()!r} is no name of a repository.",
            expected="user/name, such as lab/solubility",
            fix="write your name on the Hub, a slash, and a name for the model",
        )
    return name.strip()


def variables_of(secret: str) -> dict[str, str]:
    """Return the environment that hands a token to the process; none where it has its own.

    Raises
    ------
    ConfigError
        It is no token. It is not repeated in the message.
    """
    clean = secret.strip()
    if clean and not _TOKEN.fullmatch(clean):
        raise ConfigError(
            "That is no token: it has spaces or other characters that no token has.",
            expected="a token with write access, as huggingface.co/settings/tokens shows it",
        )
    return {"HF_TOKEN": clean} if clean else {}


def _result(context: Context) -> Result:
    shown = gr.HTML(elem_id="push-result")

    def tell(job: Job | None) -> list[Any]:
        found = _ADDRESS.search(tail(job.log)) if job else None
        if job is None or found is None:
            return [""]
        said = context.words("push.done", name=job.arguments[1])
        link = markup.link(found["address"], found["address"])
        return [markup.note(said, kind="good") + markup.links([link])]

    return Result([shown], tell)
