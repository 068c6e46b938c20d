"""The first signal asks, the second insists."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from profactory.training.signals import StopSignals


# In processes of their own: a signal to a worker of the test run could end the whole run.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_handlers_come_back(number):
    code = (
        "import signal\n"
        "from profactory.training.signals import StopSignals\n"
        f"before = signal.getsignal({int(number)})\n"
        "with StopSignals() as stop:\n"
        "    print(stop.received)\n"
        f"    signal.raise_signal({int(number)})\n"
        "    print(stop.received)\n"
        f"print(signal.getsignal({int(number)}) is before)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["None", str(int(number)), "True"]


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
