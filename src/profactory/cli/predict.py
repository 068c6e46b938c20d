"""``profactory predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Device, Json, Overwrite, Precision, TokensPerBatch, UsageError
from profactory.errors import Problem


def predict(
    run: Path,
    input: str | None = None,
    /,
    *,
    sequence: Annotated[list[str] | None, Parameter(negative=())] = None,
    sequence_column: str | None = None,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    tokens_per_batch: TokensPerBatch = None,
) -> None:
    """Predict for a file of sequences, or for single ones.

    The output keeps the order and every column of the input. A row that
    cannot be used stays, with the reason in the column "error".

    Example: profactory predict runs/proteins-mini-lora new.fasta --out new.csv
             profactory predict runs/proteins-mini-lora --sequence MKTAYIAKQRQISFVK

    Parameters
    ----------
    run
        The run directory, or its model folder.
    input
        CSV, TSV, FASTA or Parquet file with sequences, labelled or not.
    sequence
        A sequence, instead of a file; may be repeated.
    sequence_column
        Column with the sequences; found by its name if not given.
    out
        File to write: .csv, .tsv, .parquet or .jsonl.
    overwrite
        Replace the file at --out.
    json
        Print the result as JSON.
    device
        auto (a GPU if there is one), cpu, cuda or mps.
    precision
        fp32, bf16, or fp16 on a GPU.
    tokens_per_batch
        Tokens per batch, padding included; chosen for the machine if not given.
    """
    source = _source(input, sequence, out)
    from profactory import api

    answer = api.predict(
        run,
        source,
        out=out,
        overwrite=overwrite,
        sequence_column=sequence_column,
        tokens_per_batch=tokens_per_batch,
        device=device,
        precision=precision,
    )
    if isinstance(answer, list):
        _show_records(answer, json)
    elif json:
        terminal.say_json(answer.to_dict())
    else:
        terminal.say(answer.text())


def _source(source: str | None, sequences: list[str] | None, out: Path | None) -> str | list[str]:
    """Return what to predict: a file or sequences."""
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


def _show_records(records: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.say_json(records)
    elif len(records) == 1:
        terminal.say(terminal.facts(records[0]))
    else:
        terminal.say(terminal.table(records))
