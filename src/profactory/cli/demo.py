"""``profactory demo``: the whole way once, on data and with a model that are inside the package."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from profactory.cli import terminal
from profactory.cli.flags import OUTPUT, Json, Overwrite
from profactory.errors import RunExistsError

DATA = "bundled:demo-location"
FOLDER = Path("demo-run")
SHOWN = 8


def demo(
    *,
    out: Annotated[Path, Parameter(group=OUTPUT)] = FOLDER,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train, evaluate and predict on bundled data with the bundled model.

    Takes a minute or two on a laptop without a GPU and needs no network.

    Example: profactory demo

    Parameters
    ----------
    out
        Folder to write into. The usual one is replaced when the demo is run again.
    overwrite
        Replace an earlier demo in the folder --out.
    json
        Print the result as JSON.
    """
    from profactory import api

    start = time.monotonic()
    replace = overwrite or out == FOLDER
    _check_folder(out, replace)
    run = api.train(DATA, out=out / "run", overwrite=replace)
    unseen = _write_unseen(out / "unseen.csv")
    run.predict(out / "unseen.csv", out=out / "predictions.csv", overwrite=True)
    predicted = _read(out / "predictions.csv")
    seconds = time.monotonic() - start
    if json:
        terminal.say_json(
            {"run": str(run.path), "metrics": run.metrics, "predictions": predicted, "seconds": seconds}
        )
        return
    _show(run, out, unseen, predicted, seconds)


def _show(
    run: Any, out: Path, unseen: list[dict[str, str]], predicted: list[dict[str, str]], seconds: float
) -> None:
    from profactory.cli.results import metric_table

    rows = [
        {"protein": truth["accession"], "measured": truth["label"], **_guess(row)}
        for truth, row in zip(unseen, predicted, strict=True)
    ]
    places = {
        "run": run.path,
        "report": run.path / "report" / "report.html",
        "model": run.path / "model",
        "predictions": out / "predictions.csv",
    }
    terminal.say(
        "", f"Measured on the test set of {DATA}, beside two baselines:", "", metric_table(run.metrics)
    )
    terminal.say("", "Predicted for proteins that training has not seen:", "", terminal.table(rows))
    terminal.say(
        "", terminal.facts(places), "", f"All of it took {seconds:.0f} s. Your data: profactory train DATA"
    )


def _guess(row: dict[str, str]) -> dict[str, object]:
    """Return what was predicted, and how sure the model is of it."""
    return {"predicted": row["prediction"], "probability": float(row[f"probability_{row['prediction']}"])}


def _check_folder(folder: Path, replace: bool) -> None:
    """Refuse a folder with something in it, unless all of that is an earlier demo's."""
    if not folder.exists():
        return
    present = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {""}
    if present - {"run", "unseen.csv", "predictions.csv"} or (present and not replace):
        raise RunExistsError(
            f"{folder} exists already.",
            expected="a path that is free, or an earlier demo together with --overwrite",
            fix="choose another --out",
        )


def _write_unseen(path: Path) -> list[dict[str, str]]:
    """Write some proteins of the test set, without their labels; return them with their labels."""
    from profactory.data.bundled import bundled_path
    from profactory.data.reading import open_table
    from profactory.files import atomic_file

    table = open_table(bundled_path(DATA) or DATA)
    rows = [row for chunk in table.chunks() for row in chunk.columns.to_pylist() if row["split"] == "test"]
    chosen = rows[:: max(1, len(rows) // SHOWN)][:SHOWN]
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["accession", "sequence"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(chosen)
    return chosen


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
