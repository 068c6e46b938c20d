"""``profactory datasets``: the catalogue of data sets, and putting one on the Hub."""

from __future__ import annotations

import itertools
from typing import Annotated, Any

from cyclopts import App, Parameter

from profactory.cli import terminal
from profactory.cli.flags import FLAG, Json, Overwrite, with_settings
from profactory.config import TrainConfig

datasets = App(
    name="datasets",
    help="The data sets that have a name: list, show, preview, push."
    "\n\nExample: profactory datasets preview demo-location",
    help_format="plaintext",
)


@datasets.command(name="list")
def list_(*, json: Json = False) -> None:
    """List the data sets inside the package and public ones of the Hub; each name can be used as DATA.

    Example: profactory datasets list
             profactory train bundled:demo-location
             profactory train DeepLocBinary --model esm2-150m

    Parameters
    ----------
    json
        Print the list as JSON.
    """
    from profactory.data.bundled import list_bundled
    from profactory.data.catalog import list_catalog

    inside = [
        {"name": s.name, "task": str(s.task), "rows": s.rows, "longest": s.max_length, "title": s.title}
        for s in list_bundled()
    ]
    public = [
        {
            "name": e.name,
            "task": str(e.task),
            "classes": e.classes or None,
            "title": e.title,
            "source": e.source,
        }
        for e in list_catalog()
    ]
    if json:
        terminal.say_json([*inside, *public])
        return
    terminal.say("In the package, usable without network", terminal.table(inside), "")
    terminal.say("On the Hugging Face Hub", terminal.table(public))


@datasets.command
def show(name: str, /, *, json: Json = False) -> None:
    """Show what a data set is, where it comes from and, for bundled ones, its licence.

    Example: profactory datasets show demo-location
             profactory datasets show DeepLocBinary

    Parameters
    ----------
    name
        A name of the list.
    json
        Print it as JSON.
    """
    facts = _facts(name)
    if json:
        terminal.say_json(facts)
    else:
        shown = {key: _in_words(value) for key, value in facts.items()}
        terminal.say(terminal.facts({key: value for key, value in shown.items() if value}))


@datasets.command
def preview(name: str, /, *, rows: Annotated[int, Parameter(alias="-n")] = 3, json: Json = False) -> None:
    """Print the first rows of a data set: one of the list, of the Hub, or any file.

    Example: profactory datasets preview demo-location
             profactory datasets preview proteins.csv --rows 10

    Parameters
    ----------
    name
        A name of the list, user/name of the Hub, or a file.
    rows
        How many.
    json
        Print whole rows as JSON.
    """
    from profactory.data.reading import open_table
    from profactory.data.sources import find_sources

    tables = (open_table(file.path) for file in find_sources(name))
    every = (row for table in tables for chunk in table.chunks() for row in chunk.columns.to_pylist())
    first = list(itertools.islice(every, max(0, rows)))
    if json:
        terminal.say_json(first)
    else:
        terminal.say(terminal.table([{key: _short(cell) for key, cell in row.items()} for row in first]))


@datasets.command
@with_settings("sequence_column", "label_column", "split_column", "header_pattern", "task", "bad_rows")
def push(  # noqa: D417 - the settings describe themselves
    data: str,
    name: str,
    /,
    *,
    private: Annotated[bool, FLAG] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Put the checked rows of a data set on the Hugging Face Hub, a Parquet file per split with a card.

    Example: profactory datasets push parts me/my-proteins --private
             profactory train me/my-proteins

    Parameters
    ----------
    data
        Whatever train takes.
    name
        user/name on the Hub. A token that may write is needed: hf auth login.
    private
        Make it visible to you only.
    overwrite
        Add a new version to a data set that is there.
    json
        Print the result as JSON.
    """
    from profactory.data.publishing import publish

    done = publish(data, name, private=private, overwrite=overwrite, **TrainConfig.read(settings))
    if json:
        terminal.say_json(done.to_dict())
    else:
        terminal.say(*(f"{part:<11}{count:>10,} rows" for part, count in done.rows.items()), done.url)


def _facts(name: str) -> dict[str, Any]:
    from profactory.data.bundled import PREFIX, bundled_path, list_bundled
    from profactory.data.catalog import find_entry, unknown_name

    if bundled_path(name) is not None:  # refuses a name with the prefix that is unknown
        found = next(s for s in list_bundled() if s.name == name.removeprefix(PREFIX))
        return {**vars(found), "task": str(found.task), "file": str(found.path)}
    entry = find_entry(name)
    if entry is None:
        raise unknown_name(name)
    return {**entry.to_dict(), "page": f"https://huggingface.co/datasets/{entry.source}"}


def _in_words(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{split} {rows:,}" for split, rows in value.items())
    return ", ".join(value) if isinstance(value, list) else value


def _short(cell: str | None, limit: int = 40) -> str:
    text = cell or ""
    return text if len(text) <= limit else text[: limit - 1] + "…"
