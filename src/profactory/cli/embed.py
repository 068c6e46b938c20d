"""``profactory embed``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import (
    OUTPUT,
    Address,
    Cluster,
    Device,
    Json,
    Overwrite,
    Precision,
    TrustRemoteCode,
    Workers,
)


def embed(
    model: str,
    input: str,
    /,
    *,
    pooling: Literal["mean", "max", "cls", "none"] = "mean",
    layer: int = -1,
    max_length: int | None = None,
    sequence_column: str | None = None,
    out: Annotated[Path, Parameter(group=OUTPUT)],
    umap: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    color_by: Annotated[str | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    trust_remote_code: TrustRemoteCode = False,
    cluster: Cluster = None,
    address: Address = None,
    workers: Workers = None,
) -> None:
    """Write the embeddings of sequences, one vector each or one per residue.

    They are kept in the cache that training uses: an interrupted computation
    goes on where it was, and what training computed is not computed again.

    Example: profactory embed esm2-8m proteins.fasta --out embeddings.npz
             profactory embed mini data.csv --out e.h5 --umap map.png --color-by label

    Parameters
    ----------
    model
        A model of the catalogue, a folder, a Hub id, or a trained run.
    input
        CSV, TSV, FASTA, Parquet, XLSX or JSON-lines file with sequences.
    pooling
        mean, max or cls: one vector per sequence; none: one per residue.
    layer
        Whose output is taken: -1 the last, 0 the embedding, k the k-th.
    max_length
        Residues read of a sequence; the model's usual length if not given.
    sequence_column
        Column with the sequences; found by its name if not given.
    out
        File to write: .npz, .h5, .parquet or .safetensors.
    umap
        Picture (PNG) of the embeddings in two dimensions.
    color_by
        Column of the input that colours the picture.
    overwrite
        Replace what is at --out and --umap.
    json
        Print the result as JSON.
    device
        auto (a GPU if there is one), cpu, cuda or mps.
    precision
        fp32, bf16, or fp16 on a GPU, of the computation.
    trust_remote_code
        Run Python code from the model's repository, for families that need it.
    cluster
        ray: compute on a Ray cluster. INPUT may then be a folder of tables,
        and --out is a folder of Parquet files; every machine sees them.
    address
        Of a running cluster: auto or HOST:PORT. Without it one is started on
        this machine for as long as the work lasts.
    workers
        Copies of the model on the cluster: one for each GPU, or for every
        four cores, if not given.
    """
    from profactory import api

    report = api.embed(
        model,
        input,
        out,
        pooling=pooling,
        layer=layer,
        max_length=max_length,
        sequence_column=sequence_column,
        overwrite=overwrite,
        umap=umap,
        color_by=color_by,
        device=device,
        precision=precision,
        trust_remote_code=trust_remote_code,
        cluster=cluster,
        address=address,
        workers=workers,
    )
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())
