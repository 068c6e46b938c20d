"""The data report with what training would cost, on the screen and as a page. Torch-free."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from profactory.data.checking import DataReport, check, report_of_nothing
from profactory.data.fixing import REJECTED, check_free
from profactory.data.prepare import NoUsableRowError, Prepared
from profactory.errors import DataError
from profactory.files import atomic_write_json, atomic_write_text, cache_dir
from profactory.models.estimate import estimate
from profactory.models.families import DEFAULT_MAX_LENGTH
from profactory.models.zoo import MINI, ModelSpec, resolve

log = logging.getLogger("profactory")

PAGE, JSON = "report.html", "report.json"


def check_data(
    source: str | Path,
    *,
    model: str = MINI,
    revision: str | None = None,
    method: str = "auto",
    max_length: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    **options: Any,
) -> DataReport:
    """Report on a data set without training.

    Parameters
    ----------
    source
        Whatever training takes.
    model, revision, method, max_length
        What would be trained: the report says how many sequences are too long for it and what it costs here.
    out
        Folder for ``report.html``, ``report.json`` and ``rejected_rows.csv``; nothing is written without it.
    overwrite
        Replace these files.
    **options
        As for :func:`profactory.data.checking.check`: columns, ``task``, ``limit``, ``sample``, ``fix``.

    Raises
    ------
    ProFactoryError
        The data cannot be read or no row can be used (the files are written nevertheless); there is no such
        model; files are there already.
    """
    spec = resolve(model, revision=revision)
    longest = max_length or spec.max_length or DEFAULT_MAX_LENGTH
    typed = {
        "model": model if model != MINI else None,
        "revision": revision,
        "method": method if method != "auto" else None,
        "max_length": max_length,
    }
    if out is not None:
        _check_place(source, Path(out), overwrite)
    try:
        report = check(
            source,
            max_length=longest,
            also_typed=typed,
            estimator=_estimator(spec, "freeze" if method == "auto" else method, longest),
            out=out,
            overwrite=overwrite,
            **options,
        )
    except NoUsableRowError as error:
        if out is None:
            raise
        written = _write(report_of_nothing(str(source), error), Path(out)).written
        log.warning("All rows are named in %s; the report is %s.", Path(out) / REJECTED, written[0])
        raise
    return report if out is None else _write(report, Path(out))


def _check_place(source: str | Path, out: Path, overwrite: bool) -> None:
    """Refuse a place where files would be lost, or be taken for data the next time."""
    check_free(out, [PAGE, JSON], overwrite=overwrite)
    if out.exists() and Path(source).is_dir() and out.samefile(source):
        raise DataError(
            f"{out} is the folder with the data.",
            expected="another folder, so that the report is not taken for data",
            fix="choose another --out",
        )


def _estimator(spec: ModelSpec, method: str, max_length: int) -> Callable[[Prepared], dict[str, Any]]:
    def cost(prepared: Prepared) -> dict[str, Any]:
        residues = prepared.task is not None and prepared.task.per_residue
        lengths = prepared.dataset.lengths
        found = estimate(spec, lengths, method, max_length=max_length, per_residue=residues)
        if found is None or prepared.task is None:
            return {}
        disk = psutil.disk_usage(str(next(p for p in (cache_dir(), *cache_dir().parents) if p.exists())))
        return {
            "model": spec.name,
            "method": method,
            **found.to_dict(),
            "free_memory_bytes": psutil.virtual_memory().available,
            "free_disk_bytes": disk.free,
        }

    return cost


def _write(report: DataReport, out: Path) -> DataReport:
    from profactory.evaluation.data_page import render_data_page  # loads matplotlib

    report = replace(report, written=[*report.written, str(out / PAGE), str(out / JSON)])
    atomic_write_text(out / PAGE, render_data_page(report))
    atomic_write_json(out / JSON, report.to_dict())
    return report
