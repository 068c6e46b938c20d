"""A Hugging Face Hub of a few files on this machine: what its client asks for, and nothing more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def digest(text: str) -> str:
    """Return what stands for a file's content."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@contextmanager
def serve_dataset(name: str, files: dict[str, str]) -> Iterator[str]:
    """Serve one data set; yield the address for ``HF_ENDPOINT``."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.respond(body=False)

        def do_GET(self) -> None:
            self.respond(body=True)

        def respond(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            if path.startswith(f"/api/datasets/{name}/tree/"):
                tree = [
                    {"type": "file", "path": file, "size": len(text), "oid": digest(text)}
                    for file, text in files.items()
                ]
                self.send(json.dumps(tree).encode(), "application/json", body)
                return
            if path.startswith(f"/api/datasets/{name}"):
                siblings = [{"rfilename": file} for file in files]
                about = {"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []}
                self.send(json.dumps(about).encode(), "application/json", body)
                return
            file = path.removeprefix(f"/datasets/{name}/resolve/{COMMIT}/")
            if file in files:
                self.send(files[file].encode(), "text/plain", body)
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, content: bytes, kind: str, body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{digest(content.decode())}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
