"""From sequences to predictions, in the order in which they came.

Sequences are run in batches of nearly equal length, so that hardly anything is padded; identical sequences
are run once. Outputs are float32 whatever the precision of the computation.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from profactory.data.batching import BatchPlan
from profactory.data.domain import UNLIKE_IN
from profactory.data.residues import clean_sequences
from profactory.data.structure_strings import Strings, structure_problems
from profactory.errors import ConfigError, MemoryBudgetError, Problem, RowError
from profactory.inference.decoding import decode_rows, no_outputs
from profactory.inference.engines import Engine
from profactory.inference.engines.torch_engine import TorchEngine
from profactory.inference.long_sequences import TAKES_LONG, Long, Pieces
from profactory.inference.novelty import Predicted, attach, detach, embedding_domains, novelty_columns
from profactory.progress import Progress
from profactory.tasks import Values

if TYPE_CHECKING:
    from profactory.models.batch import TokenBatch
    from profactory.models.extra_inputs import Sample
    from profactory.models.protein_model import ProteinModel

#: Tokens per batch. A processor gains little from more than this; a graphics card needs enough to do.
CPU_TOKENS, GPU_TOKENS = 2048, 32768

#: Sequences that are tokens and outputs of their own at a time; more would take memory for each.
BLOCK = 4096

log = logging.getLogger("profactory")

Row = NDArray[np.float32]


class Predictor:
    """A trained model, ready to predict.

    Parameters
    ----------
    model
        What was trained.
    device, precision
        See :class:`profactory.inference.engines.torch_engine.TorchEngine`.
    tokens_per_batch
        Tokens per batch, padding included; a longer sequence is a batch of its own.
    long
        What is done with sequences longer than the model reads: ``truncate`` reads their beginning,
        ``windows`` reads them in overlapping windows, ``error`` refuses them.
    engine
        What computes; torch with `device` and `precision` if not given.
    fingerprint
        Names the saved model's content, so that an interrupted file is not finished by another model.
    """

    def __init__(
        self,
        model: ProteinModel,
        device: str = "auto",
        precision: str = "fp32",
        tokens_per_batch: int | None = None,
        long: str = Long.TRUNCATE,
        engine: Engine | None = None,
        fingerprint: str = "",
    ) -> None:
        self.engine = engine or TorchEngine(model, device, precision)
        self.model = model
        self.task = model.task
        self.calibration = model.calibration
        self.domains = [model.domain] if model.domain else []
        self.max_length: int = model.max_length
        if long not in list(Long):
            raise ConfigError(f"long is {long!r}.", expected=", ".join(Long), fix="--long truncate")
        self.long = Long(long)
        self.fingerprint = fingerprint
        self.tokens_per_batch = tokens_per_batch or (CPU_TOKENS if self.engine.on_processor else GPU_TOKENS)

    def refusals(self, sequences: Sequence[str]) -> dict[int, str]:
        """Return which clean sequences are refused for their length, and why; none unless asked for."""
        if self.long is not Long.ERROR:
            return {}
        return {
            row: f"the sequence has {len(sequence):,} residues and the model reads {self.max_length:,}"
            f" ({TAKES_LONG} would take it)"
            for row, sequence in enumerate(sequences)
            if len(sequence) > self.max_length
        }

    def predict(
        self,
        sequences: str | Sequence[str],
        *,
        structures: Strings | None = None,
        probabilities: bool = True,
    ) -> list[dict[str, Any]]:
        """Predict for sequences in memory.

        Parameters
        ----------
        sequences
            One sequence or several, as they would stand in a file.
        structures
            For models that read them: ``{"3di": [...], "ss8": [...]}``, one text for each sequence.
        probabilities
            Give ``probability_<class>`` too.

        Returns
        -------
        list of dict
            One record per sequence, in order: ``prediction``, the probabilities, ``novelty`` (see
            :meth:`profactory.data.domain.Domain.novelty`) if the model knows its training data, ``unlike`` if
            the sequence is unlike them (in which of length, composition, embedding), and ``truncated`` if
            only the beginning of the sequence was read.

        Raises
        ------
        RowError
            With every sequence that cannot be used.
        ConfigError
            The model does not read the structures that are given.
        """
        self._check_structures(structures or {})
        given = [sequences] if isinstance(sequences, str) else list(sequences)
        clean = self._usable(given, structures or {})
        outputs = self.predict_outputs(clean, strings=structures)
        columns = self.columns(clean, outputs, probabilities=probabilities)
        plain = [[_plain(value) for value in column] for column in columns.values()]
        records = [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]
        for record in records:
            for name in ("truncated", UNLIKE_IN):
                if not record.get(name, True):
                    del record[name]
        return records

    def _check_structures(self, strings: Strings) -> None:
        """Refuse strings that would change nothing."""
        reads = self.model.extra_inputs.structures
        unread = [kind for kind in strings if kind not in reads]
        if unread:
            raise ConfigError(
                f"The model does not read {' and '.join(unread)} strings, and they would change nothing.",
                expected=" and ".join(reads) if reads else "sequences alone",
                fix="leave them out, or train a model that reads them",
            )

    def _usable(self, given: Sequence[str], structures: Strings) -> list[str]:
        cleaned = clean_sequences(pa.array(given, pa.string()))
        clean: list[str] = cleaned.sequences.to_pylist()
        reasons = {**structure_problems(structures, clean), **self.refusals(clean), **cleaned.reasons}
        if reasons:
            raise RowError(
                f"{len(reasons):,} of {len(given):,} sequences cannot be used.",
                expected="residue letters",
                fix="mend or leave out the sequences named above",
                problems=[
                    Problem(f"sequence {row + 1}: {reason}", value=given[row])
                    for row, reason in sorted(reasons.items())
                ],
            )
        return clean

    def columns(
        self, sequences: Sequence[str], outputs: Values, *, probabilities: bool = True
    ) -> dict[str, list[Any]]:
        """Return all that is said of each sequence; files and records have these columns in this order.

        Parameters
        ----------
        sequences, outputs
            Clean sequences, and what :meth:`predict_outputs` gave for them.
        probabilities
            Give ``probability_<class>`` too.
        """
        columns: dict[str, list[Any]] = decode_rows(
            self.task, sequences, outputs, calibration=self.calibration, probabilities=probabilities
        )
        longer = [len(sequence) > self.max_length for sequence in sequences]
        if self.long is Long.WINDOWS:
            columns["windows"] = [len(starts) for starts in Pieces.cut(sequences, self.max_length).starts]
            longer = [False] * len(longer)
        return {**columns, **novelty_columns(self.domains, sequences, outputs), "truncated": longer}

    def column_names(self, *, probabilities: bool = True) -> list[str]:
        """Return the names of :meth:`columns`."""
        return list(self.columns([], no_outputs(self.task), probabilities=probabilities))

    def predict_outputs(
        self, sequences: Sequence[str], progress: Progress | None = None, strings: Strings | None = None
    ) -> Predicted:
        """Predict for clean sequences.

        Parameters
        ----------
        sequences
            Upper-case residue letters (see :mod:`profactory.data.residues`), none empty.
        progress
            Told of every finished sequence.
        strings
            For models that read them: checked structure strings, one of each kind for each sequence.

        Returns
        -------
        Predicted
            In the order of the sequences, float32. Classification: calibrated probabilities ``(n, classes)``;
            regression: ``(n, targets)``. Residue tasks: ``(residues, outputs)`` with offsets, as many
            residues of each sequence as were read.

        Raises
        ------
        MemoryBudgetError
            One sequence alone does not fit into the memory.
        """
        if not sequences:
            return no_outputs(self.task)
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        order = np.argsort(-lengths, kind="stable")  # neighbours are alike in length, and little is padded
        parts = []
        for start in range(0, len(order), BLOCK):
            rows = order[start : start + BLOCK]
            own = {kind: [texts[i] for i in rows] for kind, texts in (strings or {}).items()}
            parts.append(self._run_block([sequences[i] for i in rows], own, progress))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        packed = Values.join(parts).take(back)
        values, distances = detach(packed, len(embedding_domains(self.domains)))
        calibrated = self.calibration.apply(self.task, values)
        return Predicted(calibrated.values, calibrated.offsets, distances)

    def _run_block(self, sequences: Sequence[str], strings: Strings, progress: Progress | None) -> Values:
        """Return the raw outputs of some sequences."""
        if self.long is not Long.WINDOWS:
            rows = self._run_all(sequences, strings, progress)
        else:
            pieces = Pieces.cut(sequences, self.max_length)
            alike = {kind: pieces.cut_alike(texts) for kind, texts in strings.items()}
            rows = pieces.merge(self._run_all(pieces.texts, alike, None), per_residue=self.task.per_residue)
            if progress is not None:
                progress.advance(len(sequences))
        return Values.concat(rows, per_residue=self.task.per_residue)

    def _run_all(self, sequences: Sequence[str], strings: Strings, progress: Progress | None) -> list[Row]:
        """Return one array of outputs per sequence; what is wholly the same is run once."""
        keys = list(zip(sequences, *strings.values(), strict=True))
        unique = list(dict.fromkeys(keys))
        place = {key: i for i, key in enumerate(unique)}
        rows: list[Row] = [np.empty(0, np.float32)] * len(unique)
        texts, *others = zip(*unique, strict=True)
        samples = self.model.prepare(texts, dict(zip(strings, others, strict=True)))
        lengths = np.array([len(sample.ids) for sample in samples], np.int64)
        for batch in BatchPlan(lengths, self.tokens_per_batch).in_order():
            for i, output in zip(batch, self._run_fitting([samples[i] for i in batch]), strict=True):
                rows[i] = output
            if progress is not None:
                progress.advance(len(batch))
        if progress is not None:
            progress.advance(len(sequences) - len(unique))
        return [rows[place[key]] for key in keys]

    def _run_fitting(self, samples: list[Sample]) -> list[Row]:
        """Run one batch; if it does not fit into memory, in halves."""
        try:
            return self._run(samples)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if len(samples) == 1 or hasattr(self.model, "unshard"):  # processes with parts compute alike
                longest = max(len(sample.ids) for sample in samples)
                raise MemoryBudgetError(
                    f"{len(samples)} sequence(s) of up to {longest:,} tokens do not fit into memory"
                    f" ({self.engine.describe()}).",
                    expected="memory for one sequence at a time",
                    fix="predict with --device cpu, or train with a smaller --max-length",
                ) from None
        self.tokens_per_batch = max(1, self.tokens_per_batch // 2)
        log.warning(
            "A batch did not fit into memory; going on with %d tokens per batch.", self.tokens_per_batch
        )
        middle = len(samples) // 2
        return self._run_fitting(samples[:middle]) + self._run_fitting(samples[middle:])

    def _run(self, samples: list[Sample]) -> list[Row]:
        batch, domains = self.model.collate(samples), embedding_domains(self.domains)
        if not domains:
            return self._rows(self.task.probabilities(self.engine.run(batch)), batch)
        logits, embeddings = self.engine.run_embedded(batch)
        rows = self._rows(self.task.probabilities(logits), batch)
        return attach(rows, np.stack([domain.distance(embeddings) for domain in domains], axis=1))

    def _rows(self, outputs: NDArray[Any], batch: TokenBatch) -> list[Row]:
        """Cut a batch's outputs into those of each sequence."""
        if not self.task.per_residue:
            return list(outputs)
        return [output[:length] for output, length in zip(outputs, batch.lengths.tolist(), strict=True)]


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell a lack of memory, on a GPU or on a processor, from other errors of torch."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _plain(value: Any) -> Any:
    """Turn a 32-bit number into the Python number with the same few digits."""
    return float(str(value)) if isinstance(value, np.floating) else value
