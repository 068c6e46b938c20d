"""Who may enter (promise S5), what is closed, and where requests may come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from profactory.errors import ConfigError
from profactory.web.access import COOKIE, MAX_BACK_OFF, BackOff, Gate, check_token

TOKEN = "a-token-of-more-than-128-bits"
PAGE = {"accept": "text/html"}
UPLOADS = Path("/nowhere/uploads")


def _client(token: str = TOKEN, host: str = "localhost") -> TestClient:
    async def inside(_: object) -> PlainTextResponse:
        return PlainTextResponse("inside")

    app = Starlette(routes=[Route("/{path:path}", inside, methods=["GET", "POST"])])
    return TestClient(Gate(app, token, UPLOADS), base_url=f"http://{host}", follow_redirects=False)


def test_the_loopback_address_needs_no_token_and_others_get_one() -> None:
    assert check_token("127.0.0.1", None) == ""
    made = check_token("192.0.2.1", None)
    assert len(made) >= 22  # 128 bits in base64
    assert made != check_token("192.0.2.1", None)
    assert check_token("127.0.0.1", TOKEN) == TOKEN
    with pytest.raises(ConfigError, match="too short"):
        check_token("192.0.2.1", "secret")


@pytest.mark.parametrize("path", ["/", "/en/", "/en/gradio_api/queue/join", "/files/x/config.yaml", "/alive"])
def test_without_token_nothing_is_reached(path: str) -> None:
    client = _client()
    assert client.get(path).status_code == 401
    assert client.post(path).status_code == 401
    form = client.get(path, headers=PAGE)
    assert form.status_code == 401
    assert "inside" not in form.text
    assert 'type="password"' in form.text


def test_the_token_is_taken_once_and_leaves_the_address() -> None:
    client = _client()
    answer = client.get(f"/?token={TOKEN}&run=mine", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "./?run=mine"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/").text == "inside"


def test_the_form_takes_the_token_too() -> None:
    client = _client()
    assert client.post("/enter", data={"token": "wrong"}, headers=PAGE).status_code == 401
    assert client.post("/enter", data={"token": TOKEN}, headers=PAGE).status_code == 303
    assert client.get("/en/").text == "inside"


def test_a_forged_cookie_is_no_token() -> None:
    client = _client()
    client.cookies.set(COOKIE, TOKEN)
    assert client.get("/").status_code == 401


def test_wrong_tokens_are_answered_more_and_more_slowly() -> None:
    client = _client()
    codes = [client.get(f"/?token=wrong{i}").status_code for i in range(6)]
    assert codes[:3] == [401, 401, 401]
    assert 429 in codes[3:]
    # The right one too, until the pause is over.
    assert client.get(f"/?token={TOKEN}").status_code == 429


def test_the_pause_doubles_up_to_a_minute() -> None:
    now = 0.0
    back_off = BackOff(lambda: now)
    waits = []
    for _ in range(12):
        back_off.failed("a")
        waits.append(back_off.wait("a"))
    assert waits[:5] == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert waits[-1] == MAX_BACK_OFF
    assert back_off.wait("b") == 0.0
    now = 61.0
    assert back_off.wait("a") == 0.0
    back_off.passed("a")
    back_off.failed("a")
    assert back_off.wait("a") == 0.0


@pytest.mark.parametrize(
    "path",
    [
        "/en/config",
        "/en/gradio_api/info",
        "/en/gradio_api/openapi.json",
        "/en/gradio_api/proxy=http://evil",
        "/zh/gradio_api/api/predict",
        "/zh/gradio_api/call/predict",
        "/en/gradio_api/vibe-edit",
        "/en/gradio_api/run-history/buckets",
        "/en/gradio_api/dev/reload",
        "/en/monitoring",
        "/en/login",
        "/en/svelte/x",
    ],
)
def test_what_the_page_does_not_use_is_closed(path: str) -> None:
    assert _client("").get(path).status_code == 404


def test_a_page_of_another_site_can_start_nothing() -> None:
    client = _client("")
    path = "/en/gradio_api/queue/join"
    assert client.post(path, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post(path, headers={"origin": "null"}).status_code == 403
    assert client.post(path, headers={"origin": "http://localhost"}).status_code == 200


def test_without_token_the_page_answers_to_its_own_name_only() -> None:
    assert _client("", host="evil.example").get("/").status_code == 421
    assert _client("", host="127.0.0.1:7860").get("/").status_code == 200
    assert _client(host="profactory.example").get("/").status_code == 401


def test_the_browser_is_told_to_ask_nobody_else() -> None:
    headers = _client("").get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/nowhere/uploads/abc/mine.csv", 200),
        ("/nowhere/uploads/../secret.csv", 403),
        ("/etc/passwd", 403),
        ("mine.csv", 403),
        ("http://evil.example/x.csv", 403),
        ("/nowhere/uploads\0", 403),
    ],
)
def test_a_request_names_uploaded_files_only(path: str, code: int) -> None:
    client = _client("")
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for endpoint in ("/en/gradio_api/run/predict", "/zh/gradio_api/queue/join"):
        assert client.post(endpoint, json={"data": ["x", [{"deep": file}]]}).status_code == code


def test_what_is_no_json_or_too_much_is_refused() -> None:
    client = _client("")
    assert client.post("/en/gradio_api/run/predict", content=b"{").status_code == 400
    assert client.post("/en/gradio_api/run/predict", content=b" " * (5 << 20)).status_code == 413


def test_a_body_that_was_inspected_arrives_whole() -> None:
    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse((await request.body()).decode())

    app = Starlette(routes=[Route("/en/gradio_api/run/predict", echo, methods=["POST"])])
    client = TestClient(Gate(app, "", UPLOADS), base_url="http://localhost")
    assert client.post("/en/gradio_api/run/predict", json={"data": [1, "two"]}).json() == {"data": [1, "two"]}
