"""Predictions on a cluster: every column of the input and ours, in Parquet files in the input's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from profactory.data.structure_columns import match_structure_columns, say_unread
from profactory.data.writing import arrow_column
from profactory.inference.block_predictions import check_result, free_names, predict_block, row_problems
from profactory.inference.file_report import FileReport
from profactory.inference.row_blocks import RowBlock
from profactory.scale.cluster import Cluster
from profactory.scale.inputs import Input, Piece, open_input
from profactory.scale.sharded import Sharded, working_on
from profactory.scale.worker import Compute

if TYPE_CHECKING:
    from profactory.data.reading import Join
    from profactory.inference.predictor import Predictor

#: Read by every model; only the types of what it gives are looked at.
_ANY = "MKTAYIAKQRQISFVKSHFSRQ"


@dataclass(frozen=True)
class Prediction:
    """Predicts blocks.

    Parameters
    ----------
    model
        Folder of the trained model, the same on every machine.
    files
        Names of the input's files, for messages.
    columns, sequence
        Of the input, and which of them holds the sequences.
    structures
        Kind of structure string to its column.
    names
        What the model's columns are called.
    machine
        Engine, precision and the like, as for :func:`profactory.inference.opening.open_predictor`.
    """

    model: Path
    files: tuple[str, ...]
    columns: tuple[str, ...]
    sequence: str
    structures: Mapping[str, str]
    names: Mapping[str, str]
    machine: Mapping[str, Any]

    def open(self, device: str) -> Compute:
        """Load the model."""
        from profactory.inference.opening import open_predictor

        predictor = open_predictor(self.model, device=device, **self.machine)
        return partial(self._block, predictor, self._schema(predictor))

    def _block(
        self, predictor: Predictor, schema: pa.Schema, block: RowBlock, piece: Piece
    ) -> tuple[pa.Table, dict[str, Any]]:
        columns = predict_block(predictor, block, self.sequence, self.structures)
        cells = block.cells.column(self.sequence).to_pylist()
        report = FileReport(Path())
        report.count(
            row_problems(columns["error"], block.lines, cells, self.files[piece.file], self.sequence), columns
        )
        inputs = [block.cells.column(name) for name in self.columns]
        ours = [arrow_column(columns[name]) for name in self.names]
        table = pa.table([*inputs, *ours], names=schema.names).cast(schema)
        return table, {**report.counts(), "engine": predictor.engine.describe()}

    def _schema(self, predictor: Predictor) -> pa.Schema:
        """Return the types of all columns, which a block without one prediction does not show."""
        strings = {kind: ["X" * len(_ANY)] for kind in self.structures}
        columns = predictor.columns([_ANY], predictor.predict_outputs([_ANY], strings=strings))
        types = {name: arrow_column(values).type for name, values in columns.items()}
        plain = {name: pa.string() if pa.types.is_null(kind) else kind for name, kind in types.items()}
        ours = [(self.names[name], {**plain, "error": pa.string()}[name]) for name in self.names]
        return pa.schema([*((name, pa.string()) for name in self.columns), *ours])


def predict_on_cluster(
    model: Path,
    source: str,
    out: Path,
    cluster: Cluster,
    *,
    overwrite: bool = False,
    sequence_column: str | None = None,
    join: Join | None = None,
    engine: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
    **machine: Any,
) -> FileReport:
    """Predict for every row of a file, or of a folder of files, on a cluster.

    Parameters
    ----------
    model
        Folder of the trained model.
    source
        Any table, or a folder of tables with the same columns.
    out
        Folder for the Parquet files. Input, model and `out` must be seen by every machine under these paths.
    cluster
        Where to compute.
    overwrite
        Replace an output that is there.
    sequence_column, join, engine, on_progress, **machine
        As for :func:`profactory.api.predict`; the engine ``auto`` is torch, so that all machines compute
        alike.

    Raises
    ------
    ProFactoryError
        As for one machine, and if the cluster cannot be reached or loses its workers for good.
    """
    opened = open_input(source, sequence_column=sequence_column, join=join)
    settings = {**machine, "engine": "torch" if engine == "auto" else engine}
    report = FileReport(out)
    engines: dict[str, None] = {}
    with working_on(out, overwrite=overwrite):
        job, fingerprint = _prepare(model, opened, settings)
        request = {"of": "predictions", "model": fingerprint, "device": cluster.device, **settings}
        work = Sharded(out, opened, {**request, "names": dict(job.names)}, overwrite=overwrite)
        for counts in work.compute(job, "predicting", cluster, on_progress):
            report.merge(counts)
            engines[counts["engine"]] = None
        report.engine = " and ".join(engines)
        check_result(report, source)
        work.finish({"of": "predictions", "rows": report.rows, "predicted": report.predicted})
    report.list_failures()
    report.warn_of_novelty()
    return report


def _prepare(model: Path, source: Input, machine: Mapping[str, Any]) -> tuple[Prediction, str]:
    """Open the model here once, so that what can be refused is refused before a cluster is asked."""
    from profactory.inference.opening import open_predictor

    options = {name: value for name, value in machine.items() if name not in ("engine", "precision")}
    predictor = open_predictor(model, device="cpu", **options)
    structures = match_structure_columns(
        source.columns, predictor.model.extra_inputs.structures, file=source.names[0]
    )
    say_unread(source.columns, structures)
    names = free_names(source.columns, [*predictor.column_names(), "error"])
    job = Prediction(
        model.absolute(), source.names, source.columns, source.sequence, structures, names, machine
    )
    return job, predictor.fingerprint
