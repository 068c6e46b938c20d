from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from profactory.web.pages import Pages

happened: list[str] = []


def _build(language: str) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        happened.append(f"{language} opened")
        yield
        happened.append(f"{language} closed")

    happened.append(f"{language} built")
    app = FastAPI(lifespan=lifespan)
    app.add_route(f"/{language}/here", lambda request: PlainTextResponse(language))
    return app


def test_a_page_is_built_when_it_is_first_asked_for() -> None:
    happened.clear()
    pages = Pages(_build)
    app = FastAPI(lifespan=pages.lifespan)
    app.add_route("/alive", lambda request: PlainTextResponse("yes"))
    app.mount("/", pages)
    pages.make("en")
    assert happened == ["en built"]
    with TestClient(app) as client:
        assert client.get("/alive").text == "yes"
        assert client.get("/en/here").text == "en"
        assert client.get("/xx/here").status_code == 404
        assert happened == ["en built", "en opened"]
        assert client.get("/zh/here").text == "zh"
        assert client.get("/zh/here").text == "zh"
        assert client.get("/zh/elsewhere").status_code == 404
    assert happened[2:4] == ["zh built", "zh opened"]
    assert sorted(happened[4:]) == ["en closed", "zh closed"]


def test_a_page_behind_a_proxy_is_found() -> None:
    pages = Pages(_build)
    app = FastAPI(lifespan=pages.lifespan)
    app.mount("/", pages)
    with TestClient(app, root_path="/profactory") as client:
        assert client.get("/zh/here").text == "zh"
