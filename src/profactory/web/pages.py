"""The page in each language, put together when it is first asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from profactory.web.lean import no_collection
from profactory.web.words import LANGUAGES


class Pages:
    """ASGI application that hands ``/<language>/…`` to the page in that language.

    Gradio needs most of a second to put a page together, and most visitors look at one language only.

    Parameters
    ----------
    build
        Makes the application of a language; it answers below ``/<language>``.
    """

    def __init__(self, build: Callable[[str], FastAPI]) -> None:
        self._build = build
        self._made: dict[str, FastAPI] = {}
        self._open: dict[str, FastAPI] = {}
        self._lock = asyncio.Lock()
        self._closing = contextlib.AsyncExitStack()

    def make(self, language: str) -> FastAPI:
        """Put the page in a language together, if it is not yet."""
        if language not in self._made:
            with no_collection():
                self._made[language] = self._build(language)
        return self._made[language]

    @contextlib.asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """End the pages that were opened when the server ends."""
        async with self._closing:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        language = scope["path"].removeprefix(scope.get("root_path", "")).split("/")[1:2]
        if scope["type"] != "http" or language[0] not in LANGUAGES:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
            return
        async with self._lock:
            page = self._open.get(language[0]) or await self._start(language[0])
        await page(scope, receive, send)

    async def _start(self, language: str) -> FastAPI:
        page = self.make(language)
        await self._closing.enter_async_context(page.router.lifespan_context(page))
        self._open[language] = page
        return page
