"""The process beside a job: starts it, waits for it, notes how it ended.

``python -m profactory.jobs.watcher FOLDER`` reads ``job.json`` and returns as soon as the work is started
and the process noted; what waits is a child in a session of its own. Only a parent learns how a process
ended, and the terminal or the page that started the job may be gone by then.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from profactory.files import atomic_write_json, read_json
from profactory.jobs.verdict import memory_kills
from profactory.runs.layout import now
from profactory.runs.processes import Owner, start_of

_KIB = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss


def main(folder: Path) -> int:
    """Let a child start and watch the work; return when it has noted that it did."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        return 0 if os.read(reader, 1) else 1
    os.setsid()  # no terminal, no hang-up signal
    os.close(reader)
    with contextlib.ExitStack() as said:
        said.callback(os.close, writer)  # an end without a word means failure
        kills = memory_kills()
        worker, owner = _start(folder)
        os.write(writer, b"+")
    _leave_caller()
    _note_end(folder, worker, owner, kills)
    return 0


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], Owner]:
    record: dict[str, Any] = read_json(folder / "job.json")
    command = [sys.executable, "-m", "profactory", record["verb"], *record["arguments"]]
    with (folder / "log.txt").open("wb") as log:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    owner = Owner(worker.pid, start_of(worker.pid) or "", platform.node(), now())
    atomic_write_json(folder / "job.json", {**record, "worker": asdict(owner)})
    return worker, owner


def _leave_caller() -> None:
    """Let go of the output of whoever started us: a pipe would keep them waiting."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _note_end(folder: Path, worker: subprocess.Popen[bytes], owner: Owner, kills: int) -> None:
    _, status, usage = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)  # collected here: Popen need not look again
    end = {
        "worker": asdict(owner),
        "ended": now(),
        "exit_code": worker.returncode,
        "peak_memory": usage.ru_maxrss * _KIB,
        "memory_kills": memory_kills() - kills,
    }
    (folder / "progress.json").unlink(missing_ok=True)
    atomic_write_json(folder / "end.json", end)
    with contextlib.suppress(OSError):  # a name that was reserved for a run which was refused
        Path(read_json(folder / "job.json")["run"]).rmdir()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
