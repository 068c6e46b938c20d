"""Jobs with real processes: they outlive who started them, and how they ended is known."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from profactory import jobs
from profactory.errors import NotARunError, RunError
from profactory.files import atomic_write_json
from profactory.jobs.job import read_job
from profactory.runs import Run
from profactory.runs.processes import start_of
from tests.support.run_processes import SPAWN, start_the_same_job

pytestmark = pytest.mark.slow
#: A stand-in for ``profactory`` that does what its first argument says, in the run that ``--out=`` names.
WORKER = """
import os, signal, sys, time
from pathlib import Path
from profactory.progress import Progress
from profactory.runs import Run
from profactory.training.signals import StopSignals

verb, what, out = sys.argv[1], sys.argv[2], sys.argv[3].removeprefix("--out=")
if what == "refuse":
    print("Error: There is no column 'label'.\\n  fix: name it", file=sys.stderr)
    sys.exit(1)
run = Run.create(out, {"data": "x"})
with StopSignals() as signals, run.lock():
    run.set_status("training", step=3, total_steps=9, eta_seconds=4.0)
    with Progress("embedding", 10_000, unit="residues") as progress:
        progress._start -= 10
        while what == "work" and not signals.received and progress.done < 10_000:
            time.sleep(0.05)
            progress.advance(1)
    run.set_status("stopped" if signals.received else "finished")
print("done")
sys.exit(143 if signals.received else 0)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the watcher find the stand-in under the name of the package, and all else in the package."""
    folder = tmp_path / "stand-in" / "profactory"
    folder.mkdir(parents=True)
    home = Path(jobs.__file__).parents[1]
    (folder / "__init__.py").write_text(f"__path__.append({str(home)!r})\n")
    (folder / "__main__.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    return tmp_path / "runs" / "one"


def begun(run: Path) -> jobs.Job:
    return jobs.start("train", ["work", f"--out={run}"], run=run)


def until(true: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_training(run: Path) -> bool:
    return (run / "status.json").exists() and Run.open(run).status()["state"] == "training"


def ended(job: jobs.Job) -> jobs.JobState:
    until(lambda: not job.is_running)
    until((job.folder / "end.json").exists)
    return job.state()


def test_a_job_works_and_ends_and_says_so(worker: Path) -> None:
    job = jobs.start("train", ["short", f"--out={worker}"], run=worker)
    assert not job.attached
    assert job.worker is not None
    state = ended(job)
    assert (state.name, state.exit_code, state.reason) == ("finished", 0, "")
    assert state.peak_memory is not None
    assert 1e6 < state.peak_memory < 1e10
    assert job.log.read_text() == "done\n"
    assert jobs.state(worker).name == "finished"
    assert job.progress() is None
    assert [found.run for found in jobs.list_jobs(worker.parent)] == [worker]
    assert json.loads(json.dumps(job.to_dict()))["state"]["name"] == "finished"


def test_a_job_has_its_own_session_and_no_input(worker: Path) -> None:
    job = begun(worker)
    assert job.worker is not None
    assert os.getsid(job.worker.pid) not in (os.getsid(0), job.worker.pid)
    assert Path(f"/proc/{job.worker.pid}/fd/0").readlink() == Path(os.devnull)
    assert jobs.stop(worker, now=True)
    ended(job)


@pytest.mark.parametrize("how", ["close the terminal", "kill the shell"])
def test_a_job_survives_the_shell_that_started_it(worker: Path, how: str) -> None:
    code = (
        "import signal, sys, time; from profactory import jobs\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # under nohup it would be ignored
        "jobs.start('train', ['work', '--out=' + sys.argv[1]], run=sys.argv[1])\n"
        "print('started', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(jobs.__file__).parents[2])}
    environment["PYTHONPATH"] = os.environ["PYTHONPATH"] + os.pathsep + environment["PYTHONPATH"]
    shell = subprocess.Popen(
        [sys.executable, "-c", code, str(worker)],
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    with shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == b"started\n"
        os.killpg(shell.pid, signal.SIGHUP if how == "close the terminal" else signal.SIGKILL)
        shell.wait(10)
    job = jobs.find(worker)
    assert job is not None
    until(lambda: is_training(worker))
    assert jobs.state(worker).name == "running"
    assert jobs.stop(worker)
    assert ended(job).name == "stopped"


def test_starting_again_attaches(worker: Path) -> None:
    first = begun(worker)
    again = jobs.start("train", ["other", f"--out={worker}"], run=worker)
    assert again.attached
    assert again.worker == first.worker
    assert again.arguments == first.arguments
    jobs.stop(worker, now=True)
    ended(first)


def test_eight_starts_at_once_start_one_process(worker: Path) -> None:
    barrier, results = SPAWN.Barrier(8), SPAWN.Queue()
    arguments = (str(worker), barrier, results)
    starters = [SPAWN.Process(target=start_the_same_job, args=arguments) for _ in range(8)]
    for starter in starters:
        starter.start()
    answers = [results.get(timeout=120) for _ in starters]
    for starter in starters:
        starter.join()
    assert len({pid for pid, _ in answers}) == 1
    assert sorted(attached for _, attached in answers) == [False] + [True] * 7
    job = jobs.find(worker)
    assert job is not None
    jobs.stop(worker, now=True)
    ended(job)


def test_a_run_at_work_in_a_terminal_is_attached_to(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    with run.lock():
        run.set_status("training", step=1, total_steps=4, eta_seconds=2.5)
        job = jobs.start("resume", [str(run.path)], run=run.path)
        assert job.attached
        assert job.worker is not None
        assert job.worker.pid == os.getpid()
        assert job.log == run.path / "log.txt"
        assert jobs.state(run.path).name == "running"
        assert job.progress() == {
            "description": "training",
            "done": 1,
            "total": 4,
            "unit": "steps",
            "seconds_left": 2.5,
        }


def test_a_killed_worker_is_named_and_starting_again_works(worker: Path) -> None:
    job = begun(worker)
    until(lambda: is_training(worker))
    assert job.worker is not None
    os.kill(job.worker.pid, signal.SIGKILL)
    assert ended(job).name == "killed"
    state = jobs.state(worker)
    assert state.name == "killed"
    assert "signal 9" in state.reason
    assert Run.open(worker).status()["state"] == "died"
    again = jobs.start("resume", ["refuse", f"--out={worker}"], run=worker)
    assert not again.attached
    ended(again)
    assert jobs.state(worker).name == "died"  # the process that died in the run was another job's


def test_stopping_at_once_is_told_apart_from_a_foreign_kill(worker: Path) -> None:
    job = begun(worker)
    assert jobs.stop(job, now=True)
    state = ended(job)
    assert state.name == "killed"
    assert "--now" in state.reason
    assert not jobs.stop(job)


def test_a_watcher_that_dies_too_leaves_a_job_that_died(worker: Path) -> None:
    job = begun(worker)
    assert job.worker is not None
    watcher = int(Path(f"/proc/{job.worker.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watcher, signal.SIGKILL)
    os.kill(job.worker.pid, signal.SIGKILL)
    until(lambda: not job.is_running)
    assert job.state().name == "died"
    assert "without a word" in job.state().reason


def test_a_refusal_is_the_reason_and_the_reserved_name_is_given_back(worker: Path) -> None:
    worker.mkdir(parents=True)
    job = jobs.start("train", ["refuse", f"--out={worker}"], run=worker)
    state = ended(job)
    assert (state.name, state.exit_code) == ("failed", 1)
    assert state.reason == "There is no column 'label'.\n  fix: name it"
    until(lambda: not worker.exists())
    assert jobs.state(worker).name == "failed"


def test_progress_is_noted_while_something_is_counted(worker: Path) -> None:
    job = begun(worker)
    until(lambda: (job.progress() or {}).get("description") == "embedding")
    noted = job.progress()
    assert noted is not None
    assert (noted["total"], noted["unit"]) == (10_000, "residues")
    assert 0 < noted["done"] < 10_000
    assert noted["seconds_left"] > 0
    jobs.stop(job, now=True)
    ended(job)
    assert job.progress() is None


def test_predictions_have_jobs_of_their_own(worker: Path) -> None:
    several = [["refuse", f"--out={worker}-{i}"] for i in range(2)]
    first, second = (jobs.start("predict", arguments, run=worker) for arguments in several)
    assert first.folder != second.folder
    assert first.result == Path(f"{worker}-0")
    assert jobs.find(worker) is None
    ended(first), ended(second)
    jobs.forget(worker)
    assert jobs.list_jobs(worker.parent) == []


def test_only_the_recorded_process_is_signalled(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    assert jobs.stop(run.path) is False
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    record = {"pid": child.pid, "started": "not its start time", "host": platform.node()}
    atomic_write_json(run.path / "lock.json", record)
    assert jobs.stop(run.path) is False
    atomic_write_json(run.path / "lock.json", {**record, "started": start_of(child.pid)})
    assert jobs.stop(run.path) is True
    assert child.wait(10) == -signal.SIGTERM
    assert jobs.stop(run.path) is False
    atomic_write_json(run.path / "lock.json", {**record, "host": "elsewhere"})
    with pytest.raises(RunError, match="stop it there"):
        jobs.stop(run.path)


def test_a_record_from_before_the_machine_was_started_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", {"data": "x"})
    run.set_status("training")
    record = {"pid": 1, "started": "another-boot:17", "host": platform.node()}
    atomic_write_json(run.path / "lock.json", record)
    state = jobs.state(run.path)
    assert state.name == "died"
    assert "started again" in state.reason


def test_what_is_no_job_is_none_or_named(tmp_path: Path) -> None:
    assert jobs.find(tmp_path / "nowhere") is None
    with pytest.raises(NotARunError):
        jobs.state(tmp_path / "nowhere")
    assert jobs.list_jobs(tmp_path) == []
    (tmp_path / "job.json").write_text("{")
    assert read_job(tmp_path) is None
