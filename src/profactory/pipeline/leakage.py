"""How new the test sequences are: looked up before training, so that nobody learns it afterwards."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from profactory.data import homology
from profactory.data.grouping import exact_groups
from profactory.data.leakage import (
    MMSEQS,
    WORDS,
    Leakage,
    count_duplicates,
    find_leakage_anyhow,
    not_compared,
)
from profactory.errors import ProFactoryError
from profactory.evaluation.relatives import Relatives
from profactory.files import atomic_write_json, cache_dir, read_json, sha256_bytes
from profactory.pipeline.preparation import Job
from profactory.runs import Run

log = logging.getLogger("profactory")

VERSION = 1  # of the kept results; raised when the same data would give others


def examine_leakage(job: Job, run: Run) -> Leakage | None:
    """Compare test with training rows, say what was found and note it in ``data.json``.

    None without test, and of too many rows, of which exact duplicates are counted all the same. The result is
    kept in the cache: resumed runs, and others on the same data and split, find it there.
    """
    if not len(job.rows("test")):
        return None
    if said := not_compared(len(job.dataset)):
        duplicates = count_duplicates(exact_groups(job.dataset.sequences), job.splits)
        _note(run, {"exact_duplicates": duplicates, "note": said, "warning": ""})
        copies = f"{duplicates['train-test']:,} exact duplicates"
        log.warning("Test against train: %s. %s", copies, said)
        return None
    found = _kept(job) or _find(job)
    _note(run, found.to_dict())
    log.info("Test against train: %s", found.summary)
    if found.warning:
        log.warning("%s", found.warning)
    return found


def _note(run: Run, leakage: dict[str, Any]) -> None:
    noted = run.path / "data.json"
    atomic_write_json(noted, {**read_json(noted), "leakage": leakage})


def relatives(job: Job, leakage: Leakage) -> Relatives:
    """Return what the report needs, with rows counted within the test split."""
    test = job.rows("test")
    return Relatives(
        identity=leakage.identity,
        subsets={name: np.searchsorted(test, rows) for name, rows in leakage.subsets().items()},
        summary=leakage.to_dict(),
    )


def _find(job: Job) -> Leakage:
    found = find_leakage_anyhow(job.dataset, job.splits, seed=job.config.seed, threads=job.choices.threads)
    if found.method != _method():
        return found  # MMseqs2 failed this time: not kept under its name
    plain = {**asdict(found), "rows": found.rows.tolist(), "identity": found.identity.tolist()}
    atomic_write_json(_place(job), plain)
    return found


def _kept(job: Job) -> Leakage | None:
    path = _place(job)
    if not path.is_file():
        return None
    try:
        plain = read_json(path)
        rows, identity = np.array(plain["rows"], np.int64), np.array(plain["identity"], np.float32)
        return Leakage(plain["method"], rows, identity, plain["duplicates"], plain["test_rows"])
    except (ProFactoryError, ValueError, KeyError, TypeError):
        log.warning("%s is damaged and is made again.", path)
        return None


def _place(job: Job) -> Path:
    parts = [VERSION, _method(), job.config.seed, job.dataset.content_hash, job.splits_hash]
    return cache_dir() / "leakage" / f"{sha256_bytes(repr(parts).encode())[:32]}.json"


def _method() -> str:
    """Name how relatives are looked up on this machine."""
    return MMSEQS if homology.find_mmseqs() else WORDS
