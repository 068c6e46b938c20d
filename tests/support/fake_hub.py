"""A Hugging Face Hub on this machine: as much of its HTTP interface as pushing and fetching models needs."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


@dataclass
class FakeHub:
    """What was uploaded, and what was asked.

    Parameters
    ----------
    files
        Name to content of the one repository.
    requests
        Methods and paths in order.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve a hub on the loopback interface."""
    hub = FakeHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != "Bearer hf_secret":
            self._json({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self._json({"url": f"{self.state.address}/me/model"})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            plain = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]
            self._json({"files": plain})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._json({}, 404)

    def do_GET(self) -> None:
        self.state.requests.append(f"GET {self.path}")
        if "/resolve/" in self.path:
            self._file(self.path.split("/resolve/")[1].split("/", 1)[1], send=True)
        elif "/tree/" in self.path:
            self._json([_entry(name, content) for name, content in self.state.files.items()])
        else:
            siblings = [{"rfilename": name} for name in self.state.files]
            self._json({"id": "me/model", "sha": COMMIT, "siblings": siblings})

    def do_HEAD(self) -> None:
        self.state.requests.append(f"HEAD {self.path}")
        self._file(self.path.split("/resolve/")[1].split("/", 1)[1], send=False)

    def _commit(self, body: bytes) -> None:
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.state.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        self._json({"commitUrl": f"{self.state.address}/me/model/commit/{COMMIT}", "commitOid": COMMIT})

    def _file(self, name: str, *, send: bool) -> None:
        content = self.state.files.get(name)
        if content is None:
            self._json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        digest = hashlib.sha256(content).hexdigest()
        self._answer(content, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"'}, send=send)

    def _json(self, value: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self._answer(
            json.dumps(value).encode(), code, {"Content-Type": "application/json", **(headers or {})}
        )

    def _answer(self, content: bytes, code: int, headers: dict[str, str], *, send: bool = True) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if send and self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}  # noqa: S324
