"""How unlike the training data sequences are: from distances beside outputs to columns. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profactory.data.domain import NOVELTY, UNLIKE, UNLIKE_IN, Domain, EmbeddingDomain
from profactory.tasks import Values

Row = NDArray[np.float32]
Array = NDArray[Any]


@dataclass(frozen=True)
class Predicted(Values):
    """Outputs, and how far the embeddings are from those of the training data.

    Parameters
    ----------
    distances
        ``(n, domains)``: one column for each domain that knows embeddings; None if none does.
    """

    distances: Array | None = None


def embedding_domains(domains: Sequence[Domain]) -> list[EmbeddingDomain]:
    """Return what is known of embeddings, in the order of the columns of distances."""
    return [domain.embedding for domain in domains if domain.embedding is not None]


def attach(rows: Sequence[Row], distances: Array) -> list[Row]:
    """Put each sequence's distances ``(n, domains)`` behind its outputs, ``(outputs,)`` or per residue."""
    return [
        np.concatenate([row, np.broadcast_to(own, (*row.shape[:-1], len(own)))], axis=-1, dtype=np.float32)
        for row, own in zip(rows, distances, strict=True)
    ]


def detach(packed: Values, count: int) -> tuple[Values, Array | None]:
    """Take off what :func:`attach` put behind; of residues and windows the mean over the sequence."""
    if not count:
        return packed, None
    values, behind = packed.values[..., :-count], packed.values[..., -count:].astype(np.float64)
    if packed.offsets is not None:
        behind = np.add.reduceat(behind, packed.offsets[:-1], axis=0) / packed.lengths[:, None]
    return Values(values, packed.offsets), behind


def novelty_columns(domains: Sequence[Domain], sequences: Sequence[str], outputs: Values) -> dict[str, Any]:
    """Return the columns ``novelty`` and ``unlike``; nothing for models that do not know their training data.

    Parameters
    ----------
    domains
        Of one model, or of the members of an ensemble, over which the mean is taken.
    sequences, outputs
        Clean sequences and what was predicted for them; embeddings count if `outputs` is :class:`Predicted`.
    """
    if not domains:
        return {}
    distances = getattr(outputs, "distances", None)
    columns = iter(() if distances is None else np.transpose(distances))
    found: dict[str, list[Array]] = {}
    for domain in domains:
        own = next(columns, None) if domain.embedding is not None else None
        for name, values in domain.parts(sequences, own).items():
            found.setdefault(name, []).append(values)
    parts = {name: np.mean(values, axis=0) for name, values in found.items()}
    whole = np.max(list(parts.values()), axis=0).round(3)
    unlike = [
        ", ".join(name for name, values in parts.items() if values[row] > UNLIKE)
        for row in range(len(sequences))
    ]
    return {NOVELTY: whole.tolist(), UNLIKE_IN: unlike}
