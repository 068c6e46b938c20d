"""What a trained model is for: predictions, measurements, embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from profactory.api.joining import open_join
from profactory.api.places import model_path, trained_folder
from profactory.api.scaling import open_cluster
from profactory.errors import NotARunError

if TYPE_CHECKING:
    from profactory.inference.file_report import FileReport
    from profactory.inference.predictor import Predictor
    from profactory.pipeline.embed import EmbedReport


def load(run: str | Path, **machine: Any) -> Predictor:
    """Load a trained model, or the ensemble of a run with folds or seeds.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    **machine
        ``engine`` (torch, openvino, onnx, auto), ``device``, ``precision``, ``tokens_per_batch``, ``long``
        and ``trust_remote_code``; see :func:`profactory.inference.opening.open_predictor`.
    """
    from profactory.inference.opening import open_predictor

    return open_predictor(model_path(run), **machine)


def predict(
    run: str | Path,
    source: str | Path | Sequence[str],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    sequence_column: str | None = None,
    residue_table: str | Path | None = None,
    structures: str | Path | None = None,
    missing_structure: Literal["refuse", "mask"] = "refuse",
    on_progress: Callable[[int, int], None] | None = None,
    cluster: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    **machine: Any,
) -> list[dict[str, Any]] | FileReport:
    """Predict for a file, or for sequences in memory.

    Work on a file that was interrupted goes on where it was when the same call is made again.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    source
        A file (str or Path; `out` is then needed), or a list of sequences.
    out
        File to write: ``.csv``, ``.tsv``, ``.parquet`` or ``.jsonl``.
    overwrite
        Replace `out`.
    sequence_column
        Column with the sequences; found by its name if not given.
    residue_table
        For residue tasks: a second file, with a row per residue.
    structures
        For models that read them: folder of coordinates or table of ``profactory structure``. Refused for
        a model that reads sequences alone.
    missing_structure
        A row without one has no prediction (``refuse``), or is read with a mask (``mask``).
    on_progress
        Called with the number of rows that are done and of all rows of the file.
    cluster
        ``ray``: compute on a Ray cluster. `source` may then be a folder of tables, and `out` is a folder of
        Parquet files; the folders are seen by every machine.
    address
        Of a running cluster, ``auto`` or ``HOST:PORT``; without it one is started on this machine.
    workers
        Copies of the model on the cluster: one for each GPU, or for every four cores, if not given.
    **machine
        As for :func:`load`.

    Returns
    -------
    list of dict or FileReport
        Sequences: one record each. File: what was written and which rows could not be used.
    """
    from profactory.inference.tables import open_request, predict_file

    where = open_cluster(
        *(cluster, address, workers),
        device=machine.get("device", "auto"),
        meaningless={
            "sequences in memory: a cluster reads files": not isinstance(source, str | Path),
            "--residue-table: the parts have a row per sequence": residue_table is not None,
        },
    )
    if not isinstance(source, str | Path):
        return load(run, rows=len(source), **machine).predict(list(source))
    if out is None:
        raise NotARunError(
            "Predictions of a file need a place to go.",
            fix='out="predictions.csv", or give a list of sequences',
        )
    folder = model_path(run)
    join = open_join(
        folder, structures, missing_structure, otherwise="empty", sequence_column=sequence_column
    )
    options: dict[str, Any] = {"sequence_column": sequence_column, "overwrite": overwrite, "join": join}
    if where is not None:
        from profactory.scale.predicting import predict_on_cluster

        machine.pop("device", None)
        return predict_on_cluster(
            folder, str(source), Path(out), where, on_progress=on_progress, **options, **machine
        )
    # what can be refused is refused before the model is loaded
    request = open_request(source, out, residue_table=residue_table, **options)
    predictor = load(folder, rows=request.rows, **machine)
    return predict_file(predictor, request, on_progress=on_progress)


def evaluate(
    run: str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    structures: str | Path | None = None,
    missing_structure: Literal["refuse", "mask"] = "refuse",
    **machine: Any,
) -> dict[str, Any]:
    """Measure a trained model on labelled data.

    Parameters
    ----------
    run
        Run directory or its ``model`` folder.
    data
        Labelled data in any form that :func:`train` takes.
    split
        Use only this part of divided data; all rows if None.
    out
        Folder for the report.
    overwrite
        Replace what is in `out`.
    structures, missing_structure
        As for :func:`train`, for models that read structures.
    **machine
        ``device``, ``precision``, ``tokens_per_batch``, ``trust_remote_code``.

    Returns
    -------
    dict
        As ``report/metrics.json``: ``{"test": {"mcc": {"value", "low", "high"}, …}}``. What is measured on
        all rows is called ``test``, too; ``measured_on`` says which they are.
    """
    from profactory.pipeline.evaluate import evaluate_model

    path = model_path(run)
    join = open_join(path, structures, missing_structure)
    return evaluate_model(path, str(data), split=split, out=out, overwrite=overwrite, join=join, **machine)


def embed(
    model: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    pooling: str = "mean",
    layer: int = -1,
    max_length: int | None = None,
    sequence_column: str | None = None,
    overwrite: bool = False,
    umap: str | Path | None = None,
    color_by: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    trust_remote_code: bool = False,
    cluster: str | None = None,
    address: str | None = None,
    workers: int | None = None,
) -> EmbedReport:
    """Write the embeddings of the sequences of a file.

    Parameters
    ----------
    model
        A model of the catalogue, a folder, a Hub id, or a trained run.
    source
        Any table that :func:`predict` takes.
    out
        ``.npz``, ``.h5``, ``.parquet`` or ``.safetensors``.
    pooling
        ``mean``, ``max`` or ``cls`` for one vector per sequence, ``none`` for one per residue.
    layer
        Whose output is taken: -1 the last, 0 the embedding, k the k-th.
    max_length
        Residues read of a sequence; the model's usual length if not given.
    sequence_column, overwrite
        As for :func:`predict`.
    umap, color_by
        A picture of the embeddings (PNG), and the column of the input that colours it.
    device, precision
        Of the computation.
    trust_remote_code
        Run Python code from the model's repository, for families that need it.
    cluster, address, workers
        As for :func:`predict`. The parts have the columns ``row``, ``id`` and ``embedding``.
    """
    where = open_cluster(
        *(cluster, address, workers),
        device=device,
        meaningless={
            "--umap: the picture is drawn of one file": umap is not None,
            "--color-by: there is no picture": color_by is not None,
        },
    )
    from profactory.models.zoo import resolve

    chosen = trained_folder(Path(model)) or resolve(str(model))
    options: dict[str, Any] = {
        "pooling": pooling,
        "layer": layer,
        "max_length": max_length,
        "sequence_column": sequence_column,
        "overwrite": overwrite,
        "precision": precision,
        "trust_remote_code": trust_remote_code,
    }
    if where is not None:
        from profactory.scale.embedding import embed_on_cluster

        return embed_on_cluster(chosen, str(source), Path(out), where, **options)
    from profactory.pipeline.embed import embed_file

    return embed_file(
        chosen,
        str(source),
        Path(out),
        umap=None if umap is None else Path(umap),
        color_by=color_by,
        device=device,
        **options,
    )
