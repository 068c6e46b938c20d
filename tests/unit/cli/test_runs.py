"""``profactory runs``: list, show, logs, stop, delete, compare."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from profactory.cli.main import main
from profactory.files import atomic_write_json
from profactory.runs import Run
from profactory.runs.processes import start_of

TRAINER = """
import signal, sys, time
from profactory.runs import Run
run = Run.open(sys.argv[1])
def stop(number, frame):
    run.set_status("stopped", signal=number)
    raise SystemExit(143)
signal.signal(signal.SIGTERM, stop)
with run.lock(), run.logged():
    run.set_status("training")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run.create(tmp_path / "runs" / "first", {"data": "toy.csv", "model": "mini", "epochs": 3})
    made.set_status("finished", task="regression", method="lora", epoch=3)
    made.report_dir.mkdir()
    metrics = {"test": {"spearman": {"value": 0.5, "low": 0.25, "high": 0.75}}}
    atomic_write_json(made.report_dir / "metrics.json", metrics)
    made.emit("step", step=1)
    made.emit("step", step=2)
    (made.path / "log.txt").write_text("one\ntwo\nthree \x1b[31m\n")
    return made


def test_list(run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent.parent)
    assert main(["runs", "list"]) == 0
    header, _, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "state", "created", "task", "model", "method"]
    assert [word for word in line.split() if word[:2] != "20" and ":" not in word] == [
        "first", "finished", "regression", "mini", "lora",
    ]  # fmt: skip
    assert main(["runs", "list", "runs", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["name"], listed["method"]) == ("first", "lora")


def test_list_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", str(tmp_path)]) == 0
    assert "No runs" in capsys.readouterr().out
    assert main(["runs", "list", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["runs", "list", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_show(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", str(run.path)]) == 0
    said = capsys.readouterr().out
    for word in ("finished", "toy.csv", "lora", "spearman", "0.250 - 0.750"):
        assert word in said
    assert main(["runs", "show", str(run.path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["config"]["epochs"] == 3
    assert said["metrics"]["test"]["spearman"]["value"] == 0.5


def test_show_names_what_is_damaged(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.report_dir / "metrics.json").write_text("{")
    assert main(["runs", "show", str(run.path)]) == 1
    assert "metrics.json" in capsys.readouterr().err
    assert main(["runs", "show", str(run.path.parent)]) == 1
    assert "not a run" in capsys.readouterr().err


def test_logs(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "logs", str(run.path)]) == 0
    assert capsys.readouterr().out == "one\ntwo\nthree \\x1b[31m\n"
    assert main(["runs", "logs", str(run.path), "-n", "1"]) == 0
    assert capsys.readouterr().out == "three \\x1b[31m\n"
    assert main(["runs", "logs", str(run.path), "--lines", "0"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["runs", "logs", str(run.path), "--json"]) == 0
    assert [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    (run.path / "log.txt").unlink()
    assert main(["runs", "logs", str(run.path)]) == 0


def test_logs_follow_to_the_end_of_the_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with run.lock():
            run.set_status("training")
            started.set()
            for word in ("four", "five"):
                time.sleep(0.3)
                with (run.path / "log.txt").open("a") as log:
                    log.write(word + "\n")
            run.set_status("finished")

    started = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    started.wait(10)
    assert main(["runs", "logs", str(run.path), "--follow", "--lines", "1"]) == 0
    worker.join()
    assert capsys.readouterr().out.splitlines() == ["three \\x1b[31m", "four", "five"]


def test_stop_asks_the_process_and_waits_for_its_end(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", TRAINER, str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == b"ready\n"
        assert main(["runs", "stop", str(run.path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["state"] == "stopped"
        assert trainer.wait(10) == 143
    assert main(["runs", "stop", str(run.path)]) == 0
    assert "not running" in capsys.readouterr().out


def test_stop_says_when_the_process_does_not_end(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        record = {"pid": process.pid, "started": start_of(process.pid), "host": platform.node()}
        atomic_write_json(run.path / "lock.json", record)
        assert main(["runs", "stop", str(run.path), "--wait", "0.3"]) == 1
        assert "has not ended" in capsys.readouterr().err
        process.kill()


def test_delete_asks_first(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["runs", "delete", str(run.path)]) == 1
    assert run.path.exists()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(["runs", "delete", str(run.path)]) == 1
    assert run.path.exists()
    with run.lock():
        assert main(["runs", "delete", str(run.path), "--yes"]) == 1
    assert "at work" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main(["runs", "delete", str(run.path)]) == 0
    assert list(run.path.parent.iterdir()) == []


def test_compare(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    second = Run.create(run.path.parent / "second", {"data": "toy.csv", "model": "esm2-8m"})
    atomic_write_json(second.path / "data.json", {"choices": {"method": "lora", "reasons": {"method": "x"}}})
    second.report_dir.mkdir()
    atomic_write_json(second.report_dir / "metrics.json", {"test": {"rmse": {"value": 1.25}}})
    broken = run.path.parent / "broken"
    broken.mkdir()
    (broken / "status.json").write_text("{")
    assert main(["runs", "compare", str(run.path.parent), "--json"]) == 0
    out, err = capsys.readouterr()
    assert "broken is damaged and left out" in err
    rows = {row["run"]: row for row in json.loads(out)}
    differing = {"model": "mini", "epochs": 3, "method": "auto"}
    assert rows["first"] == {
        "run": "first",
        "split": "test",
        "settings": differing,
        "metrics": {"spearman": {"value": 0.5, "low": 0.25, "high": 0.75}},
    }
    assert rows["second"]["settings"] == {"model": "esm2-8m", "epochs": None, "method": "lora"}
    assert rows["second"]["metrics"] == {"rmse": {"value": 1.25}}
    assert main(["runs", "compare", str(run.path), str(second.path)]) == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert said[0] == ["first", "second"]
    assert ["model", "mini", "esm2-8m"] in said
    assert ["spearman", "0.500", "(0.250", "-", "0.750)"] in said
    assert ["rmse", "1.250"] in said


def test_list_names_what_became_of_a_dead_run_and_of_a_job_without_one(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.set_status("training")
    place = run.path.parent / ".jobs"
    worker = {"pid": 1, "started": "boot:1", "host": platform.node()}
    for name, code in (("first", -9), ("refused", 1)):
        job = {"verb": "train", "arguments": ["x.csv"], "run": str(run.path.parent / name), "worker": worker}
        atomic_write_json(place / name / "job.json", job)
        atomic_write_json(place / name / "end.json", {"worker": worker, "exit_code": code, "memory_kills": 1})
    (place / "refused" / "log.txt").write_text("Error: There is no file x.csv.\n")
    assert main(["runs", "list", str(run.path.parent)]) == 0
    said = capsys.readouterr().out
    assert "out of memory" in said
    assert "first: ended by the system, which had no memory left" in said
    assert "refused: There is no file x.csv." in said
    assert main(["runs", "show", str(run.path)]) == 0
    assert "ended by the system" in capsys.readouterr().out
    assert main(["runs", "logs", str(place.parent / "refused")]) == 0
    assert "no file x.csv" in capsys.readouterr().out
