"""Everything of a pretraining that can be refused is refused here: before a run directory is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from profactory.config import PretrainConfig
from profactory.data.batching import Indices
from profactory.data.sources import find_sources
from profactory.errors import ConfigError, DataError
from profactory.files import sha256_bytes
from profactory.models.tuning import parameter_counts
from profactory.models.zoo import ModelSpec, resolve
from profactory.pipeline.choices import (
    choose_device,
    choose_precision,
    choose_threads,
    usual_learning_rate,
)
from profactory.pipeline.fitting import typed_settings
from profactory.pretraining.batches import Batches, BatchSettings
from profactory.pretraining.corpus import Corpus
from profactory.pretraining.reading import CorpusReport, open_corpus
from profactory.pretraining.starting import SIZES, Start, check_continuable, continued_model, new_model
from profactory.training.state import FitSettings

MOST_HELD_OUT = 2000
USUAL_LENGTH = 510  # residues: enough to see most domains whole, and attention stays cheap
NEW_LEARNING_RATE = 1e-3
EVALUATION_STEPS = 500


@dataclass(frozen=True)
class Sequences:
    """Part of a corpus.

    Parameters
    ----------
    records
        Which records of it, shape ``(n,)``.
    """

    corpus: Corpus
    report: CorpusReport
    records: Indices
    sha256: str

    def describe(self) -> dict[str, Any]:
        """Return what was read, as JSON-ready values."""
        return {"sha256": self.sha256, "records": len(self.records), "read": asdict(self.report)}


@dataclass(frozen=True)
class PretrainJob:
    """A pretraining that can start.

    Parameters
    ----------
    spec
        The model that is continued; None for a new one.
    start
        The language model before it is trained.
    training, held_out
        What is trained on and what is only measured.
    note
        How the held-out sequences were chosen.
    fitting
        The loop's settings.
    choices
        What was chosen for the user, with ``reasons``.
    """

    source: Path
    config: PretrainConfig
    spec: ModelSpec | None
    start: Start
    training: Sequences
    held_out: Sequences
    note: str
    fitting: FitSettings
    choices: dict[str, Any]

    def batches(self, part: Sequences) -> Batches:
        """Return the batches of a part of the sequences."""
        settings = BatchSettings(
            tokens=self.choices["tokens_per_batch"],
            sequences=self.config.batch_size,
            max_length=self.choices["max_length"] + 2,
            labelled_share=self.config.labelled_share,
            # A measurement leaves nobody out.
            unannotated_share=self.config.unannotated_share if part is self.training else 1.0,
        )
        return Batches(
            part.corpus,
            part.records,
            self.config.seed,
            settings,
            vocabulary=self.start.vocabulary,
            mask_probability=self.config.mask_probability,
        )

    def describe_data(self) -> dict[str, Any]:
        """Return ``data.json``: what the run is trained and measured on."""
        digest = sha256_bytes(self.training.records.tobytes() + self.held_out.records.tobytes())
        return {
            "source": str(self.source),
            "task": "masked_language_modelling",
            "train": self.training.describe(),
            "validation": self.held_out.describe(),
            "split_note": self.note,
            "splits_sha256": digest,
            "shared_sequences": self.shared(),
            "choices": self.choices,
        }

    def shared(self) -> int:
        """Return how many held-out sequences are trained on as well."""
        seen = self.training.corpus.identities()[self.training.records]
        return int(np.isin(self.held_out.corpus.identities()[self.held_out.records], seen).sum())


def prepare_pretraining(source: str, config: PretrainConfig) -> PretrainJob:
    """Read the sequences and the model, and settle what the user left open.

    Raises
    ------
    ProFactoryError
        For files that cannot be read, a model without a masked-language-model head, too few sequences.
    """
    spec = resolve(config.init, revision=config.revision) if config.init else None
    if spec:
        check_continuable(spec)
    path = _one_file(source)
    training, held_out, note = _divide(path, config)
    start = _start(config, spec)
    choices = _choose(config, start)
    job = PretrainJob(path, config, spec, start, training, held_out, note, FitSettings(), choices)
    steps = len(job.batches(training).plan(0))
    return replace(job, fitting=_fit_settings(config, choices, steps))


def _one_file(source: str) -> Path:
    files = find_sources(source)
    if len(files) != 1:
        raise DataError(f"{source} holds {len(files)} files.", expected="one file of sequences")
    return files[0].path.absolute()


def _start(config: PretrainConfig, spec: ModelSpec | None) -> Start:
    if spec:
        return continued_model(
            spec, config.method, lora_rank=config.lora_rank, lora_alpha=config.lora_alpha, seed=config.seed
        )
    layers, width, heads = SIZES[config.size or "mini"]
    asked_heads = config.heads or (heads if config.width in (None, width) else None)
    return new_model(config.layers or layers, config.width or width, asked_heads, seed=config.seed)


def _divide(path: Path, config: PretrainConfig) -> tuple[Sequences, Sequences, str]:
    corpus, report, sha256 = open_corpus(
        path,
        annotations=config.annotations,
        chains=config.residue_labels,
        min_length=config.min_length,
    )
    everything = np.arange(len(corpus))
    if config.validation:
        other, other_report, other_sha256 = open_corpus(config.validation, min_length=config.min_length)
        held_out = Sequences(other, other_report, np.arange(len(other)), other_sha256)
        kept, note = everything, f"held-out sequences from {config.validation}"
    else:
        chosen = hold_out(corpus, config.validation_share, config.seed)
        held_out = Sequences(corpus, report, everything[chosen], sha256)
        kept, note = everything[~chosen], "held-out sequences drawn at random, equal ones on one side"
    _check_enough(path, report, len(kept))
    _check_enough(config.validation or path, held_out.report, len(held_out.records))
    return Sequences(corpus, report, kept, sha256), held_out, note


def hold_out(corpus: Corpus, share: float, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Choose records to hold out at random, all or none of those with the same sequence.

    Records with residue labels are never held out: they are there to be learnt from.

    Returns
    -------
    ndarray
        ``(records,)`` bool.
    """
    groups, sizes = np.unique(corpus.identities()[~corpus.has_residue_labels], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(groups))
    wanted = min(MOST_HELD_OUT, max(1, round(share * int(sizes.sum()))))
    enough = int(np.searchsorted(sizes[order].cumsum(), wanted)) + 1
    return np.isin(corpus.identities(), groups[order[:enough]]) & ~corpus.has_residue_labels


def _check_enough(path: Path, report: CorpusReport, records: int) -> None:
    if records:
        return
    reasons = {
        "too short": report.skipped_too_short,
        "with unknown letters": report.skipped_unknown_letters,
        "unreadable": report.skipped_unreadable,
    }
    found = ", ".join(f"{count:,} {why}" for why, count in reasons.items() if count)
    raise DataError(
        f"{path}: there is no sequence to train on or to hold out; {report.used:,} can be used"
        + (f", {found}." if found else "."),
        expected="at least two different sequences",
        fix="see `profactory check` for what is wrong with the file, or --min-length",
    )


def _choose(config: PretrainConfig, start: Start) -> dict[str, Any]:
    """Fill in what the user left open, each with its reason."""
    reasons: dict[str, str] = {}
    device = choose_device(config, reasons)
    chosen = {
        "method": config.method,
        "device": device,
        "precision": choose_precision(config, device, reasons),
        "threads": choose_threads(config, reasons),
        "max_length": _max_length(config, start, reasons),
        "tokens_per_batch": config.tokens_per_batch or (65_536 if config.batch_size else 4096),
        "learning_rate": config.learning_rate or _learning_rate(config, start, reasons),
        "epochs": config.epochs or 10,
        "patience": config.patience if config.patience is not None else (3 if config.init else 0),
    }
    if config.epochs is None:
        reasons["epochs"] = "at most" if chosen["patience"] else "usual; --max-steps ends it sooner"
    if config.patience is None and config.init:
        reasons["patience"] = "a small family is soon learnt by heart"
    return {**chosen, "reasons": reasons}


def _max_length(config: PretrainConfig, start: Start, reasons: dict[str, str]) -> int:
    if config.max_length is None:
        reasons["max_length"] = "longer sequences are cropped, anew in each epoch"
        return min(USUAL_LENGTH, start.max_length)
    if config.max_length > start.max_length:
        raise ConfigError(
            f"max_length {config.max_length:,} is beyond what the model can read.",
            expected=f"at most {start.max_length:,} residues",
            fix="leave --max-length out",
        )
    return config.max_length


def _learning_rate(config: PretrainConfig, start: Start, reasons: dict[str, str]) -> float:
    if not config.init:
        reasons["learning_rate"] = "usual for a new model"
        return NEW_LEARNING_RATE
    reasons["learning_rate"] = f"usual for {config.method} on a model of this size"
    return usual_learning_rate(config.method, parameter_counts(start.model).total)


def _fit_settings(config: PretrainConfig, choices: Mapping[str, Any], batches: int) -> FitSettings:
    """Return the loop's settings; long epochs are evaluated within."""
    steps = batches // config.gradient_accumulation_steps
    often = EVALUATION_STEPS if steps > 2 * EVALUATION_STEPS else None
    return FitSettings(
        **typed_settings(config),
        epochs=choices["epochs"],
        max_steps=config.max_steps,
        learning_rate=choices["learning_rate"],
        eval_steps=config.eval_steps or often,
        patience=choices["patience"],
        precision=choices["precision"],
        device=choices["device"],
    )
