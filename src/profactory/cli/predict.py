"""``profactory predict``."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import (
    OUTPUT,
    Address,
    Cluster,
    Device,
    Engine,
    Json,
    MissingStructure,
    Overwrite,
    Precision,
    Structures,
    TokensPerBatch,
    TrustRemoteCode,
    UsageError,
    Workers,
)
from profactory.errors import Problem


def predict(
    run: Path,
    input: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    sequence: Annotated[list[str] | None, Parameter(negative=())] = None,
    sequence_column: str | None = None,
    structures: Structures = None,
    missing_structure: MissingStructure = "refuse",
    long: Literal["truncate", "windows", "error"] = "truncate",
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    residue_table: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: Precision = "fp32",
    tokens_per_batch: TokensPerBatch = None,
    trust_remote_code: TrustRemoteCode = False,
    cluster: Cluster = None,
    address: Address = None,
    workers: Workers = None,
) -> None:
    """Predict for a file of sequences, or for single ones.

    The output keeps the order and every column of the input. A row that
    cannot be used stays, with the reason in the column "error". Work that
    was interrupted goes on where it was with the same command.

    Example: profactory predict runs/proteins-mini-lora new.fasta --out new.csv
             profactory predict runs/proteins-mini-lora --sequence MKTAYIAKQRQISFVK

    Parameters
    ----------
    run
        The run directory, or its model folder.
    input
        CSV, TSV, FASTA, Parquet, XLSX or JSON-lines file with sequences,
        labelled or not; - reads standard input.
    sequence
        A sequence, instead of a file; may be repeated.
    sequence_column
        Column with the sequences; found by its name if not given.
    structures
        For models that read structures: folder of PDB or mmCIF files, or a
        table made by profactory structure; joined by exact id. Refused for a
        model that reads sequences alone.
    missing_structure
        A row without a structure: no prediction, or read with a mask.
    long
        A sequence longer than the model reads: read its beginning, read it
        in overlapping windows, or refuse it.
    out
        File to write: .csv, .tsv, .parquet or .jsonl.
    residue_table
        For per-residue models: a second file, with a row per residue.
    overwrite
        Replace the file at --out.
    json
        Print the result as JSON.
    engine
        What computes: torch, openvino, onnx, or auto: torch for less than
        2,000 rows, on a GPU or a cluster, else the fastest here, measured once.
    device
        auto (a GPU if there is one), cpu, cuda or mps.
    precision
        fp32, bf16, int8 (onnx), or fp16 on a GPU; auto takes all that the
        processor computes natively into account.
    tokens_per_batch
        Tokens per batch, padding included; chosen for the machine if not given.
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
    if cluster and not (input and input != "-"):
        raise UsageError(
            "A cluster reads files, which all of its machines see.",
            fix="give a file or a folder of files, or leave --cluster out",
        )
    source = _source(input, sequence, out)
    from profactory import api

    with _file_of(source) as given:
        answer = api.predict(
            run,
            given,
            out=out,
            overwrite=overwrite,
            sequence_column=sequence_column,
            residue_table=residue_table,
            structures=structures,
            missing_structure=missing_structure,
            long=long,
            engine=engine,
            tokens_per_batch=tokens_per_batch,
            device=device,
            precision=precision,
            trust_remote_code=trust_remote_code,
            cluster=cluster,
            address=address,
            workers=workers,
        )
    if isinstance(answer, list):
        _show_records(answer, json)
    elif json:
        terminal.say_json(answer.to_dict())
    else:
        terminal.say(answer.text())


def _source(source: str | None, sequences: list[str] | None, out: Path | None) -> str | list[str]:
    """Return what to predict: a file or sequences."""
    if source and source.startswith("-") and source != "-":
        raise UsageError(f"Unknown option: {source}.", fix="see profactory predict --help")
    problems = []
    if bool(source) == bool(sequences):
        problems.append("give either a file or --sequence" + (", not both" if source else ""))
    if source and out is None:
        problems.append("say with --out where the predictions of the file go")
    if sequences and out is not None:
        problems.append("--out is for files; the prediction of --sequence is printed")
    if problems:
        raise UsageError(
            "The options do not fit together.",
            problems=[Problem(problem) for problem in problems],
            fix="profactory predict RUN FILE --out OUT, or profactory predict RUN --sequence MKT...",
        )
    return source or sequences or []


@contextlib.contextmanager
def _file_of(source: str | list[str]) -> Iterator[str | list[str]]:
    """Put what comes by standard input into a file, which can be read twice."""
    if source != "-":
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "standard-input")
        with file.open("wb") as handle:
            shutil.copyfileobj(sys.stdin.buffer, handle)
        yield str(file)


def _show_records(records: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.say_json(records)
    elif len(records) == 1:
        terminal.say(terminal.facts(records[0]))
    else:
        terminal.say(terminal.table(records))
