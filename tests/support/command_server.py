"""Commands of a shell script that start at once: forked from a process that has imported everything.

``python -m tests.support.command_server SOCKET`` serves; ``serving`` starts it and writes a `profactory` for
the script's PATH that hands its words, folder and open files over and ends with the command's exit code; a
page (`profactory ui`) ends when that program is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.forks import IMPORTED_BEFORE, run_command, talk_to

CLIENT = """#!{python} -SE
import json, os, socket, sys
request = json.dumps({{"words": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}})
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(request.encode() + b"\\n")
    code = server.recv(16)
raise SystemExit(int(code or b"70"))
"""


@contextlib.contextmanager
def serving(program: Path, environment: dict[str, str], *modules: str) -> Iterator[None]:
    """While inside, `program` is the command line in processes that start at once, with further `modules`."""
    address = program.with_name("socket")
    root = Path(__file__).parents[2]
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(address), *modules], env=environment, cwd=root
    )
    try:
        deadline = time.monotonic() + 120
        while not address.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the server of commands does not start")
            time.sleep(0.02)
        program.write_text(CLIENT.format(python=sys.executable, address=str(address)), encoding="utf-8")
        program.chmod(0o755)
        yield
    finally:
        server.kill()
        server.wait()


def _serve(address: str, modules: list[str]) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address + ".new")
    listening.listen(8)
    os.rename(address + ".new", address)
    for name in [*IMPORTED_BEFORE, *modules]:  # who asks before that waits in the queue
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    while True:
        client, _ = listening.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listening.close()
            _answer(client)
        client.close()


def _answer(client: socket.socket) -> None:
    _, descriptors, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile(encoding="utf-8") as lines:
        request = json.loads(lines.readline())
    talk_to(dict(enumerate(descriptors)))
    for descriptor in descriptors:
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["profactory", *request["words"]]
    if request["words"][:1] == ["ui"]:
        threading.Thread(target=_end_with, args=[client], daemon=True).start()
    run_command(request["words"], lambda code: client.sendall(str(code).encode()))


def _end_with(client: socket.socket) -> None:
    """End this process when who asked for it is gone; nothing is said after the request."""
    client.recv(1)
    os._exit(70)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
