"""What an interrupted run and its continuation must have in common."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from profactory.errors import CheckpointError, Problem
from profactory.files import read_json
from profactory.pipeline.preparation import Job
from profactory.runs import Run

log = logging.getLogger("profactory")

_DATA = {"content_sha256": "the data", "splits_sha256": "the split", "task": "the labels"}
#: Choices that may be made anew: they say where and when, not what.
_FREE = ("reasons", "device")


def same_job(job: Job, run: Run, *, force: bool = False) -> Job:
    """Return the job as the run began it; refuse what would be another run.

    The batch that was settled on when the run began is kept, whatever memory is free now; so is bf16 or fp32,
    which every device can compute, whatever this one is fast in.

    Parameters
    ----------
    job
        Prepared anew from what the run says of itself.
    run
        The interrupted run.
    force
        Go on nevertheless, and say what differs.

    Raises
    ------
    CheckpointError
        Data, split, labels or a choice (the number of threads among them) are not what they were.
    """
    noted = run.path / "data.json"
    if not noted.is_file():
        return job  # stopped before anything was done: there is nothing to mix with
    before: dict[str, Any] = read_json(noted)
    begun = before["choices"]
    kept = {name: begun[name] for name in ("batch_size", "tokens_per_batch")}
    if job.config.precision == "auto" and begun["precision"] != "fp16":
        kept["precision"] = begun["precision"]
    job = replace(job, choices=replace(job.choices, **kept))
    differences = [*_changed_data(before, job.describe_data()), *_changed_choices(begun, job)]
    if differences and not force:
        raise CheckpointError(
            f"The run {run.path.name} cannot go on as it began: {len(differences)} thing(s) changed.",
            problems=differences,
            expected=f"{job.source} as it was, and the same settings",
            fix="put back what changed (threads: OMP_NUM_THREADS=N profactory resume RUN), start a new run,"
            " or type --force to go on with what is there now",
        )
    for difference in differences:
        log.warning("Going on although %s.", difference)
    return job


def _changed_data(before: dict[str, Any], now: dict[str, Any]) -> list[Problem]:
    return [
        Problem(f"{what} changed (was {_short(before.get(key))}, is {_short(now[key])})")
        for key, what in _DATA.items()
        if before.get(key) != now[key]
    ]


def _changed_choices(before: dict[str, Any], job: Job) -> list[Problem]:
    now = job.choices.to_dict()
    return [
        Problem(f"{name} changed (was {before[name]!r}, is {now[name]!r})")
        for name in now
        if name not in _FREE and name in before and before[name] != now[name]
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 12 else f"{text[:12]}…"
