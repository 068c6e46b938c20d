"""Events read as they grow."""

from __future__ import annotations

import json
from pathlib import Path

from profactory.runs import Run
from profactory.web.watching import MOST_RUNS, EventLog, EventLogs, tail


def test_only_whole_lines_are_read_and_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    assert log.read() == []
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    assert [event["step"] for event in log.read()] == [1, 2]
    with path.open("ab") as file:
        file.write(b'ep": 3}\nnot json\n[4]\n')
    assert [event["step"] for event in log.read()] == [1, 2, 3]


def test_a_run_that_took_back_rows_is_read_anew(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    for step in range(5):
        run.emit("step", step=step)
    log = EventLog(run.path / "events.jsonl")
    assert len(log.read()) == 5
    replaced = tmp_path / "new"
    replaced.write_text(
        "".join(json.dumps({"step": step}) + "\n" for step in (0, 1, 7, 8, 9, 10, 11)), encoding="utf-8"
    )
    replaced.replace(run.path / "events.jsonl")
    assert [event["step"] for event in log.read()] == [0, 1, 7, 8, 9, 10, 11]


def test_few_logs_are_kept(tmp_path: Path) -> None:
    logs = EventLogs()
    first = logs.of(tmp_path / "first")
    assert logs.of(tmp_path / "first") is first
    for number in range(MOST_RUNS):
        logs.of(tmp_path / str(number))
    assert logs.of(tmp_path / "first") is not first


def test_the_tail_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert tail(path) == ""
    path.write_text("first line\nsecond\nthird\n", encoding="utf-8")
    assert tail(path, 12) == "third\n"
    assert tail(path) == "first line\nsecond\nthird\n"
    path.write_text("short\n" + "x" * 100)
    assert tail(path, 12) == f"… {'x' * 12}"  # a line without an end is shown by its end
    path.write_text("x" * 100 + "\n")
    assert tail(path, 12) == f"… {'x' * 11}\n"
