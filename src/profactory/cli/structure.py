"""``profactory structure``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Json, Overwrite


def structure(
    *sources: Path,
    out: Annotated[Path, Parameter(group=OUTPUT)],
    chain: Annotated[list[str] | None, Parameter(negative=())] = None,
    model: int = 1,
    mask_plddt: float | None = None,
    processes: int | None = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Turn structures into strings: 3Di, secondary structure, accessibility, pLDDT.

    A row for each protein chain of PDB, mmCIF and BinaryCIF files (also with
    .gz), every string as long as its sequence. Files that cannot be used are
    listed and skipped; work that was interrupted goes on where it was.

    Example: profactory structure pdb-files --out structures.csv
             profactory train proteins.csv --method ses-adapter --structures structures.csv

    Parameters
    ----------
    sources
        Files, and folders of them.
    out
        File to write: .csv, .tsv, .parquet or .jsonl.
    chain
        Name of the chain; may be repeated; all that are protein if not given.
    model
        Number of the model in files with several.
    mask_plddt
        Mask the 3Di letters of predicted residues with a lower pLDDT than this.
    processes
        Files read at a time; the number of cores if not given.
    overwrite
        Replace the file at --out.
    json
        Print the report as JSON.
    """
    from profactory import api

    report = api.extract_structures(
        list(sources),
        out,
        chains=chain,
        model=model,
        mask_below=mask_plddt,
        processes=processes,
        overwrite=overwrite,
    )
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())
