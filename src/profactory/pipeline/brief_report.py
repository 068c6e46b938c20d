"""What one run among many leaves behind: no page of its own, but all that the whole needs."""

from __future__ import annotations

import math

import numpy as np
from accelerate import PartialState
from safetensors.numpy import save_file

from profactory.evaluation.metrics import compute_metrics
from profactory.evaluation.predictions import write_predictions
from profactory.files import atomic_dir, atomic_write_json
from profactory.pipeline.fitting import Trained
from profactory.pipeline.preparation import Job
from profactory.pipeline.reporting import keep_model
from profactory.runs import Run

OUTPUTS = "outputs.safetensors"


def report_briefly(job: Job, trained: Trained, run: Run) -> None:
    """Save the model of one run among many, its outputs and its metrics; the page is that of the whole."""
    names = [name for name in ("validation", "test") if len(job.rows(name))]
    outputs = {name: trained.outputs(name) for name in names}  # all processes take part
    if not PartialState().is_main_process:
        return
    run.set_status("evaluating")
    task, outputs = keep_model(job, trained, outputs, run)
    metrics = {name: compute_metrics(task, job.targets(name), outputs[name]) for name in names}
    with atomic_dir(run.report_dir) as folder:
        for name in names:
            table = job.dataset.select(job.rows(name)).table
            write_predictions(folder / f"predictions_{name}.csv", table, task.decode(outputs[name]))
        save_file({name: np.ascontiguousarray(o.values) for name, o in outputs.items()}, folder / OUTPUTS)
        plain = {name: {key: {"value": _finite(v)} for key, v in m.items()} for name, m in metrics.items()}
        atomic_write_json(folder / "metrics.json", {**plain, "task": str(task.kind), "main_split": names[-1]})
    numbers = {name: value for name, value in metrics[names[-1]].items() if math.isfinite(value)}
    run.emit("finished", split=names[-1], metrics=numbers)
    run.set_status("finished", metrics=numbers, eta_seconds=None)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
