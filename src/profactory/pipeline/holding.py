"""One process at work in a run, and how the work ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from accelerate import PartialState

from profactory.errors import ProFactoryError, StoppedError
from profactory.runs import Run


@contextlib.contextmanager
def held(run: Run) -> Iterator[None]:
    """Hold the run's lock and log; put how it ended into its status."""
    if not PartialState().is_main_process:
        yield
        return
    with run.lock(), run.logged():
        try:
            yield
        except StoppedError as error:
            run.set_status("stopped", signal=error.signal)
            raise
        except KeyboardInterrupt:
            run.set_status("stopped")
            raise
        except ProFactoryError as error:
            run.set_status("failed", error=error.to_dict())
            raise
        except Exception as error:
            run.set_status("failed", error={"error": type(error).__name__, "found": str(error)})
            raise


@contextlib.contextmanager
def in_own_log() -> Iterator[None]:
    """While inside, what is said goes to the log of the one run at work; here only warnings are heard."""

    def is_warning(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING

    handlers = list(logging.getLogger("profactory").handlers)
    for handler in handlers:
        handler.addFilter(is_warning)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_warning)
