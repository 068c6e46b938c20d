"""What the server answers, and that nothing outside its folders can be had from it (promises S6, S7)."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path

import pytest

from profactory.runs import Run
from tests.web.conftest import Server

pytestmark = pytest.mark.slow
HEAVY = ("torch", "transformers", "sklearn", "matplotlib", "peft", "accelerate", "plotly")
CANARY = "canary-7f3a"
RESULT = "0" * 16


@pytest.fixture(scope="module", autouse=True)
def _secrets(server: Server) -> None:
    """A run, a result, secrets beside them, and links that lead to these."""
    secret = server.folder / "secret.txt"
    secret.write_text(CANARY, encoding="utf-8")
    run = Run.create(server.folder / "runs" / "mine", {"data": "bundled:demo-location", "model": "mini"})
    for folder in (run.report_dir, run.model_dir, server.folder / "runs" / ".results" / RESULT):
        folder.mkdir(parents=True)
    (run.report_dir / "report.html").write_text("<p>report</p>", encoding="utf-8")
    (run.model_dir / "model.safetensors").write_text(CANARY, encoding="utf-8")
    (run.report_dir / "link.csv").symlink_to(secret)
    (run.path / "ckpt").symlink_to(server.folder)
    (server.folder / "runs" / ".results" / RESULT / "predictions.csv").write_text(
        "prediction\na\n", encoding="utf-8"
    )
    (server.folder / "runs" / ".results" / RESULT / "link.csv").symlink_to(secret)


def _ask(
    server: Server, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Ask for a path exactly as it is written: no client tidies the dots away."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


def test_the_page_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from profactory.web.server import make_app;"
        "from profactory.web.workspace import Workspace; make_app(Workspace(Path('runs'), Path('data')));"
        f"print([name for name in {HEAVY!r} if name in sys.modules]);"
        "import gradio.component_meta as meta; print(meta.create_or_modify_pyi.__module__)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["[]", "profactory.web.lean"]  # and Gradio writes no stubs


def test_visitors_are_sent_to_their_language(server: Server) -> None:
    assert _ask(server, "/?run=mine", accept_language="zh-CN")[1]["location"] == "./zh/?run=mine"
    _, headers, _ = _ask(server, "/language/zh?run=mine")
    assert headers["location"] == "../zh/?run=mine"
    assert "profactory_language=zh" in headers["set-cookie"]
    cookie = {"accept_language": "zh-CN", "cookie": "profactory_language=en"}
    assert _ask(server, "/", **cookie)[1]["location"] == "./en/"
    assert _ask(server, "/language/xx")[1]["location"] == "../"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_pages_are_there(server: Server, language: str) -> None:
    status, _, text = _ask(server, f"/{language}/")
    assert status == 200
    assert "ProFactory" in text


def test_what_runs_and_jobs_wrote_can_be_had(server: Server) -> None:
    status, headers, text = _ask(server, "/files/mine/report/report.html")
    assert (status, text) == (200, "<p>report</p>")
    assert "sandbox" in headers["content-security-policy"]
    status, headers, _ = _ask(server, "/files/mine/config.yaml")
    assert status == 200
    assert "attachment" in headers["content-disposition"]
    assert _ask(server, f"/results/{RESULT}/predictions.csv")[2] == "prediction\na\n"


@pytest.mark.parametrize(
    "path",
    [
        "/files/mine/report/link.csv",
        "/files/mine/ckpt/secret.txt",
        "/files/mine/model/model.safetensors",
        "/files/mine/../../secret.txt",
        "/files/mine/%2e%2e/%2e%2e/secret.txt",
        "/files/mine/report/..%2f..%2f..%2fsecret.txt",
        "/files/..%2f/secret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/mine/status.json%00.png",
        "/results/link.csv",
        f"/results/{RESULT}/link.csv",
        f"/results/{RESULT}/../../../secret.txt",
        f"/results/{RESULT}/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/results//etc/passwd",
        "/en/gradio_api/file={root}/secret.txt",
        "/en/gradio_api/file={root}/runs/mine/config.yaml",
        "/en/gradio_api/file=/proc/self/environ",
        "/en/gradio_api/file=/etc/passwd",
        "/en/gradio_api/file=..%2f..%2fsecret.txt",
        "/en/gradio_api/file=%2e%2e/%2e%2e/etc/passwd",
        "/en/gradio_api/file=http://127.0.0.1:1/secret",
        "/en/gradio_api/file/etc/passwd",
        "/zh/gradio_api/file=pyproject.toml",
        "/en/static/..%2f..%2f..%2fetc/passwd",
        "/en/assets/..%2f..%2f..%2fetc/passwd",
        "/en/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/en/gradio_api/stream/x/y/1/playlist.m3u8",
        "/en/gradio_api/upload_progress?upload_id=../../etc",
        "/en/theme.css/../../etc/passwd",
    ],
)
def test_no_path_leads_out(server: Server, path: str) -> None:
    status, _, text = _ask(server, path.replace("{root}", str(server.folder)))
    assert status != 200
    assert CANARY not in text
    assert "root:" not in text


def test_handlers_refuse_paths_that_are_not_theirs(server: Server) -> None:
    """What the browser sends as an uploaded file must be one that was uploaded."""
    secret = str(server.folder / "secret.txt")
    config = json.loads(
        _ask(server, "/en/")[2].split("window.gradio_config = ", 1)[1].split(";</script>", 1)[0]
    )
    uploads = [
        entry for entry in config["dependencies"] if any(target[1] == "upload" for target in entry["targets"])
    ]
    assert len(uploads) >= 4
    for entry in uploads:
        file = {"path": secret, "meta": {"_type": "gradio.FileData"}, "orig_name": "secret.csv"}
        body = {"fn_index": entry["id"], "data": [file], "session_hash": "x"}
        headers = {"Content_Type": "application/json"}
        status, _, text = _ask(
            server, "/en/gradio_api/run/predict", "POST", json.dumps(body).encode(), **headers
        )
        assert status != 200
        assert CANARY not in text
    assert not list((server.folder / "runs").glob(".uploads/*/secret*"))


def test_uploads_have_a_limit(server: Server) -> None:
    boundary, big = "x-boundary", b"x" * (201 << 20)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="big.csv"\r\n\r\n'
    body = head.encode() + big + f"\r\n--{boundary}--\r\n".encode()
    kind = {"content_type": f"multipart/form-data; boundary={boundary}"}
    try:
        status, _, _ = _ask(server, "/en/gradio_api/upload", "POST", body, **kind)
    except (BrokenPipeError, ConnectionResetError):
        return  # the server hung up before it had read all of it
    assert status == 413
