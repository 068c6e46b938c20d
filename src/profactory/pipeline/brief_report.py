"""What one run among many leaves behind: no page of its own, but all that the whole needs."""

from __future__ import annotations

import numpy as np
from accelerate import PartialState
from safetensors.numpy import save_file

from profactory.evaluation.baselines import fit_constant
from profactory.evaluation.names import main_metric
from profactory.evaluation.predictions import write_predictions
from profactory.evaluation.report import EvaluatedSplit, measure_splits
from profactory.files import atomic_dir, atomic_write_json
from profactory.pipeline.fitting import Trained
from profactory.pipeline.preparation import Job
from profactory.pipeline.reporting import diagnosing, keep_model
from profactory.runs import Run
from profactory.runs.layout import plain

OUTPUTS = "outputs.safetensors"


def report_briefly(job: Job, trained: Trained, run: Run) -> None:
    """Save the model of one run among many, its outputs and its metrics; the page is that of the whole."""
    names = [name for name in ("validation", "test") if len(job.rows(name))]
    outputs = {name: trained.outputs(name) for name in names}  # all processes take part
    if not PartialState().is_main_process:
        return
    run.set_status("evaluating")
    task, outputs = keep_model(job, trained, outputs, run)
    splits = {
        name: EvaluatedSplit(job.targets(name), outputs[name], job.dataset.select(job.rows(name)).table)
        for name in names
    }
    # An interval of the main metric alone, which the diagnosis looks at.
    metrics, _ = measure_splits(task, splits, seed=job.config.seed, only=[main_metric(task)])
    constant = fit_constant(task, job.targets("train"))
    diagnosis = diagnosing(job, trained, list(run.events()), constant)(metrics)
    with atomic_dir(run.report_dir) as folder:
        for name, split in splits.items():
            write_predictions(folder / f"predictions_{name}.csv", split.table, task.decode(outputs[name]))
        save_file({name: np.ascontiguousarray(o.values) for name, o in outputs.items()}, folder / OUTPUTS)
        atomic_write_json(folder / "metrics.json", metrics)
        atomic_write_json(folder / "diagnosis.json", plain(diagnosis.to_dict()))
    main = metrics[names[-1]]
    numbers = {name: entry["value"] for name, entry in main.items() if entry["value"] is not None}
    run.emit("finished", split=names[-1], metrics=numbers)
    run.set_status("finished", metrics=numbers, eta_seconds=None)
