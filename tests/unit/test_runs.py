"""Run directories: made whole, locked by one process, readable whatever happened to their writer."""

from __future__ import annotations

import enum
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from profactory.errors import NotARunError, RunError, RunExistsError, RunLockedError
from profactory.runs import Run, list_runs, new_run_path
from profactory.runs.processes import Owner, start_of
from tests.support import run_processes as others

CONFIG = {"data": "toy.csv", "model": "mini", "method": "freeze", "epochs": 3}


class Colour(enum.StrEnum):
    RED = "red"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", CONFIG)


def _sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def _write_lock(run: Run, **record: object) -> None:
    (run.path / "lock.json").write_text(json.dumps(record))


# ---------------------------------------------------------------- creating and opening


def test_a_new_run_holds_its_config_and_opens_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "deep" / "run", {**CONFIG, "path": Path("a/b"), "colour": Colour.RED})
    again = Run.open(str(run.path))
    assert again.config() == {**CONFIG, "path": "a/b", "colour": "red"}
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == again.config()
    assert again.status()["state"] == "created"
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]  # no rubbish beside it


def test_an_existing_run_is_refused_and_left_alone(run: Run) -> None:
    before = (run.path / "config.yaml").read_bytes()
    with pytest.raises(RunExistsError, match="resume"):
        Run.create(run.path, {"other": 1})
    assert (run.path / "config.yaml").read_bytes() == before


def test_an_empty_directory_is_a_free_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Run.create(tmp_path / "empty", CONFIG).config() == CONFIG


def test_overwrite_replaces_the_whole_run(run: Run) -> None:
    (run.path / "ckpt" / "checkpoint-5").mkdir(parents=True)
    (run.path / ".status.json.17-abc.tmp").write_text("left by a kill")
    new = Run.create(run.path, {"epochs": 9}, overwrite=True)
    assert new.config() == {"epochs": 9}
    assert not new.ckpt_dir.exists()
    assert [entry.name for entry in run.path.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_overwrite_never_removes_what_is_no_run(tmp_path: Path, kind: str) -> None:
    target, precious = tmp_path / "thesis", tmp_path / "precious"
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    if kind == "folder":
        precious.rename(target)
    elif kind == "link":
        target.symlink_to(precious)
    else:
        target.write_text("years of work")
    with pytest.raises(RunExistsError, match="not a run"):
        Run.create(target, CONFIG, overwrite=True)
    assert "years of work" in (target.read_text() if kind == "file" else (target / "chapter.txt").read_text())


def test_overwrite_refuses_a_run_with_a_users_own_file_in_it(run: Run) -> None:
    (run.path / "notes.md").write_text("mine")
    with pytest.raises(RunError, match=r"notes\.md"):
        Run.create(run.path, CONFIG, overwrite=True)
    assert (run.path / "notes.md").read_text() == "mine"


def test_overwrite_refuses_a_run_at_work(run: Run) -> None:
    with run.lock(), pytest.raises(RunLockedError):
        Run.create(run.path, CONFIG, overwrite=True)
    assert run.config() == CONFIG


@pytest.mark.parametrize("files", [(), ("config.yaml",), ("status.json",)])
def test_what_is_no_run_is_named(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(NotARunError, match="not a run directory"):
        Run.open(tmp_path)


def test_a_missing_run_a_foreign_status_and_a_newer_layout_are_named(tmp_path: Path, run: Run) -> None:
    with pytest.raises(NotARunError, match="There is no run"):
        Run.open(tmp_path / "nowhere")
    (run.path / "status.json").write_text('{"schema_version": 1, "state": "sleepy"}')
    with pytest.raises(NotARunError, match="not the status"):
        Run.open(run.path)
    (run.path / "status.json").write_text('{"schema_version": 999, "state": "finished"}')
    with pytest.raises(NotARunError, match="newer ProFactory"):
        Run.open(run.path)
    (run.path / "status.json").write_text('{"schema_ver')
    with pytest.raises(RunError, match=r"status\.json is damaged"):
        Run.open(run.path)


def test_a_damaged_config_is_named(run: Run) -> None:
    for content in ("a: [1", "- 1\n"):
        (run.path / "config.yaml").write_text(content)
        with pytest.raises(RunError, match=r"config\.yaml is damaged"):
            run.config()


# ---------------------------------------------------------------- the lock


def test_the_lock_nests_on_one_object_and_excludes_another(run: Run) -> None:
    with run.lock(), run.lock():
        assert run.owner() is not None
        assert run.owner() == Run.open(run.path).owner()
        with pytest.raises(RunLockedError, match=f"process {os.getpid()}"), Run.open(run.path).lock():
            pass
    assert run.owner() is None
    assert not (run.path / "lock.json").exists()


@pytest.mark.parametrize("stale", [False, True])
def test_of_eight_processes_exactly_one_gets_the_lock(run: Run, stale: bool) -> None:
    if stale:
        child = _sleeper()
        _write_lock(run, pid=child.pid, started=start_of(child.pid), host=platform.node())
        child.kill()
        child.wait()
    assert others.race(others.try_to_lock, run.path) == ["refused"] * 7 + ["won"]


def test_of_eight_processes_exactly_one_creates_the_run(tmp_path: Path) -> None:
    assert others.race(others.try_to_create, tmp_path / "run") == ["refused"] * 7 + ["won"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_the_lock_of_a_killed_process_is_taken_over(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "import sys, time\nfrom profactory.runs import Run\n"
        "with Run.open(sys.argv[1]).lock() as run:\n"
        "    run.set_status('training'); print('ready', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    assert run.status()["state"] == "training"
    child.kill()
    time.sleep(0.3)  # now a zombie: dead, though its id is still taken
    assert run.status()["state"] == "died"
    assert run.status()["died_while"] == "training"
    assert run.owner() is None
    with caplog.at_level(logging.WARNING, "profactory"), run.lock():
        assert "taking it over" in caplog.text
        assert run.status()["state"] == "training"
    child.stdout.close()
    child.wait()


def test_a_reused_process_id_does_not_keep_a_lock_alive(run: Run) -> None:
    _write_lock(run, pid=os.getpid(), started="another boot:1", host=platform.node())
    assert run.owner() is None
    with run.lock():
        pass


def test_a_lock_of_another_machine_counts_as_held(run: Run) -> None:
    _write_lock(run, pid=1, started="x", host="elsewhere", since="2026-01-01")
    with pytest.raises(RunLockedError, match=r"machine elsewhere[\s\S]*lock\.json"), run.lock():
        pass


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"pid": "1", "started": "x"}', '{"pid": -1, "started": "x"}']
)
def test_a_lock_file_without_sense_locks_nothing(run: Run, content: str) -> None:
    (run.path / "lock.json").write_text(content)
    with run.lock():
        assert run.owner() is not None


def test_a_signal_by_process_id_alone_works_where_there_are_no_process_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    child = _sleeper()
    owner = Owner(child.pid, start_of(child.pid) or "", platform.node())
    assert owner.send(signal.SIGTERM) is True
    assert child.wait(timeout=10) == -signal.SIGTERM
    assert owner.send(signal.SIGTERM) is False


def test_the_start_time_of_a_process_with_an_awkward_name(tmp_path: Path) -> None:
    awkward = tmp_path / "a) S (b"
    shutil.copy("/bin/sleep", awkward)
    child = subprocess.Popen([str(awkward), "30"])
    ticks = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(child.pid)], capture_output=True, text=True, check=True
    )
    assert ticks.stdout.strip()
    assert start_of(child.pid) is not None
    assert start_of(child.pid) == start_of(child.pid)
    child.kill()
    child.wait()
    assert start_of(child.pid) is None


# ---------------------------------------------------------------- events, status, log


def test_events_are_json_lines_with_time_and_name(run: Run) -> None:
    run.emit("step", step=1, loss=np.float32(0.5), batch=np.int64(3), rows=np.array([1, 2]))
    run.emit("step", step=2, loss=float("nan"), where=Path("a"), inner={"x": float("inf")})
    first, second = run.events()
    assert {k: first[k] for k in ("event", "step", "loss", "batch", "rows")} == {
        "event": "step",
        "step": 1,
        "loss": 0.5,
        "batch": 3,
        "rows": [1, 2],
    }
    assert first["time"].endswith("Z")
    assert (second["loss"], second["where"], second["inner"]) == (None, "a", {"x": None})
    assert b"NaN" not in (run.path / "events.jsonl").read_bytes()


def test_a_torn_last_line_is_left_out_and_kept_apart(run: Run) -> None:
    run.emit("step", step=1)
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(b'{"time": "2026", "event": "st')
    assert [event["step"] for event in run.events()] == [1]
    run.emit("step", step=2)
    assert [event["step"] for event in run.events()] == [1, 2]


def test_no_events_yet(run: Run) -> None:
    assert list(run.events()) == []


def test_lines_of_several_writers_do_not_mix(run: Run) -> None:
    processes = [
        others.SPAWN.Process(target=others.emit_many, args=(str(run.path), number)) for number in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    seen = [(event["writer"], event["number"]) for event in run.events()]
    assert sorted(seen) == [(writer, number) for writer in range(3) for number in range(200)]


def test_status_keeps_earlier_fields_and_forgets_an_old_failure(run: Run) -> None:
    run.set_status("failed", step=7, error={"found": "x"}, best=0.5)
    assert run.status()["error"] == {"found": "x"}
    run.set_status("finished", best=None, loss=float("nan"))  # None removes, what JSON cannot say is null
    status = run.status()
    assert (status["state"], status["step"]) == ("finished", 7)
    assert not {"error", "best"} & status.keys()
    assert status["loss"] is None
    assert status["created"] <= status["updated"]
    with pytest.raises(ValueError, match="none of the states"):
        run.set_status("sleepy")


def test_a_finished_run_is_not_dead(run: Run) -> None:
    for state in ("created", "finished", "failed", "stopped"):
        run.set_status(state)
        assert run.status()["state"] == state


def test_a_clock_that_jumps_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with run.lock():
        run.set_status("training")
        monkeypatch.setattr(time, "time", lambda: 0.0)
        assert run.status()["state"] == "training"
        assert run.owner() is not None


def test_the_log_has_utc_times_and_no_terminal_escapes(run: Run) -> None:
    logger = logging.getLogger("profactory")
    logger.setLevel(logging.INFO)
    with run.logged():
        logger.info("label \x1b[31mred\x1b[0m\u202e and é")
    logger.info("not in the file")
    (line,) = (run.path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert line[4] == "-"
    assert "Z INFO label \\x1b[31mred\\x1b[0m\\x202e and é" in line


# ---------------------------------------------------------------- directories that go away or refuse


def test_a_deleted_run_directory_is_named_and_not_brought_back(run: Run) -> None:
    with run.lock():
        shutil.rmtree(run.path)
        for action in (
            lambda: run.emit("step"),
            lambda: run.set_status("training"),
            lambda: run.write_config({}),
            lambda: run.config(),
            lambda: run.status(),
            lambda: run.log_handler(),
        ):
            with pytest.raises(RunError, match="does not exist"):
                action()
    assert not run.path.exists()
    with pytest.raises(RunError, match="does not exist"), run.lock():
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_read_only_run_directory_is_named(run: Run) -> None:
    run.emit("x")
    folder = run.path
    while folder != folder.parent and folder.stat().st_uid == 0:  # let the other user come this far
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
        folder = folder.parent
    results = others.SPAWN.Queue()
    child = others.SPAWN.Process(target=others.as_nobody, args=(str(run.path), results))
    child.start()
    answers = [results.get(timeout=20) for _ in range(3)]
    child.join()
    assert all("Permission denied" in answer and "fix:" in answer for answer in answers), answers


def test_a_full_disk_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.emit("step", step=1)
    monkeypatch.setattr(os, "write", lambda descriptor, line: len(line) - 5)
    with pytest.raises(RunError, match="No space left"):
        run.emit("step", step=2)
    monkeypatch.undo()
    assert [event["step"] for event in run.events()] == [1]


def test_delete_removes_a_run_and_nothing_else(run: Run, tmp_path: Path) -> None:
    run.model_dir.mkdir()
    run.delete()
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- lists and names


def test_runs_are_listed_newest_first_with_what_they_are(tmp_path: Path) -> None:
    old = Run.create(tmp_path / "old", CONFIG)
    old.set_status("finished", task="regression", metrics={"spearman": 0.5, "note": "text"})
    time.sleep(0.01)
    Run.create(tmp_path / "new", {"data": "x.csv"})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "status.json").write_text("{")
    (tmp_path / "no-run").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "status.json").write_text("{}")
    listed = list_runs(tmp_path)
    assert [(run.name, run.state) for run in listed] == [
        ("new", "created"),
        ("old", "finished"),
        ("broken", "damaged"),
    ]
    assert listed[1].to_dict() | {"created": "", "updated": ""} == {
        "name": "old",
        "path": str(tmp_path / "old"),
        "state": "finished",
        "created": "",
        "updated": "",
        "data": "toy.csv",
        "task": "regression",
        "model": "mini",
        "method": "freeze",
        "metrics": {"spearman": 0.5},
    }
    assert [run.name for run in list_runs(old.path)] == ["old"]
    with pytest.raises(NotARunError, match="no folder"):
        list_runs(tmp_path / "nowhere")


def test_new_names_tell_what_the_run_is_and_are_never_given_twice(tmp_path: Path) -> None:
    names = [new_run_path(tmp_path, "/data/My set.csv.gz", "user/esm2-8m", "lora").name for _ in range(3)]
    assert names == ["My-set-esm2-8m-lora", "My-set-esm2-8m-lora-2", "My-set-esm2-8m-lora-3"]
    assert (
        new_run_path(tmp_path, "bundled:demo-location", "mini", "freeze").name == "demo-location-mini-freeze"
    )
    assert new_run_path(tmp_path, "../..", "..", "").name == "run"
    assert Run.create(tmp_path / names[0], CONFIG).path == tmp_path / names[0]
