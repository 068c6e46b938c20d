"""The doctor: what is broken, what is only absent, and the line to type."""

from __future__ import annotations

import email.message
import io
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from profactory.cli.main import main
from profactory.doctor import ABSENT, BROKEN, OK, Finding, diagnose, gpu, machine, network, packages
from profactory.doctor.gpu import no_gpu, nvidia_driver


@pytest.fixture(autouse=True)
def _hub_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())


def _one(check: Any) -> Finding:
    (finding,) = check()
    assert isinstance(finding, Finding)
    return finding


def test_the_page_of_a_sound_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    states = {finding["name"]: finding["state"] for finding in said["findings"]}
    assert said["ok"]
    for name in (
        "Python",
        "packages",
        "torch",
        "memory",
        "processor",
        "cache folder",
        "this folder",
        "self-test",
    ):
        assert states[name] == OK
    assert {"GPU", "bf16", "Hub"} <= {name.split()[0] for name in states}


def test_something_broken_ends_with_1_and_has_its_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "profactory.doctor.diagnose", lambda more: iter([Finding("x", BROKEN, "is bad", "mend it")])
    )
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out == "✗ x                is bad\n    fix: mend it\n\n1 to mend\n"


def test_a_check_that_fails_is_a_finding() -> None:
    def strange_check() -> Iterator[Finding]:
        raise ZeroDivisionError("ouch")
        yield

    *_, last = diagnose([strange_check])
    assert (last.name, last.state, last.detail) == ("strange check", BROKEN, "ZeroDivisionError: ouch")


# A driver of CUDA 12.4 runs builds for CUDA 12.x but not for 13; nvidia-smi may be absent or fail.
@pytest.mark.parametrize(
    ("torch_cuda", "driver", "state", "fix"),
    [
        (None, None, ABSENT, ""),
        ("12.6", None, ABSENT, ""),
        (None, ("550.54", "12.4"), BROKEN, "whl/cu126"),
        (None, ("580.65", "13.0"), BROKEN, "whl/cu130"),
        (None, ("470.82", "11.4"), BROKEN, "update the NVIDIA driver"),
        ("13.0", ("550.54", "12.4"), BROKEN, "whl/cu126"),
        ("12.6", ("550.54", "12.4"), BROKEN, "torch.cuda.init()"),
        ("12.6", "Driver/library version mismatch", BROKEN, "restart"),
    ],
)
def test_why_there_is_no_gpu(torch_cuda: str | None, driver: Any, state: str, fix: str) -> None:
    finding = no_gpu(torch_cuda, driver)
    assert finding.state == state
    assert fix in finding.fix
    assert bool(finding.fix) == bool(fix)


def test_a_hidden_gpu_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    finding = no_gpu("12.6", ("550.54", "12.6"))
    assert (finding.state, "CUDA_VISIBLE_DEVICES" in finding.detail) == (ABSENT, True)


SMI = "| NVIDIA-SMI 550.54.15    Driver Version: 550.54.15    CUDA Version: 12.4     |\n"


@pytest.mark.parametrize(
    ("code", "out", "expected"),
    [
        (0, SMI, ("550.54.15", "12.4")),
        (18, "Failed to initialize NVML: Driver/library version mismatch\n", "Failed to initialize NVML"),
        (9, "", "it ends with code 9"),
    ],
)
def test_what_nvidia_smi_says(code: int, out: str, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    answer = SimpleNamespace(returncode=code, stdout=out, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    said = nvidia_driver()
    assert said == expected if isinstance(expected, tuple) else str(said).startswith(expected)


def test_no_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    assert nvidia_driver() is None


def test_missing_and_old_packages_are_one_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [
        "numpy>=99",
        "no-such-package>=1.2",
        "pyarrow>=1",
        'other; extra == "more"',
        'x; python_version<"3"',
    ]
    monkeypatch.setattr(packages.metadata, "requires", lambda name: needed)
    finding = _one(packages.requirements)
    assert finding.state == BROKEN
    assert finding.fix == 'pip install "numpy>=99" "no-such-package>=1.2"'
    assert "no-such-package>=1.2 (missing)" in finding.detail


def test_extras_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    about = email.message.Message()
    for name in ("more", "dev", "plain"):
        about["Provides-Extra"] = name
    needed = ['no-such-package; extra == "more"', 'numpy; extra == "plain"', 'absent; extra == "dev"']
    monkeypatch.setattr(packages.metadata, "metadata", lambda name: about)
    monkeypatch.setattr(packages.metadata, "requires", lambda name: needed)
    plain, more = packages.extras()
    assert (plain.state, plain.detail) == (OK, "plain")
    assert (more.state, more.fix) == (ABSENT, 'pip install "profactory[more]"')


def test_python_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _one(packages.python).state == OK
    monkeypatch.setattr(packages.sys, "version_info", (3, 9, 1))
    assert "3.12" in _one(packages.python).fix


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setattr(machine, "_container_memory", lambda: None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 << 30, available=1 << 30))
    assert _one(machine.memory).state == BROKEN
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 << 30, available=60 << 30))
    monkeypatch.setattr(machine, "_container_memory", lambda: 4 << 30)
    finding = _one(machine.memory)
    assert (finding.state, "4.0 GiB (limit of the container)" in finding.detail) == (OK, True)


def test_a_cache_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PROFACTORY_CACHE", str(tmp_path / "file" / "cache"))
    finding = _one(machine.cache_folder)
    assert (finding.state, "PROFACTORY_CACHE" in finding.fix) == (BROKEN, True)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    assert _one(machine.cache_folder).state == BROKEN


def test_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _one(network.hub).state == OK

    def fail(error: Exception) -> Finding:
        def urlopen(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return _one(network.hub)

    assert fail(urllib.error.URLError("no route")).state == ABSENT
    assert fail(TimeoutError("timed out")).state == ABSENT
    assert fail(urllib.error.HTTPError("https://x", 503, "busy", email.message.Message(), None)).state == OK
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc/passwd")
    assert _one(network.hub).state == BROKEN
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finding = _one(network.hub)
    assert (finding.state, finding.fix) == (ABSENT, "unset HF_HUB_OFFLINE")


def test_what_the_processor_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for features, state in (({"avx2", "amx_bf16"}, OK), ({"avx2"}, ABSENT)):
        monkeypatch.setattr(machine, "_processor_features", lambda features=features: features)
        _, bf16 = machine.processor()
        assert bf16.state == state
