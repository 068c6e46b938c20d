"""Which pre-trained model to begin with: for this machine, this many sequences, this task. Torch-free.

Rules of thumb over the catalogue and the estimate of cost; nothing is trained. What decides in the end is the
validation result of the models that were tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.checking_text import duration, size
from profactory.data.prepare import prepare_dataset
from profactory.doctor.gpu import gpu_memory
from profactory.doctor.machine import free_memory
from profactory.models.estimate import PROCESS_BYTES, Estimate, estimate
from profactory.models.zoo import MINI, ModelSpec, resolve

#: General models from small to large, and those for sequences that the others would cut.
LADDER = (MINI, "esm2-8m", "esm2-35m", "esm2-150m", "esm2-650m", "esm2-3b", "esm2-15b")
LONG = ("esmc-300m", "esmc-600m", "protbert", "prott5-xl-uniref50")
#: Fewer sequences than this to train on: parameters beyond which a model seldom gains anything.
FEW = {200: 40e6, 1_000: 160e6, 10_000: 700e6}
ADAPTED_FROM = 1_000  # sequences from which a GPU is better used to adapt the model than to read it
CUT = 0.05  # share of sequences that a model may cut before one with a longer context is looked for
HEAD_EPOCHS = 30  # about as many as early stopping leaves
GPU_SHARE = 0.9  # of its memory that a run may take
MINUTES = 60.0
ALSO = (
    "Antibodies: igbert. Known structures: saprot-650m-af2, or --method ses-adapter.",
    "Compare two or three by their validation results; look at the test result once, at the end.",
)
ASSUMED_ROWS, ASSUMED_LENGTH = 1_000, 350


@dataclass(frozen=True)
class Candidate:
    """One model of the catalogue, weighed.

    Parameters
    ----------
    name, parameters
        Of the model.
    memory_bytes, seconds
        What a training takes; seconds are None on a GPU, for which they were never measured.
    cut
        Share of the sequences that are longer than it reads.
    against
        Why it is not the one; empty if nothing speaks against it.
    """

    name: str
    parameters: int | None
    memory_bytes: int
    seconds: float | None
    cut: float
    against: str


@dataclass(frozen=True)
class Recommendation:
    """A model to begin with, and why.

    Parameters
    ----------
    model, method
        As typed behind ``--model`` and ``--method``.
    compare
        Models to try beside it.
    reasons
        One sentence each.
    commands
        What to type, in this order.
    candidates
        All that were weighed, from small to large.
    """

    model: str
    method: str
    compare: tuple[str, ...]
    reasons: tuple[str, ...]
    commands: tuple[str, ...]
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class _Case:
    """What the models are weighed against."""

    lengths: NDArray[Any]
    rows: int
    per_residue: bool
    method: str
    memory: int
    on_gpu: bool
    minutes: float


def recommend(
    source: str | Path | None = None, *, minutes: float = MINUTES, **options: Any
) -> Recommendation:
    """Recommend a pre-trained model.

    Parameters
    ----------
    source
        Whatever training takes; without it a thousand sequences of 350 residues are assumed.
    minutes
        That a training on a processor may take.
    **options
        Columns, ``task``, ``limit`` as for :func:`profactory.data.prepare.prepare_dataset`.

    Raises
    ------
    ProFactoryError
        The data cannot be read.
    """
    case, reasons = _case(source, minutes, options)
    candidates = [_weigh(resolve(name), case) for name in LADDER]
    reads_short = [c for c in candidates if c.cut > CUT]
    if reads_short:
        candidates += [_weigh(resolve(name), case) for name in LONG]
    fitting = [c for c in candidates if not c.against]
    whole = [c for c in fitting if c.cut <= CUT]
    # Of what fits the largest, and if that can be had one that reads the sequences to their ends.
    best = max(whole or fitting or candidates[:1], key=lambda c: c.parameters or 0)
    reasons += _why(best, case, bool(fitting))
    compare = tuple(c.name for c in _beside(best, fitting))
    data = "DATA" if source is None else str(source)
    commands = [f"profactory train {data} --model {name}" for name in (best.name, *compare)]
    return Recommendation(best.name, case.method, compare, tuple(reasons), tuple(commands), tuple(candidates))


def _case(source: str | Path | None, minutes: float, options: dict[str, Any]) -> tuple[_Case, list[str]]:
    """Look at data and machine; return them with sentences about both."""
    per_residue = False
    if source is None:
        lengths: NDArray[Any] = np.full(ASSUMED_ROWS, ASSUMED_LENGTH)
        about = f"No data were given: {ASSUMED_ROWS:,} sequences of {ASSUMED_LENGTH} residues are assumed."
    else:
        prepared = prepare_dataset(source, need_labels=False, bad_rows="drop", **options)
        lengths, task = prepared.dataset.lengths, prepared.task
        per_residue = task is not None and task.per_residue
        kind = str(task.kind).replace("_", " ") if task else "no labels"
        about = (
            f"{len(lengths):,} sequences ({kind}), median {np.median(lengths):,.0f} residues,"
            f" longest {int(lengths.max()):,}."
        )
    gpu = gpu_memory()
    memory = int(GPU_SHARE * gpu) if gpu else free_memory()
    method = "lora" if gpu and len(lengths) >= ADAPTED_FROM else "freeze"
    place = (
        f"A GPU with {size(gpu)}."
        if gpu
        else f"No GPU; {size(memory)} of memory are free. The method is"
        " freeze: the model reads each sequence once, then a head is trained in seconds."
    )
    return _Case(lengths, len(lengths), per_residue, method, memory, bool(gpu), minutes), [about, place]


def _weigh(spec: ModelSpec, case: _Case) -> Candidate:
    cost = estimate(
        spec,
        case.lengths,
        case.method,
        precision="bf16" if case.on_gpu else "fp32",
        per_residue=case.per_residue,
    )
    cut = float((case.lengths > spec.max_length).mean()) if spec.max_length else 0.0
    if cost is None:
        return Candidate(spec.name, spec.parameters, 0, None, cut, "its size is not known")
    memory = cost.memory_bytes - (PROCESS_BYTES if case.on_gpu else 0)
    seconds = None if case.on_gpu else cost.seconds_once + HEAD_EPOCHS * cost.seconds_per_epoch
    return Candidate(
        spec.name, spec.parameters, memory, seconds, cut, _against(spec, case, cost, memory, seconds)
    )


def _against(spec: ModelSpec, case: _Case, cost: Estimate, memory: int, seconds: float | None) -> str:
    if memory > case.memory:
        return f"needs {size(memory)} of memory"
    if seconds is not None and seconds > 60 * case.minutes:
        return f"takes {duration(seconds)}"
    limit = next((most for rows, most in FEW.items() if case.rows < rows), None)
    if limit is not None and (spec.parameters or 0) > limit:
        return f"large for {case.rows:,} sequences"
    return ""


def _why(best: Candidate, case: _Case, fits: bool) -> list[str]:
    if not fits:
        return [f"Nothing fits; {best.name} is the smallest. --limit takes fewer rows of the data."]
    time = "" if best.seconds is None else f" and {duration(best.seconds)}"
    found = [
        f"{best.name} is the largest model that nothing speaks against: about {size(best.memory_bytes)} of"
        f" memory{time}. Larger models know more of proteins; few sequences cannot make use of it."
    ]
    if best.cut:
        found.append(f"{best.cut:.0%} of the sequences are longer than it reads; their beginning is used.")
    return [*found, *ALSO]


def _beside(best: Candidate, fitting: Iterable[Candidate]) -> list[Candidate]:
    """Return the next smaller one, and ``mini`` for a first look."""
    smaller = sorted(
        (c for c in fitting if (c.parameters or 0) < (best.parameters or 0)),
        key=lambda c: c.parameters or 0,
        reverse=True,
    )
    return [*smaller[:1], *(c for c in smaller[1:] if c.name == MINI)]
