"""Stopping by signal: the first asks, the second insists."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While inside, SIGINT and SIGTERM set :attr:`received` instead of ending the process.

    A second signal ends the process at once with exit code 128 + signal; files stay whole, since all of
    them are written beside their place and renamed. Outside the main thread, where Python allows no
    handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        # os.write, since print may be in use by the very code that the signal interrupted.
        os.write(
            sys.__stderr__.fileno() if sys.__stderr__ else 2,
            b"\nStopping: writing a checkpoint (once more to stop at once)\n",
        )
