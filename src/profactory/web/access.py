"""Who may use the page, and what the browser may do with it.

On the loopback address the page is open, as a terminal of the same user would be. Elsewhere every request
needs the token: once as ``?token=...`` or typed into the form, then as a cookie that scripts cannot read.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from profactory.errors import ConfigError
from profactory.web.quota import COOKIE as VISITOR
from profactory.web.quota import Quota, is_upload, new_visitor
from profactory.web.words import Words, preferred_language
from profactory.web.workspace import is_inside

COOKIE = "profactory_token"
TOKEN_BYTES = 16  # 128 bits
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BACK_OFF = 60.0
FREE_TRIES = 3
#: Parts of Gradio that this page does not use and that would widen what can be asked of it.
CLOSED = re.compile(
    r"/(?:en|zh)/(?:gradio_api/)?(?:proxy=|vibe-|undo-vibe|run-history|(?:info|openapi\.json|runs|dev|token|app_id|"
    r"process_recording|profiling|deep_link|call|api|component_server|stream|startup-events|monitoring|svelte|config|"
    r"login|logout|custom_component)(?:/|$))"
)
#: Endpoints that hand data to a handler of the page.
HANDLERS = re.compile(r"/gradio_api/(?:run/|queue/join)")
MOST_BODY = 4 << 20
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}


def check_token(host: str, token: str | None) -> str:
    """Return the token that is needed at `host`: the one given, a new one, or none on the loopback address.

    Raises
    ------
    ConfigError
        The token given is too short to resist guessing.
    """
    if token is None:
        return "" if host in LOOPBACK else secrets.token_urlsafe(TOKEN_BYTES)
    if len(token) < 16:
        raise ConfigError(
            "The token is too short.",
            expected="at least 16 characters that cannot be guessed",
            fix="leave --token out: a token is made and printed",
        )
    return token


@dataclass
class BackOff:
    """Longer and longer pauses after wrong tokens, by address."""

    clock: Callable[[], float] = time.monotonic
    failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def wait(self, address: str) -> float:
        """Return for how many seconds the address must not try again."""
        count, last = self.failures.get(address, (0, 0.0))
        pause = 0.0 if count < FREE_TRIES else min(MAX_BACK_OFF, 2.0 ** (count - FREE_TRIES))
        return max(0.0, last + pause - self.clock())

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        self.failures[address] = (self.failures.get(address, (0, 0.0))[0] + 1, self.clock())

    def passed(self, address: str) -> None:
        """Forget the address's failures."""
        self.failures.pop(address, None)


class Gate:
    """ASGI middleware: token, closed endpoints, headers that tie the page to its own origin.

    Parameters
    ----------
    app
        What lies behind.
    token
        Token to be shown; empty for none.
    uploads
        Folder of the files that were uploaded: the only ones that a request may name.
    prefix
        Path under which a proxy serves the page; for the cookies.
    quota
        How much each visitor may upload; None for no limit.
    """

    def __init__(
        self, app: ASGIApp, token: str, uploads: Path, prefix: str = "", quota: Quota | None = None
    ) -> None:
        self.app, self.token, self.uploads, self.prefix, self.quota = app, token, uploads, prefix, quota
        self.back_off = BackOff()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = self._refusal(request) or await self._at_the_door(request)
        if answer is None and HANDLERS.search(request.url.path):
            answer, receive = await self._inspected(request)
        if answer is None and self.quota and is_upload(request):
            answer, receive = self.quota.refusal(request), self.quota.counting(request)
        await (answer or self.app)(scope, receive, _with_headers(send, self._visitor_cookie(request)))

    def _visitor_cookie(self, request: Request) -> str:
        """Return the header that gives a browser its name, if it has none and asks for a page."""
        if self.quota is None or VISITOR in request.cookies or not _wants_page(request):
            return ""
        return f"{VISITOR}={new_visitor()}; Path={self.prefix or '/'}; HttpOnly; SameSite=strict"

    def _refusal(self, request: Request) -> Response | None:
        """Refuse closed endpoints, and what another web site makes the visitor's browser send."""
        if CLOSED.match(_inner_path(request)):
            return PlainTextResponse("Not Found", 404)
        hosts = {request.headers.get(name, "") for name in ("host", "x-forwarded-host")} - {""}
        origin = request.headers.get("origin")
        if origin and request.method not in ("GET", "HEAD") and urlsplit(origin).netloc not in hosts:
            return PlainTextResponse("This request comes from another site.", 403)
        if not self.token and any(urlsplit(f"//{host}").hostname not in LOOPBACK for host in hosts):
            return PlainTextResponse("Under another name than localhost, start with --token.", 421)
        return None

    async def _inspected(self, request: Request) -> tuple[Response | None, Receive]:
        """Refuse data for a handler that name a file which was not uploaded, or an address to be fetched."""
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                return PlainTextResponse("Too much.", 413), request.receive
        try:
            named = list(_files_named(json.loads(body or b"null")))
        except (ValueError, RecursionError):
            return PlainTextResponse("This is not JSON.", 400), request.receive
        if not all(is_inside(Path(name), self.uploads) for name in named):
            return PlainTextResponse("This file was not uploaded.", 403), request.receive
        return None, _replay(body, request.receive)

    async def _at_the_door(self, request: Request) -> Response | None:
        """Return None for who may enter, else the form or the redirection after it."""
        if not self.token or self._matches_cookie(request.cookies.get(COOKIE, "")):
            return None
        shown = request.query_params.get("token", "")
        if request.method == "POST" and request.url.path.endswith("/enter"):
            shown = parse_qs((await request.body())[:4096].decode("utf-8", "replace")).get("token", [""])[0]
        address = request.client.host if request.client else ""
        wait = self.back_off.wait(address)
        if wait > 0:
            return PlainTextResponse(
                "Too many wrong tokens.", 429, headers={"Retry-After": str(int(wait) + 1)}
            )
        if shown and hmac.compare_digest(shown.encode(), self.token.encode()):
            self.back_off.passed(address)
            return self._welcome(request)
        if shown:
            self.back_off.failed(address)
        return self._form(request, wrong=bool(shown))

    def _matches_cookie(self, cookie: str) -> bool:
        return hmac.compare_digest(cookie.encode(), _fingerprint(self.token).encode())

    def _welcome(self, request: Request) -> Response:
        """Set the cookie and take the token out of the address."""
        kept = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        path = "./" if request.method == "POST" else request.url.path.rsplit("/", 1)[-1] or "./"
        answer = RedirectResponse(path + (f"?{urlencode(kept)}" if kept else ""), 303)
        answer.set_cookie(
            COOKIE,
            _fingerprint(self.token),
            httponly=True,
            samesite="strict",
            secure=request.headers.get("x-forwarded-proto", request.url.scheme) == "https",
            path=self.prefix or "/",
        )
        return answer

    def _form(self, request: Request, *, wrong: bool) -> Response:
        language = preferred_language(
            request.cookies.get("profactory_language"), request.headers.get("accept-language", "")
        )
        if not _wants_page(request):
            return PlainTextResponse("A token is needed.", 401)
        words = Words(language)
        page = files("profactory.web").joinpath("enter.html").read_text(encoding="utf-8")
        texts = {name: words(f"enter.{name}") for name in ("title", "hint", "label", "button")}
        texts |= {"language": language, "wrong": words("enter.wrong") if wrong else ""}
        for name, text in texts.items():
            page = page.replace(f"%{name}%", html.escape(text))
        return HTMLResponse(page, 401)


def _files_named(value: Any) -> Iterator[str]:
    """Yield the path in everything that Gradio would take for a file."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        for inner in value.values():
            yield from _files_named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _files_named(inner)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a stream that gives a body which was read already, and then what comes after it."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _fingerprint(token: str) -> str:
    """What the cookie holds: knowing it does not tell the token."""
    return hashlib.sha256(b"profactory page " + token.encode()).hexdigest()


def _inner_path(request: Request) -> str:
    """Return the path as the page sees it, without the prefix of a proxy."""
    return str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _with_headers(send: Send, cookie: str = "") -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if cookie:
                headers.append("Set-Cookie", cookie)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers
