"""``--tokens-per-batch auto``: measured before the first step, noted, and kept when the run goes on."""

from __future__ import annotations

import logging
from dataclasses import replace

from accelerate import PartialState

from profactory.config.training import AUTO
from profactory.files import atomic_write_json, read_json
from profactory.pipeline.preparation import Job
from profactory.runs import Run
from profactory.training.budget import CANDIDATES, choose_budget, probe
from profactory.training.distributed import agreed
from profactory.training.loss_model import LossModel
from profactory.training.sources import SequenceSource

#: An epoch keeps so many batches: fewer steps would cost more than faster ones gain.
LEAST_BATCHES = 16

log = logging.getLogger("profactory")


def settle_budget(job: Job, model: LossModel, source: SequenceSource, run: Run) -> None:
    """Give a source the batch that is fastest here, if the user asked for that."""
    if job.config.tokens_per_batch != AUTO:
        return
    state, choices = PartialState(), job.choices
    found = None
    if state.is_main_process:
        log.info("Measuring batches …")
        whole = int(source.batches.lengths.sum())
        few = [tokens for tokens in CANDIDATES if tokens * LEAST_BATCHES <= whole] or CANDIDATES[:1]
        found = choose_budget(probe(model, source, device=choices.device, precision=choices.precision), few)
        log.info("  tokens_per_batch = %d (%s)", found.tokens, found.reason)
        noted = read_json(run.path / "data.json")
        noted["choices"] |= {"tokens_per_batch": found.tokens}
        noted["choices"]["reasons"] |= {"tokens_per_batch": found.reason}
        atomic_write_json(run.path / "data.json", noted)
        run.emit("budget", tokens_per_batch=found.tokens, speeds=found.speeds)
    source.batches = replace(source.batches, tokens=agreed(state, found.tokens if found else None))
