"""Embeddings on a cluster: row, identifier and vector of each sequence, in Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profactory.errors import Problem, RowError
from profactory.inference.row_blocks import RowBlock
from profactory.pipeline.embed import EmbedReport, check_pooling, embedding_model
from profactory.pipeline.embed_input import KEPT_PROBLEMS, block_problems
from profactory.scale.cluster import Cluster
from profactory.scale.inputs import Piece, open_input
from profactory.scale.sharded import Sharded, working_on
from profactory.scale.worker import Compute
from profactory.sharing.embedding_files import embedding_table, table_schema

if TYPE_CHECKING:
    from profactory.models.zoo import ModelSpec
    from profactory.training.loss_model import FrozenEncoder


@dataclass(frozen=True)
class Embedding:
    """Embeds blocks.

    Parameters
    ----------
    model
        A pre-trained one, its files in a folder, or the folder of a trained one.
    design
        ``pooling``, ``layer``, ``max_length`` and ``trust_remote_code``.
    precision
        Of the computation.
    files
        Names of the input's files, for messages.
    sequence, identifier
        Columns of the input.
    """

    model: ModelSpec | Path
    design: Mapping[str, Any]
    precision: str
    files: tuple[str, ...]
    sequence: str
    identifier: str | None

    def open(self, device: str) -> Compute:
        """Load the model."""
        from profactory.inference.engines.torch_engine import choose_device, choose_dtype
        from profactory.training.loss_model import FrozenEncoder

        where = choose_device(device)
        choose_dtype(self.precision, where)
        model = embedding_model(self.model, **self.design)
        return partial(self._block, FrozenEncoder(model, device=where, precision=self.precision))

    def _block(
        self, encoder: FrozenEncoder, block: RowBlock, piece: Piece
    ) -> tuple[pa.Table, dict[str, Any]]:
        clean, reasons = block.clean(self.sequence)
        good = np.array([row for row in range(len(block)) if row not in reasons], np.int64)
        vectors, offsets = encode(encoder, clean.take(pa.array(good)).to_pylist())
        names = self.identifier and block.cells.column(self.identifier).take(pa.array(good)).to_pylist()
        schema = table_schema(encoder.width, encoder.per_residue, self.identifier is not None)
        table = embedding_table(schema, vectors, good + piece.first, names or None, offsets)
        problems = block_problems(block, reasons, self.files[piece.file], self.sequence)
        listed = [problem.to_dict() for problem in problems[:KEPT_PROBLEMS]]
        counts = {"rows": len(good), "failed": len(reasons), "problems": listed, "width": encoder.width}
        return table, counts


def encode(encoder: FrozenEncoder, sequences: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embed sequences, equal ones once and neighbours in length together.

    Returns
    -------
    vectors, offsets
        ``(rows, width)`` in the order of the sequences; where the rows of each begin and the last end.
    """
    unique = sorted(set(sequences), key=lambda sequence: (len(sequence), sequence))
    if not unique:
        return np.empty((0, encoder.width), np.float32), np.zeros(1, np.int64)
    sizes = [min(len(one), encoder.max_length) if encoder.per_residue else 1 for one in unique]
    pieces = np.split(encoder.encode(unique), np.cumsum(sizes)[:-1])
    found = dict(zip(unique, pieces, strict=True))
    rows = [found[sequence] for sequence in sequences]
    return np.concatenate(rows), np.cumsum([0, *map(len, rows)]).astype(np.int64)


def embed_on_cluster(
    model: ModelSpec | Path,
    source: str,
    out: Path,
    cluster: Cluster,
    *,
    pooling: str = "mean",
    layer: int = -1,
    max_length: int | None = None,
    sequence_column: str | None = None,
    overwrite: bool = False,
    precision: str = "fp32",
    trust_remote_code: bool = False,
) -> EmbedReport:
    """Embed the sequences of a file, or of a folder of files, on a cluster.

    Parameters
    ----------
    model
        A pre-trained one, or the folder of a trained one.
    source, out, cluster, overwrite
        As for :func:`profactory.scale.predicting.predict_on_cluster`.
    pooling, layer, max_length, sequence_column, precision, trust_remote_code
        As for :func:`profactory.api.embed`.

    Raises
    ------
    ProFactoryError
        As for one machine, and if the cluster cannot be reached or loses its workers for good.
    """
    check_pooling(pooling)
    opened = open_input(source, sequence_column=sequence_column)
    design: dict[str, Any] = {"pooling": pooling, "layer": layer, "max_length": max_length}
    design["trust_remote_code"] = trust_remote_code
    report = EmbedReport(out, 0, 0)
    with working_on(out, overwrite=overwrite):
        model = model.absolute() if isinstance(model, Path) else _fetched(model, trust_remote_code)
        weights = embedding_model(model, **design).backbone.weights_hash()
        request = {"model": weights, **design, "precision": precision}
        place = (opened.names, opened.sequence, opened.identifier)
        job = Embedding(model, design, precision, *place)
        asked = {"of": "embeddings", **request, "device": cluster.device}
        work = Sharded(out, opened, asked, overwrite=overwrite)
        for counts in work.compute(job, "embedding", cluster):
            report.rows += counts["rows"]
            report.failed += counts["failed"]
            report.width = counts["width"]
            kept = counts["problems"][: KEPT_PROBLEMS - len(report.problems)]
            report.problems += [Problem(**problem) for problem in kept]
        if not report.rows:
            raise RowError(f"{source}: not one row can be used.", problems=report.problems)
        work.finish({"of": "embeddings", "rows": report.rows, "width": report.width})
    return report


def _fetched(spec: ModelSpec, trusted: bool) -> ModelSpec:
    """Download a model here if it must be, so that no machine of the cluster does."""
    from profactory.models.fetching import fetch

    found, folder = fetch(spec, trust_remote_code=trusted)
    return replace(found, source=str(folder.absolute()))
