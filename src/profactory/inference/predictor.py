"""From sequences to predictions, in the order in which they came.

Sequences are run in batches of nearly equal length, so that hardly anything is padding; identical sequences
are run once. Outputs are float32 whatever the precision of the computation.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from profactory.data.batching import BatchPlan
from profactory.data.residues import clean_sequences
from profactory.errors import ConfigError, MemoryBudgetError, Problem, RowError
from profactory.inference.decoding import decode_rows
from profactory.progress import Progress
from profactory.tasks import Values

if TYPE_CHECKING:
    from profactory.models.protein_model import ProteinModel

#: Tokens per batch. A processor gains little from more than this; a graphics card needs enough to do.
CPU_TOKENS, GPU_TOKENS = 2048, 32768

log = logging.getLogger("profactory")


class Predictor:
    """A trained model, ready to predict.

    Parameters
    ----------
    model
        What was trained. It is moved to the device and put into evaluation mode.
    device
        ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    precision
        ``fp32``, ``bf16`` or ``fp16`` (GPU only) of the computation.
    tokens_per_batch
        Tokens per batch, padding included; a longer sequence is a batch of its own.
    """

    def __init__(
        self,
        model: ProteinModel,
        device: str = "auto",
        precision: str = "fp32",
        tokens_per_batch: int | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.dtype = _dtype(precision, self.device)
        self.model = model.to(self.device).eval()
        self.task = model.task
        self.calibration = model.calibration
        self.max_length: int = model.max_length
        self.tokens_per_batch = tokens_per_batch or (CPU_TOKENS if self.device.type == "cpu" else GPU_TOKENS)

    def truncated(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Tell which sequences are longer than what the model reads, shape ``(n,)``."""
        return np.fromiter((len(s) > self.max_length for s in sequences), np.bool_, len(sequences))

    def predict(self, sequences: str | Sequence[str], *, probabilities: bool = True) -> list[dict[str, Any]]:
        """Predict for sequences in memory.

        Parameters
        ----------
        sequences
            One sequence or several, as they would stand in a file.
        probabilities
            Give ``probability_<class>`` too.

        Returns
        -------
        list of dict
            One record per sequence, in order: ``prediction``, the probabilities, and ``truncated`` if the
            sequence is longer than the model reads.

        Raises
        ------
        RowError
            With every sequence that cannot be used.
        """
        given = [sequences] if isinstance(sequences, str) else list(sequences)
        cleaned = clean_sequences(pa.array(given, pa.string()))
        if cleaned.reasons:
            raise RowError(
                f"{len(cleaned.reasons):,} of {len(given):,} sequences cannot be used.",
                expected="residue letters",
                fix="mend or leave out the sequences named above",
                problems=[
                    Problem(f"sequence {row + 1}: {reason}", value=given[row])
                    for row, reason in sorted(cleaned.reasons.items())
                ],
            )
        clean = cleaned.sequences.to_pylist()
        columns = self.decode(clean, self.predict_outputs(clean), probabilities=probabilities)
        plain = [[_plain(value) for value in column] for column in columns.values()]
        records = [dict(zip(columns, row, strict=True)) for row in zip(*plain, strict=True)]
        for record, truncated in zip(records, self.truncated(clean), strict=True):
            if truncated:
                record["truncated"] = True
        return records

    def decode(
        self, sequences: Sequence[str], outputs: Values, *, probabilities: bool = True
    ) -> dict[str, list[Any]]:
        """Turn outputs into columns; see :func:`profactory.inference.decoding.decode_rows`."""
        return decode_rows(
            self.task,
            sequences,
            outputs,
            self.max_length,
            calibration=self.calibration,
            probabilities=probabilities,
        )

    def predict_outputs(self, sequences: Sequence[str], progress: Progress | None = None) -> Values:
        """Predict for clean sequences.

        Parameters
        ----------
        sequences
            Upper-case residue letters (see :mod:`profactory.data.residues`), none empty.
        progress
            Told of every finished sequence.

        Returns
        -------
        Values
            In the order of the sequences, float32. Classification: calibrated probabilities ``(n, classes)``;
            regression: ``(n, targets)``. Residue tasks: ``(residues, outputs)`` with offsets, as many
            residues of each sequence as the model reads.

        Raises
        ------
        MemoryBudgetError
            One sequence alone does not fit into the memory.
        """
        unique = list(dict.fromkeys(sequences))
        place = {sequence: i for i, sequence in enumerate(unique)}
        rows: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(unique)
        tokens = self.model.backbone.tokenize(unique, self.max_length)
        lengths = np.array([len(t) for t in tokens], np.int64)
        for batch in BatchPlan(lengths, self.tokens_per_batch).in_order():
            for i, output in zip(batch, self._run_fitting([tokens[i] for i in batch]), strict=True):
                rows[i] = output
            if progress is not None:
                progress.advance(len(batch))
        if progress is not None:
            progress.advance(len(sequences) - len(unique))
        packed = self._pack([rows[place[sequence]] for sequence in sequences])
        return self.calibration.apply(self.task, packed)

    def _pack(self, rows: list[NDArray[np.float32]]) -> Values:
        if not rows:
            empty = np.empty((0, self.task.n_outputs), np.float32)
            return Values(empty, np.zeros(1, np.int64) if self.task.per_residue else None)
        return Values.concat(rows, per_residue=self.task.per_residue)

    def _run_fitting(self, tokens: list[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Run one batch; if it does not fit into memory, in halves."""
        try:
            return self._run(tokens)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if len(tokens) == 1:
                raise MemoryBudgetError(
                    f"A sequence of {len(tokens[0]):,} tokens does not fit into the memory of {self.device}.",
                    expected="memory for one sequence at a time",
                    fix="predict with --device cpu, or train with a smaller --max-length",
                ) from None
        self.tokens_per_batch = max(1, self.tokens_per_batch // 2)
        log.warning(
            "A batch did not fit into memory; going on with %d tokens per batch.", self.tokens_per_batch
        )
        middle = len(tokens) // 2
        return self._run_fitting(tokens[:middle]) + self._run_fitting(tokens[middle:])

    @torch.inference_mode()
    def _run(self, tokens: list[NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        batch = self.model.backbone.collate(tokens)
        inputs = [part.to(self.device) for part in (batch.input_ids, batch.attention_mask, batch.lengths)]
        with self._precision():
            logits = self.model(*inputs).float().cpu().numpy()  # (batch, outputs) or (batch, length, outputs)
        outputs = self.task.probabilities(logits)
        if not self.task.per_residue:
            return list(outputs)
        return [output[:length] for output, length in zip(outputs, batch.lengths.tolist(), strict=True)]

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def choose_device(name: str) -> torch.device:
    """Turn ``auto`` into the best device there is; check that any other exists."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {name!r} cannot be used here.",
            expected="cpu, or a GPU that torch can use",
            fix="--device auto; profactory doctor says what is missing",
        ) from error
    return device


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Tell a lack of memory, on a GPU or on a processor, from other errors of torch."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _plain(value: Any) -> Any:
    """Turn a 32-bit number into the Python number with the same few digits."""
    return float(str(value)) if isinstance(value, np.floating) else value


def _dtype(precision: str, device: torch.device) -> torch.dtype | None:
    known = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in known or (precision == "fp16" and device.type == "cpu"):
        raise ConfigError(
            f"The precision {precision} cannot be used on {device}.",
            expected="fp32 or bf16" + ("" if device.type == "cpu" else " or fp16"),
            fix="leave --precision out for fp32",
        )
    return known[precision]
