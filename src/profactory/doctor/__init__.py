"""Is this machine fit for the work? A line for each finding: ✓ fine, ⊘ not here, ✗ broken, with the fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from profactory.doctor.finding import ABSENT, BROKEN, OK, Finding
from profactory.doctor.gpu import torch_and_gpu
from profactory.doctor.machine import cache_folder, memory, processor, working_folder
from profactory.doctor.network import hub
from profactory.doctor.packages import extras, python, requirements

__all__ = ["ABSENT", "BROKEN", "OK", "Finding", "diagnose"]

Check = Callable[[], Iterable[Finding]]
CHECKS: tuple[Check, ...] = (
    python,
    requirements,
    extras,
    torch_and_gpu,
    memory,
    processor,
    cache_folder,
    working_folder,
    hub,
)


def diagnose(more: Iterable[Check] = ()) -> Iterator[Finding]:
    """Look at everything; a check that fails unexpectedly is a finding itself.

    Parameters
    ----------
    more
        Further checks, from rooms above this one.
    """
    for check in (*CHECKS, *more):
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - the doctor reports whatever is broken, by name
            yield Finding(check.__name__.replace("_", " "), BROKEN, f"{type(error).__name__}: {error}")
