"""What a finished pretraining leaves behind: the model, its perplexity, the report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.evaluation.drawing import png_of
from profactory.evaluation.formats import number
from profactory.evaluation.history import read_history
from profactory.evaluation.intervals import Method
from profactory.evaluation.page import render_page
from profactory.evaluation.plots import loss_curves, perplexity_curve
from profactory.files import atomic_write_bytes, atomic_write_json, atomic_write_text
from profactory.pipeline.pretraining_job import PretrainJob
from profactory.pretraining.export import export_model
from profactory.pretraining.heldout import RESIDUES, Predicted
from profactory.runs import Run
from profactory.training.state import FitResult

log = logging.getLogger("profactory")

SAMPLES = 1000
_CHUNK = 100  # bootstrap samples at once

Floats = NDArray[np.float64]


def report_pretraining(
    job: PretrainJob,
    run: Run,
    result: FitResult,
    predicted: Predicted,
    before: Predicted | None,
    floor: Predicted,
) -> None:
    """Write the model and the report.

    Parameters
    ----------
    job, run, result
        What was asked, where it goes, how the training went.
    predicted, before, floor
        The same hidden residues as predicted by the model, by the model before it was continued (None for
        a new one), and by amino-acid composition alone.
    """
    run.set_status("evaluating")
    export_model(job.start.finished_model(), run.model_dir, tokenizer_files=job.start.tokenizer_files)
    metrics = measure(predicted, before, floor, seed=job.config.seed)
    history = read_history(run.events())
    figures = {"loss": loss_curves(history), "perplexity": perplexity_curve(history)}
    images = {name: png_of(figure) for name, figure in figures.items() if figure is not None}
    run.report_dir.mkdir(exist_ok=True)
    for name, image in images.items():
        atomic_write_bytes(run.report_dir / f"{name}.png", image)
    files = ["metrics.json", *(f"{name}.png" for name in images), "report.html"]
    page = render_page(metrics, images, files, _run_info(job, run, result), _data_info(job), _warnings(job))
    atomic_write_text(run.report_dir / "report.html", page)
    atomic_write_json(run.report_dir / "metrics.json", metrics)
    numbers = {name: entry["value"] for name, entry in metrics["validation"].items()}
    run.emit("finished", split="validation", metrics=numbers)
    run.set_status("finished", metrics=numbers, eta_seconds=None)
    log.info("%s", metrics["comparison"]["sentence"])


def measure(
    predicted: Predicted, before: Predicted | None, floor: Predicted, *, seed: int = 0
) -> dict[str, Any]:
    """Return the content of ``metrics.json``; intervals by bootstrap over sequences."""
    others = ({"starting model": before} if before else {}) | {"composition": floor}
    records = np.unique(predicted.record, return_inverse=True)[1]
    draws = {name: _resampled(p, records, seed) for name, p in {"": predicted, **others}.items()}
    scored = {name: _entries(p, draws[name]) for name, p in {"": predicted, **others}.items()}
    against = next(iter(others))
    return {
        "validation": scored.pop(""),
        "baselines": scored,
        "task": "masked_language_modelling",
        "main_split": "validation",
        "main_metric": "perplexity",
        "counts": {"validation": {"proteins": int(records.max()) + 1, "residues": len(records)}},
        "comparison": _comparison(predicted, others[against], against, draws[""][0] - draws[against][0]),
        "per_class": {"validation": _per_residue(predicted)},
        "notes": {
            "validation": ["Perplexity: among how many residues the model hesitates. Lower is better."],
            "baselines": ["composition: how frequent each residue is in the training sequences."],
        },
        "intervals": Method(0.95, SAMPLES, seed, unit="sequences").sentence(),
    }


def _resampled(predicted: Predicted, records: NDArray[np.int64], seed: int) -> tuple[Floats, Floats]:
    """Perplexity and accuracy of each bootstrap sample; the same samples for the same records."""
    count = int(records.max()) + 1
    sums = np.stack(
        [
            np.bincount(records, weights)
            for weights in (predicted.loss, predicted.correct, np.ones(len(records)))
        ]
    )  # (3, sequences)
    rng = np.random.default_rng(seed)
    parts = [
        rng.multinomial(count, np.full(count, 1 / count), size=_CHUNK) @ sums.T
        for _ in range(SAMPLES // _CHUNK)
    ]
    loss, correct, number_of = np.concatenate(parts).T  # each (samples,)
    return np.exp(loss / number_of), correct / number_of


def _entries(predicted: Predicted, draws: tuple[Floats, Floats]) -> dict[str, Any]:
    values = {"perplexity": predicted.perplexity, "accuracy": predicted.accuracy}
    return {
        name: {"value": value, **_limits(samples), "samples": SAMPLES}
        for (name, value), samples in zip(values.items(), draws, strict=True)
    }


def _limits(samples: Floats) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


def _comparison(predicted: Predicted, other: Predicted, name: str, differences: Floats) -> dict[str, Any]:
    """Say whether the perplexity fell, from a paired bootstrap."""
    limits = _limits(differences)
    outcome = "better" if limits["high"] < 0 else "worse" if limits["low"] > 0 else "unclear"
    difference = predicted.perplexity - other.perplexity
    whose = name
    if name == "starting model":
        verb = {"better": "fell", "worse": "rose", "unclear": "did not clearly change"}[outcome]
        whose = f"the {name}"
    else:
        found = {"better": "below", "worse": "above", "unclear": "not clearly different from"}[outcome]
        verb = f"is {found} what composition alone gives"
    sentence = (
        f"The perplexity of held-out sequences {verb}: {number(predicted.perplexity)} against "
        f"{number(other.perplexity)} of {whose}, {number(difference, sign=True)} (95 % interval "
        f"{number(limits['low'], sign=True)} to {number(limits['high'], sign=True)})."
    )
    return {
        "metric": "perplexity",
        "against": name,
        "difference": difference,
        **limits,
        "outcome": outcome,
        "sentence": sentence,
    }


def _per_residue(predicted: Predicted) -> list[dict[str, Any]]:
    """Return a row for each residue that was hidden: how often, how well it is predicted."""
    counts = np.bincount(predicted.residue, minlength=len(RESIDUES))
    loss = np.bincount(predicted.residue, predicted.loss, len(RESIDUES))
    correct = np.bincount(predicted.residue, predicted.correct, len(RESIDUES))
    return [
        {
            "residue": RESIDUES[i],
            "support": int(counts[i]),
            "perplexity": float(np.exp(loss[i] / counts[i])),
            "accuracy": float(correct[i] / counts[i]),
        }
        for i in np.argsort(-counts, kind="stable")
        if counts[i]
    ]


def _run_info(job: PretrainJob, run: Run, result: FitResult) -> dict[str, Any]:
    settings: Mapping[str, Any] = {k: v for k, v in job.choices.items() if k != "reasons" and v is not None}
    return {
        "title": run.path.name,
        "subtitle": f"{job.config.model_name}, {job.config.method}",
        "model": job.config.model_name,
        "optimizer steps": result.steps,
        "epochs": result.epochs,
        "best epoch": result.best.epoch if result.best else None,
        "stopped early": result.stopped_early,
        "seconds of training": round(result.seconds, 1),
        "settings": settings,
    }


def _data_info(job: PretrainJob) -> dict[str, Any]:
    report = job.training.report
    return {
        "source": str(job.source),
        "train sequences": len(job.training.records),
        "held-out sequences": len(job.held_out.records),
        "held out": job.note,
        "left out": {
            "too short": report.skipped_too_short,
            "with unknown letters": report.skipped_unknown_letters,
            "unreadable": report.skipped_unreadable,
            "with labels of another length": report.skipped_label_length,
        },
        "with annotation": report.annotated,
        "with residue labels": report.with_residue_labels,
        "SHA-256 of the files": job.training.sha256,
    }


def _warnings(job: PretrainJob) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    found = []
    if job.config.validation is None:
        found.append(
            "Held-out sequences were drawn at random: relatives of most are among those trained on. The "
            "numbers are about this family, not about proteins at large."
        )
    if shared := job.shared():
        found.append(f"{shared:,} held-out sequences are trained on as well.")
    if job.training.report.skipped:
        found.append(f"{job.training.report.skipped:,} sequences could not be used and were left out.")
    return found
