"""The server: one page per language behind one gate."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import webbrowser
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlencode

from profactory.errors import ConfigError, MissingExtraError
from profactory.web.lean import lean_import

try:
    with lean_import():
        import fastapi
        import gradio as gr
        import uvicorn
        from gradio.utils import get_upload_folder
except ImportError as error:
    raise MissingExtraError("The web page", "ui") from error

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from profactory.web.access import Gate, check_token
from profactory.web.context import Context
from profactory.web.downloads import offer_results, offer_runs, offer_structures, offer_viewer
from profactory.web.page import LOGO, build_page
from profactory.web.pages import Pages
from profactory.web.quota import Quota
from profactory.web.theme import SCRIPT, STYLE, make_theme
from profactory.web.watching import EventLogs
from profactory.web.words import LANGUAGES, Words, preferred_language
from profactory.web.workspace import Workspace

UPLOAD_MEGABYTES = 200
#: One visitor may upload so many times the largest file in a day.
UPLOADS_A_DAY = 5
COOKIE_SECONDS = 365 * 24 * 3600


def make_app(
    workspace: Workspace,
    *,
    token: str = "",
    prefix: str = "",
    upload_megabytes: int = UPLOAD_MEGABYTES,
    languages: Iterable[str] = LANGUAGES,
) -> fastapi.FastAPI:
    """Put the page together.

    Parameters
    ----------
    workspace
        The folders that it may touch.
    token
        Needed for every request; empty for none.
    prefix
        Path under which a proxy serves the page, such as ``/profactory``.
    upload_megabytes
        Largest file that may be uploaded.
    languages
        In which the page is put together now; in another when somebody asks for it.
    """
    pages = Pages(_builder(workspace, upload_megabytes))
    app = _bare_app(pages)
    app.add_route("/", _to_language)
    app.add_route("/language/{language}", _choose_language)
    app.add_route("/alive", _say_alive())
    app.add_route("/manifest.json", lambda _: JSONResponse({"name": "ProFactory", "icons": []}))
    app.add_route("/favicon.ico", lambda _: Response(LOGO, media_type="image/svg+xml"))
    app.add_route("/files/{run}/{path:path}", offer_runs(workspace))
    app.add_route("/results/{path:path}", offer_results(workspace))
    app.add_route("/structures/{path:path}", offer_structures(workspace))
    app.add_route("/viewer.js", offer_viewer)
    app.mount("/", pages)
    for language in languages:
        pages.make(language)
    quota = Quota((upload_megabytes << 20) * UPLOADS_A_DAY)
    app.add_middleware(Gate, token=token, uploads=Path(get_upload_folder()), prefix=prefix, quota=quota)
    return app


def _bare_app(pages: Pages | None = None) -> fastapi.FastAPI:
    lifespan = pages.lifespan if pages else None
    return fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)


def _builder(workspace: Workspace, upload_megabytes: int) -> Callable[[str], fastapi.FastAPI]:
    """Return what puts the page in a language together."""
    logs = EventLogs()

    def build(language: str) -> fastapi.FastAPI:
        page = build_page(Context(workspace, Words(language), logs))
        app: fastapi.FastAPI = gr.mount_gradio_app(
            _bare_app(),
            page,
            path=f"/{language}",
            max_file_size=upload_megabytes << 20,
            theme=make_theme(),
            css=STYLE.read_text(encoding="utf-8"),
            head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            show_error=False,
        )
        # Else Gradio takes files of any path for uploads: it looks only at launched pages.
        page.has_launched = True
        return app

    return build


def serve(
    workspace: Workspace,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    prefix: str = "",
    upload_megabytes: int = UPLOAD_MEGABYTES,
    open_browser: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until interrupted.

    Parameters
    ----------
    workspace, prefix, upload_megabytes
        As for :func:`make_app`.
    host, port
        Where to listen; at port 0 a free one is taken.
    token
        What visitors must show. If None, one is made and printed unless `host` is the loopback address.
    open_browser
        Open the page in the browser of this machine.
    say
        Told where the page is.

    Raises
    ------
    ConfigError
        The address cannot be used, or the token is too short.
    """
    needed = check_token(host, token)
    listener = _listen(host, port)
    workspace.runs.mkdir(parents=True, exist_ok=True)
    workspace.forget_uploads()
    with tempfile.TemporaryDirectory(prefix="profactory-ui-") as folder:
        # Where Gradio keeps what was uploaded until a button is pressed.
        os.environ["GRADIO_TEMP_DIR"] = folder
        likely = preferred_language(None, os.environ.get("LC_ALL") or os.environ.get("LANG", ""))
        app = make_app(
            workspace, token=needed, prefix=prefix, upload_megabytes=upload_megabytes, languages=[likely]
        )
        where = _address(host, listener.getsockname()[1], needed, prefix)
        say(where)
        if open_browser:
            webbrowser.open(where)
        settings = uvicorn.Config(
            app, log_level="warning", root_path=prefix, timeout_graceful_shutdown=1, server_header=False
        )
        uvicorn.Server(settings).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"The page cannot listen at {host}:{port}: {error}.",
            expected="an address of this machine and a free port",
            fix="choose another --port (0 takes a free one), or stop what listens there",
        ) from error


def _address(host: str, port: int, token: str, prefix: str) -> str:
    name = host if host not in ("0.0.0.0", "::") else socket.gethostname()  # noqa: S104 - said, not bound
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}{prefix}/" + (f"?{urlencode({'token': token})}" if token else "")


async def _to_language(request: Request) -> Response:
    """Send a visitor to the page in their language; relative, so that it works behind any prefix."""
    chosen = request.cookies.get("profactory_language")
    language = preferred_language(chosen, request.headers.get("accept-language", ""))
    return RedirectResponse(f"./{language}/" + (f"?{request.url.query}" if request.url.query else ""))


async def _choose_language(request: Request) -> Response:
    """Remember the language in this browser."""
    language = request.path_params["language"]
    if language not in LANGUAGES:
        return RedirectResponse("../")
    query = f"?{request.url.query}" if request.url.query else ""
    answer = RedirectResponse(f"../{language}/{query}")
    answer.set_cookie("profactory_language", language, max_age=COOKIE_SECONDS, samesite="lax", httponly=True)
    return answer


def _say_alive() -> Callable[[Request], Response]:
    """Return an endpoint that tells one start of the server from another."""
    name = secrets.token_hex(8)

    def alive(request: Request) -> Response:
        return JSONResponse({"server": name}, headers={"Cache-Control": "no-store"})

    return alive
