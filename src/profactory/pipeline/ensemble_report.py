"""What several trainings leave behind: one ensemble, one report."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from profactory.data.leakage import Leakage
from profactory.data.writing import open_writer
from profactory.evaluation.calibration import fit_calibration
from profactory.evaluation.formats import interval, number
from profactory.evaluation.names import label_of
from profactory.evaluation.repeats import Repeated, summarise
from profactory.evaluation.report import EvaluatedSplit, write_report
from profactory.files import atomic_write_json, read_json
from profactory.models.ensembles import save_ensemble
from profactory.pipeline.brief_report import OUTPUTS
from profactory.pipeline.folds import Ints, Plan
from profactory.pipeline.leakage import relatives
from profactory.pipeline.members_page import PAGE, write_members_page
from profactory.pipeline.preparation import Job
from profactory.pipeline.reporting import (
    baselines_of,
    data_info,
    provenance,
    settle_threshold,
    warnings_of,
)
from profactory.runs import Run
from profactory.sharing.model_card import write_card
from profactory.tasks import Calibration, Task, Values

Array = NDArray[Any]

log = logging.getLogger("profactory")


def report_ensemble(plan: Plan, run: Run, places: Mapping[str, Path], leakage: Leakage | None) -> None:
    """Save the ensemble, measure it, summarise its members, write the report.

    Outputs of a row are averaged over the members for which it is a row of that split: all of them for a test
    set that they share, those of one fold otherwise.
    """
    run.set_status("evaluating")
    outputs = {member.name: load_file(places[member.name] / "report" / OUTPUTS) for member in plan.members}
    pooled = {name: _pool(plan, outputs, name) for name in ("validation", "test")}
    jobs = {name: _only(plan.job, rows, name) for name, (rows, _) in pooled.items() if len(rows)}
    task, calibration = _settle(plan.job, jobs["validation"].targets("validation"), pooled["validation"][1])
    save_ensemble(
        run.model_dir,
        {name: place / "model" for name, place in places.items()},
        task=task,
        calibration=calibration,
        provenance=provenance(plan.job),
    )
    baselines, notes = _baselines(plan, task)
    splits = {}
    for name, job in jobs.items():
        table = job.dataset.select(job.rows(name)).table
        beside = baselines if name == list(jobs)[-1] else {}
        splits[name] = EvaluatedSplit(job.targets(name), pooled[name][1], table, beside)
    measured = list(jobs)[-1]
    members = _members(places, measured)
    found = summarise(list(members.values()), plan.groups, held_out=plan.held_out)
    symptoms = _symptoms(places)
    report = write_report(
        run.report_dir,
        task=task,
        splits=splits,
        baseline_notes=notes,
        run_info=_run_info(plan, run, found) | {"how the models trained": _tell(symptoms, len(members))},
        data_info=data_info(plan.job),
        warnings=_warnings(plan, list(jobs)),
        relatives=relatives(plan.job, leakage) if leakage else None,
        calibration=calibration,
        seed=plan.job.config.seed,
        beside=(PAGE, "members.csv"),
    )
    write_members_page(run.report_dir, places, members, measured)
    report.metrics["members"] = {"symptoms": dict(symptoms)}
    _add_members(plan, run, report.metrics, members, found)
    write_card(run.model_dir, run.path)
    main = report.metrics[report.metrics["main_split"]]
    numbers = {name: entry["value"] for name, entry in main.items() if entry["value"] is not None}
    run.emit("finished", split=report.metrics["main_split"], metrics=numbers)
    run.set_status("finished", metrics=numbers, step=None, total_steps=None, unit=None, eta_seconds=None)
    if report.metrics["comparison"]:
        log.info("%s", report.metrics["comparison"]["sentence"])
    log.log(logging.WARNING if symptoms else logging.INFO, "%s", _tell(symptoms, len(members)))


def _symptoms(places: Mapping[str, Path]) -> Counter[str]:
    """Count the members that show each symptom."""
    found = [read_json(place / "report" / "diagnosis.json")["findings"] for place in places.values()]
    return Counter(kind for findings in found for kind in {finding["kind"] for finding in findings})


def _tell(symptoms: Counter[str], models: int) -> str:
    if not symptoms:
        return f"Nothing unusual was found in the course of the {models} trainings."
    counts = (f"{kind.replace('_', ' ')} in {count}" for kind, count in symptoms.most_common())
    return f"Of {models} trainings: {', '.join(counts)}; see diagnosis.json of each."


def _settle(job: Job, truth: Values, outputs: Values) -> tuple[Task, Calibration]:
    """Settle what validation rows decide for the ensemble; its members have a temperature each."""
    calibration = fit_calibration(job.task, truth, outputs, coverage=job.config.coverage, temperature=1.0)
    return settle_threshold(job.task, truth, outputs), calibration


def _pool(plan: Plan, outputs: Mapping[str, Mapping[str, Array]], split: str) -> tuple[Ints, Values]:
    """Average the outputs of every row over the members for which it is in a split."""
    total: dict[int, Array] = {}
    count: Counter[int] = Counter()
    for member in plan.members:
        rows = member.job.rows(split)
        if not len(rows):
            continue
        values = Values(outputs[member.name][split], _offsets(member.job, rows))
        for place, row in enumerate(rows.tolist()):
            total[row] = total.get(row, 0.0) + values[place].astype(np.float64)
            count[row] += 1
    rows = np.array(sorted(total), np.int64)
    means = [(total[row] / count[row]).astype(np.float32) for row in rows.tolist()]
    return rows, Values.concat(means, per_residue=plan.job.task.per_residue)


def _offsets(job: Job, rows: Ints) -> Ints | None:
    """Return where the residues of each row begin; None for one output per sequence."""
    if not job.task.per_residue:
        return None
    lengths = np.minimum(job.dataset.lengths[rows], job.choices.max_length)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _only(job: Job, rows: Ints, split: str) -> Job:
    """Return a job with nothing but these rows in a split."""
    splits = np.full(len(job.dataset), "", object)
    splits[rows] = split
    return replace(job, division=replace(job.division, splits=splits))


def _baselines(plan: Plan, task: Task) -> tuple[dict[str, Values], Sequence[str]]:
    """Return what the baselines give for the rows on which the ensemble is measured.

    They are fitted in each fold that has test rows of its own, else once.
    """
    seed = plan.members[0].seed
    jobs = [member.job for member in plan.members if member.seed == seed]
    jobs = jobs if plan.own_test else jobs[:1]
    split = "test" if len(jobs[0].rows("test")) else "validation"
    rows: list[int] = []
    found: dict[str, list[Array]] = {}
    notes: Sequence[str] = ()
    for job in jobs:
        fitted = baselines_of(job, task)
        notes = fitted.notes
        rows += job.rows(split).tolist()
        for name, values in fitted.predict(job.sequences(split), job.targets(split)).items():
            found.setdefault(name, []).extend(values[i] for i in range(len(values)))
    order = np.argsort(rows)
    return {
        name: Values.concat([parts[i] for i in order], per_residue=task.per_residue)
        for name, parts in found.items()
        if len(parts) == len(rows)
    }, notes


def _members(places: Mapping[str, Path], split: str) -> dict[str, dict[str, float]]:
    """Return what each member measured on a split; NaN where undefined."""
    found = {}
    for name, place in places.items():
        entries = read_json(place / "report" / "metrics.json")[split]
        values = {key: entry["value"] for key, entry in entries.items()}
        found[name] = {key: math.nan if value is None else float(value) for key, value in values.items()}
    return found


def _add_members(
    plan: Plan,
    run: Run,
    metrics: dict[str, Any],
    members: Mapping[str, Mapping[str, float]],
    found: Mapping[str, Repeated],
) -> None:
    """Write the members into ``metrics.json``, and as a table of their own."""
    metrics["members"] |= {
        "names": list(members),
        "folds": plan.folds,
        "seeds": sorted({member.seed for member in plan.members}),
        "own_test": plan.own_test,
        "metrics": {name: summary.to_dict() for name, summary in found.items()},
    }
    atomic_write_json(run.report_dir / "metrics.json", metrics)
    names = list(next(iter(members.values())))
    columns: dict[str, list[Any]] = {
        "member": list(members),
        "fold": [member.fold or None for member in plan.members],
        "seed": [member.seed for member in plan.members],
        **{name: [values[name] for values in members.values()] for name in names},
    }
    with open_writer(run.report_dir / "members.csv", list(columns)) as writer:
        writer.write(columns)


def _run_info(plan: Plan, run: Run, found: Mapping[str, Repeated]) -> dict[str, Any]:
    job = plan.job
    settings = {k: v for k, v in job.choices.to_dict().items() if k != "reasons" and v is not None}
    return {
        "title": run.path.name,
        "subtitle": f"Ensemble of {len(plan.members)} models: {job.spec.name}, {job.choices.method}",
        "model": job.spec.name,
        "models": plan.sentence(),
        "Single models: mean ± standard deviation (95 % interval of the mean)": {
            label_of(name): _text(summary) for name, summary in found.items()
        },
        "settings": settings,
    }


def _text(summary: Repeated) -> str:
    text = f"{number(summary.mean)} ± {number(summary.deviation)}"
    if summary.low is None or summary.high is None:
        return text
    return f"{text} ({interval(summary.low, summary.high)})"


def _warnings(plan: Plan, measured: list[str]) -> list[str]:
    found = warnings_of(plan.job, measured)
    if plan.own_test:
        found.append(
            "Every row was predicted by models that did not see it. The ensemble of all of them cannot be"
            " measured on rows from which some of its models learned."
        )
    return found
