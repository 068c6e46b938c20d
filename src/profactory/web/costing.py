"""What training would cost here, while the form is filled in."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.compute as pc
from numpy.typing import NDArray

from profactory.data.columns import find_columns
from profactory.data.reading import open_table
from profactory.data.sources import find_sources
from profactory.errors import ProFactoryError
from profactory.models.estimate import Estimate, estimate
from profactory.models.zoo import ModelSpec, resolve
from profactory.web.form import read_form
from profactory.web.workspace import is_public

MOST_BYTES = 50 << 20  # of a table that is read for its lengths at once
TYPICAL = np.full(1, 350)  # residues; the mean of Swiss-Prot, before data are chosen


@dataclass(frozen=True)
class Cost:
    """What is known about a training before it starts.

    Parameters
    ----------
    spec
        The model; None if no such model is known.
    estimate
        Memory, time and disk; None where the model's size is not known.
    sequences
        Number of sequences that it is for; 0 if that is not known and only the memory counts.
    free
        Bytes of memory that are free now.
    """

    spec: ModelSpec | None
    estimate: Estimate | None
    sequences: int
    free: int

    @property
    def fits(self) -> bool | None:
        """Whether the memory should be enough; None if nothing can be said."""
        return None if self.estimate is None else self.estimate.memory_bytes <= self.free


def cost_of(source: str, values: Mapping[str, Any]) -> Cost:
    """Estimate what the form asks for, on data that the page may read.

    Parameters
    ----------
    source
        The data that were chosen; empty for none yet.
    values
        Content of the controls by name of the setting.
    """
    free = int(psutil.virtual_memory().available)
    try:
        settings = read_form(values)
        spec = resolve(settings.get("model", "mini"), revision=settings.get("revision"))
        lengths = sequence_lengths(source, settings.get("sequence_column")) if source else None
    except ProFactoryError:
        return Cost(None, None, 0, free)  # the preview of the command says what is wrong
    wanted = ("tokens_per_batch", "batch_size", "max_length", "lora_rank")
    options = {name: settings[name] for name in wanted if name in settings}
    method = settings.get("method", "freeze")
    found = estimate(spec, TYPICAL if lengths is None else lengths, method, **options)
    return Cost(spec, found, 0 if lengths is None else len(lengths), free)


def sequence_lengths(source: str, column: str | None) -> NDArray[np.int64] | None:
    """Return the length of every sequence, or None for data that cannot be read while someone waits.

    Raises
    ------
    DataError
        The data cannot be read.
    """
    if is_public(source):
        return None
    files = [file.path for file in find_sources(source)]
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        return None
    return _lengths(tuple((file, file.stat().st_mtime_ns) for file in files), column)


@functools.lru_cache(maxsize=32)
def _lengths(files: tuple[tuple[Path, int], ...], column: str | None) -> NDArray[np.int64]:
    parts = [np.empty(0, np.int64)]
    for file, _ in files:
        table = open_table(file)
        name = find_columns(table.columns, sequence=column, need_label=False, file=str(file)).sequence
        parts += [_text_lengths(chunk.columns.column(name)) for chunk in table.chunks()]
    return np.concatenate(parts)


def _text_lengths(cells: Any) -> NDArray[np.int64]:
    found: NDArray[np.int64] = pc.fill_null(pc.utf8_length(cells), 0).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)
