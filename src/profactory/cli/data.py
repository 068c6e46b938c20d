"""``profactory check``, ``split`` and ``datasets``: data before any training."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG, OUTPUT, Json, Overwrite, UsageError, validated, with_settings
from profactory.config import SplitMethod

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
        Whatever train takes: a file, a folder with train, validation and test files, or bundled:NAME.
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

    report = api.check(data, fix=fix, out=out, overwrite=overwrite, **validated(settings))
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
        Whatever train takes: a file, a folder of files, or bundled:NAME.
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
        **validated(settings),
    )
    if json:
        terminal.say_json(report.to_dict())
    else:
        terminal.say(report.text())


datasets = App(
    name="datasets",
    help="The bundled data sets.\n\nExample: profactory datasets preview demo-location",
    help_format="plaintext",
)


@datasets.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets inside the package; each name can be used as DATA.

    Example: profactory datasets list
             profactory train bundled:demo-location

    Parameters
    ----------
    json
        Print the list as JSON.
    """
    from profactory.data.bundled import list_bundled

    rows = [
        {"name": s.name, "task": str(s.task), "rows": s.rows, "longest": s.max_length, "title": s.title}
        for s in list_bundled()
    ]
    terminal.say_json(rows) if json else terminal.say(terminal.table(rows))


@datasets.command
def show(name: str, /, *, json: Json = False) -> None:
    """Show what a bundled data set is, where it comes from and its licence.

    Example: profactory datasets show demo-location

    Parameters
    ----------
    name
        A name of the list.
    json
        Print it as JSON.
    """
    found = _bundled(name)
    facts = {**vars(found), "task": str(found.task), "file": str(found.path)}
    if json:
        terminal.say_json(facts)
    else:
        splits = ", ".join(f"{split} {rows:,}" for split, rows in found.splits.items())
        terminal.say(terminal.facts({**facts, "splits": splits}))


@datasets.command
def preview(name: str, /, *, rows: Annotated[int, Parameter(alias="-n")] = 3, json: Json = False) -> None:
    """Print the first rows of a data set: a bundled one, or any file.

    Example: profactory datasets preview demo-location
             profactory datasets preview proteins.csv --rows 10

    Parameters
    ----------
    name
        A name of the list, or a file.
    rows
        How many.
    json
        Print whole rows as JSON.
    """
    from profactory.data.bundled import bundled_path
    from profactory.data.reading import open_table

    table = open_table(bundled_path(name) or name)
    every = (row for chunk in table.chunks() for row in chunk.columns.to_pylist())
    first = list(itertools.islice(every, max(0, rows)))
    if json:
        terminal.say_json(first)
    else:
        terminal.say(terminal.table([{key: _short(cell) for key, cell in row.items()} for row in first]))


def _bundled(name: str) -> Any:
    from profactory.data.bundled import PREFIX, bundled_path, list_bundled

    bundled_path(PREFIX + name.removeprefix(PREFIX))  # refuses a name that is unknown
    return next(s for s in list_bundled() if s.name == name.removeprefix(PREFIX))


def _short(cell: str | None, limit: int = 40) -> str:
    text = cell or ""
    return text if len(text) <= limit else text[: limit - 1] + "…"
