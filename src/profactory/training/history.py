"""The metric rows of a run: what was measured at which optimizer step. Torch-free.

A training writes ``step`` events (``step``, ``epoch``, ``loss``: mean since the row before,
``learning_rate``, ``grad_norm``), ``evaluation`` events (``step``, ``epoch``, ``train_loss``: mean since the
evaluation before, ``metrics``, ``improved``), ``checkpoint`` events (``step``, ``path``) and ``rollback``
events (``step`` whose loss was no number, ``to_step``, ``count``, ``factor`` of the learning rate from there
on). When a run goes on from step `s`, the rows after `s` that were written before are removed first, since
the same steps are computed again: every row occurs once, as if there had been no interruption.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from profactory.files import atomic_write_bytes

METRIC_EVENTS = ("step", "evaluation")
STEP_EVENTS = (*METRIC_EVENTS, "checkpoint")


def metric_rows(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ``step`` and ``evaluation`` events without the time at which they were written."""
    return [
        {key: value for key, value in event.items() if key != "time"}
        for event in events
        if event.get("event") in METRIC_EVENTS
    ]


def rewind_events(path: Path, step: int, *, rollbacks: int = 0) -> int:
    """Remove the rows of steps after `step` from an ``events.jsonl``; return how many were removed.

    Of the rollbacks the first `rollbacks` are kept; the others will happen again.
    """
    if not path.exists():
        return 0
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _is_after(line, step, rollbacks)]
    if len(kept) < len(lines):
        atomic_write_bytes(path, b"".join(kept))
    return len(lines) - len(kept)


def _is_after(line: bytes, step: int, rollbacks: int) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return True  # torn by the interruption
    if not isinstance(event, dict):
        return False
    if event.get("event") == "rollback":
        return bool(event.get("count", 0) > rollbacks)
    return event.get("event") in STEP_EVENTS and event.get("step", 0) > step
