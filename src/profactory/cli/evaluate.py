"""``profactory evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import (
    OUTPUT,
    Device,
    Json,
    MissingStructure,
    Overwrite,
    Precision,
    Structures,
    TokensPerBatch,
    TrustRemoteCode,
)


def evaluate(
    run: Path,
    data: str,
    /,
    *,
    split: str | None = None,
    structures: Structures = None,
    missing_structure: MissingStructure = "refuse",
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    device: Device = "auto",
    precision: Precision = "fp32",
    tokens_per_batch: TokensPerBatch = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Measure a trained model on labelled data.

    Nothing about the model has to be typed: the run knows it.

    Example: profactory evaluate runs/proteins-mini-lora new_measurements.csv
             profactory evaluate runs/proteins-mini-lora proteins.csv --split test

    Parameters
    ----------
    run
        The run directory, or its model folder.
    data
        Labelled data in any format that train reads.
    split
        Use only this part (train, validation or test) of divided data; all
        rows if not given.
    structures
        For models that read structures: folder of PDB or mmCIF files, or a
        table made by profactory structure; joined by exact id. Refused for a
        model that reads sequences alone.
    missing_structure
        A row without a structure: one that cannot be used, or read with a mask.
    out
        Folder for metrics, predictions, plots and report.html.
    overwrite
        Replace the folder at --out.
    json
        Print the metrics as JSON.
    device
        auto (a GPU if there is one), cpu, cuda or mps.
    precision
        fp32, bf16, or fp16 on a GPU.
    tokens_per_batch
        Tokens per batch, padding included; chosen for the machine if not given.
    trust_remote_code
        Run Python code from the model's repository, for families that need it.
    """
    from profactory import api
    from profactory.cli.results import metric_table

    metrics = api.evaluate(
        run,
        data,
        split=split,
        out=out,
        structures=structures,
        missing_structure=missing_structure,
        overwrite=overwrite,
        device=device,
        precision=precision,
        trust_remote_code=trust_remote_code,
        tokens_per_batch=tokens_per_batch,
    )
    if json:
        terminal.say_json(metrics)
        return
    terminal.say(metric_table(metrics))
    if out is not None:
        terminal.say("", terminal.facts({"report": out / "report.html"}))
