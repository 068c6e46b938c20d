"""R8: several processes want one run: one gets it; different runs side by side do not meet."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from profactory.runs import Run
from tests.chaos.conftest import words
from tests.chaos.test_kills import announced, assert_same_result
from tests.support.forks import profactory_process, until

pytestmark = pytest.mark.slow
MANY = 8


def test_eight_processes_start_one_run(table: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    children = [
        profactory_process(*words(table, model, out, epochs=2), log=tmp_path / f"{number}.txt")
        for number in range(MANY)
    ]
    codes = Counter(child.wait(600) for child in children)
    assert codes == {0: 1, 1: MANY - 1}
    refused = [child.said for child in children if child.code == 1]
    assert all("exists already" in said for said in refused)
    assert Run.open(out).status()["state"] == "finished"


def test_eight_processes_go_on_with_one_run(table: Path, model: Path, tmp_path: Path) -> None:
    """The lock is left by a process that was killed; one of the eight takes it over."""
    out = tmp_path / "run"
    first = profactory_process(*words(table, model, out, epochs=40), log=tmp_path / "log.txt")
    until(lambda: announced(out) >= 3, first)
    first.send(9)
    first.wait()
    children = [profactory_process("resume", out, log=tmp_path / f"{number}.txt") for number in range(MANY)]
    codes = Counter(child.wait(600) for child in children)
    said = [child.said for child in children if child.code == 1]
    assert codes[0] >= 1, said[-1]
    assert codes[0] + codes[1] == MANY
    assert all("is at work in process" in text for text in said)
    assert len({row["step"] for row in Run(out).events() if row["event"] == "step"}) == sum(
        row["event"] == "step" for row in Run(out).events()
    )


def test_runs_side_by_side_do_not_meet(table: Path, model: Path, tmp_path: Path) -> None:
    """The same training into three folders at once, with one cache: three equal results."""
    folders = [tmp_path / name for name in ("a", "b", "c")]
    children = [
        profactory_process(*words(table, model, out, epochs=2), log=out.with_suffix(".txt"))
        for out in folders
    ]
    assert [child.wait(600) for child in children] == [0, 0, 0]
    for out in folders[1:]:
        assert_same_result(out, folders[0])
