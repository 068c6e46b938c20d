"""How much one browser may upload (promise S7)."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from profactory.web.access import Gate
from profactory.web.quota import COOKIE, DAY, Quota

UPLOAD = "/en/gradio_api/upload?upload_id=x"


def _client(quota: Quota) -> TestClient:
    async def take(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/{path:path}", take, methods=["GET", "POST"])])
    return TestClient(Gate(app, "", Path("/nowhere"), quota=quota), base_url="http://localhost")


def test_a_browser_has_its_own_share_which_is_new_every_day() -> None:
    now = 0.0
    quota = Quota(1000, lambda: now)
    one, other = _client(quota), _client(quota)
    for client in (one, other):
        client.get("/en/", headers={"accept": "text/html"})
        assert len(client.cookies[COOKIE]) == 22
    assert one.post(UPLOAD, content=b"x" * 600).text == "600"
    refused = one.post(UPLOAD, content=b"x" * 500)
    assert refused.status_code == 413
    assert "in a day" in refused.text
    assert one.post(UPLOAD, content=b"x" * 400).status_code == 200
    assert other.post(UPLOAD, content=b"x" * 1000).status_code == 200
    assert one.post("/en/gradio_api/queue/join", json={"data": ["x" * 5000]}).status_code == 200
    now = DAY + 1
    assert one.post(UPLOAD, content=b"x" * 1000).status_code == 200


def test_who_shows_no_cookie_is_counted_by_address_and_what_says_no_length_as_it_comes() -> None:
    quota = Quota(1000)
    client = _client(quota)
    assert client.post(UPLOAD, content=iter([b"x" * 300, b"x" * 300])).text == "600"
    assert quota.used("testclient") == 600
    client.cookies.set(COOKIE, "made up")
    assert client.post(UPLOAD, content=b"x" * 500).status_code == 413


def test_few_visitors_are_remembered() -> None:
    quota = Quota(10)
    for number in range(10_050):
        quota.add(str(number), 1)
    assert quota.used("0") == 0
    assert quota.used("10049") == 1
