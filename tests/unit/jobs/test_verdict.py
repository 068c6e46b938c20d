"""How a process ended, in words."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from profactory.jobs import verdict as module
from profactory.jobs.verdict import JobState, memory_kills, verdict


def judged(code: int, *, kills: int = 0, asked: bool = False, now: bool = False) -> JobState:
    end = {"exit_code": code, "memory_kills": kills, "peak_memory": 3_000_000_000}
    return verdict(end, asked_to_stop=asked, killed_by_us=now, last_words="no such column")


@pytest.mark.parametrize(
    ("state", "name", "words", "exit_code"),
    [
        (judged(0), "finished", "", 0),
        (judged(1), "failed", "no such column", 1),
        (judged(2), "failed", "no such column", 2),
        (judged(143, asked=True), "stopped", "profactory runs stop", 143),
        (judged(130), "stopped", "SIGINT", 130),
        (judged(-signal.SIGTERM), "stopped", "SIGTERM", 143),
        (judged(-signal.SIGKILL), "killed", "a person or a system short of memory", 137),
        (judged(-signal.SIGKILL, asked=True, now=True, kills=1), "killed", "--now", 137),
        (judged(-signal.SIGKILL, kills=1), "out of memory", "no memory left; .*; it held 3.00 GB", 137),
        (judged(-signal.SIGSEGV), "crashed", "SIGSEGV", 139),
        (judged(-signal.SIGXCPU), "killed", "SIGXCPU", 128 + signal.SIGXCPU),
    ],
)
def test_every_end_has_a_name(state: JobState, name: str, words: str, exit_code: int) -> None:
    assert (state.name, state.exit_code) == (name, exit_code)
    assert pytest.approx(state.peak_memory) == 3e9
    assert __import__("re").search(words, state.reason)
    assert state.is_over


def test_processes_ended_for_want_of_memory_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 7\noom_kill 123456789\n")
    monkeypatch.setattr(module, "_own_group", lambda: [events, tmp_path / "missing"])
    assert memory_kills() == 123456789
    monkeypatch.undo()
    assert 0 <= memory_kills() < 123456789
