"""The first signal asks, the second insists."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from profactory.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.received is None
        signal.raise_signal(number)
        assert stop.received == number
    assert signal.getsignal(number) is before


def test_second_signal_ends_at_once():
    code = (
        "import signal, time\n"
        "from profactory.training.signals import StopSignals\n"
        "with StopSignals():\n"
        "    signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGTERM); time.sleep(60)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert result.returncode == 143
    assert b"Stopping" in result.stderr


def test_harmless_in_another_thread():
    seen = []

    def work() -> None:
        with StopSignals() as stop:
            seen.append(stop.received)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
