"""``profactory check`` and ``split``: data before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG, OUTPUT, Json, Overwrite, UsageError, with_settings
from profactory.config import SplitMethod, TrainConfig

COLUMNS = ("sequence_column", "label_column", "split_column", "header_pattern", "task")
DIVISION = Group("Division", sort_key=3)


@with_settings(*COLUMNS, "limit", "sample", "model", "revision", "method", "max_length")
def check(  # noqa: D417 - the settings describe themselves
    data: str,
    /,
    *,
    fix: Annotated[bool, FLAG] = False,
    out: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    **settings: Any,
) -> int:
    """Report on a table of sequences, and name every row that cannot be used.

    Ends with exit code 1 if the data cannot be used as they are, unless
    --fix has written a copy that can. Nothing is written without --out.

    Example: profactory check proteins.csv
             profactory check proteins.csv --model esm2-650m --method lora --out report
             profactory check proteins.csv --fix --out clean

    Parameters
    ----------
    data
        Whatever train takes: a file, a folder with train, validation and test files, a quoted pattern,
        a name of `profactory datasets list`, or user/name of the Hub.
    fix
        Write a clean copy and a log of every change to the folder --out.
    out
        Folder for report.html, report.json and rejected_rows.csv.
    overwrite
        Replace files in the folder --out.
    json
        Print the report as JSON.
    """
    if fix and out is None:
        raise UsageError(
            "--fix needs a place for the clean copy.", fix="profactory check DATA --fix --out DIR"
        )
    from profactory import api

    report = api.check(data, fix=fix, out=out, overwrite=overwrite, **settings)
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())
    return 0 if fix or report.usable else 1


@with_settings(*COLUMNS, "bad_rows")
def split(  # noqa: D417 - the settings describe themselves
    data: str,
    /,
    *,
    out: Annotated[Path, Parameter(group=OUTPUT)],
    method: Annotated[SplitMethod, Parameter(group=DIVISION)] = "auto",
    ratios: Annotated[tuple[float, float, float], Parameter(group=DIVISION, negative=())] = (0.8, 0.1, 0.1),
    identity: Annotated[float, Parameter(group=DIVISION)] = 0.3,
    seed: Annotated[int, Parameter(group=DIVISION)] = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Divide a table into train, validation and test files.

    Example: profactory split proteins.csv --out parts --method homology
             profactory train parts

    Parameters
    ----------
    data
        Whatever train takes: a file, a folder of files, a name of `profactory datasets list`.
    out
        Folder for train.csv, validation.csv and test.csv.
    method
        random, stratified by label, by homology, or as given; auto takes what the data give, else stratified.
    ratios
        Shares of train, validation and test.
    identity
        Sequence identity above which a homology split keeps two sequences on one side.
    seed
        Seed of the division.
    overwrite
        Replace files in the folder --out.
    json
        Print the result as JSON.
    """
    from profactory.pipeline.split import split_data

    report = split_data(
        data,
        out,
        method=method,
        ratios=ratios,
        identity=identity,
        seed=seed,
        overwrite=overwrite,
        **TrainConfig.read(settings),
    )
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())
