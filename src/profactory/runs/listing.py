"""Many runs: their list, and names for new ones."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from profactory.errors import NotARunError, RunError
from profactory.runs.layout import absolute, explained
from profactory.runs.run import Run

log = logging.getLogger("profactory")

#: Where runs are made unless told otherwise, in the present folder.
RUNS_FOLDER = "runs"
#: Below a run: those that are parts of it and go on as a whole.
MEMBERS, TRIALS = "members", "trials"


@dataclass(frozen=True)
class RunSummary:
    """One line of ``profactory runs list``.

    ``state`` is one of the states of a run, ``died`` (its process is gone without a word) or ``damaged``.
    """

    path: Path
    state: str
    created: str = ""
    updated: str = ""
    data: str = ""
    task: str = ""
    model: str = ""
    method: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return self.path.name

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON."""
        return {"name": self.name, **asdict(self), "path": str(self.path)}


def list_runs(root: str | Path = RUNS_FOLDER) -> list[RunSummary]:
    """The runs in a folder (or the one run that the folder is), newest first.

    Raises
    ------
    NotARunError
        The folder does not exist.
    """
    folder = absolute(root)
    if not folder.is_dir():
        raise NotARunError(
            f"There is no folder {folder}.",
            expected="a folder with runs",
            fix="profactory train DATA makes one",
        )
    places = [folder] if (folder / "status.json").is_file() else sorted(folder.iterdir())
    found = [_summarise(p) for p in places if not p.name.startswith(".") and (p / "status.json").is_file()]
    return sorted(found, key=lambda summary: (summary.created, summary.name), reverse=True)


def new_run_path(root: str | Path, data: str | Path, model: str, method: str) -> Path:
    """A free path ``root/DATA-MODEL-METHOD``, with ``-2``, ``-3``... as needed.

    The directory is made (empty) so that no other process gets the same name; :meth:`Run.create` accepts it.
    """
    folder = absolute(root)
    base = run_name(data, model, method)
    with explained(folder, "Cannot make a run directory"):
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            path = folder / (base if number == 1 else f"{base}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
            number += 1


def run_name(data: str | Path, model: str, method: str) -> str:
    """The name ``DATA-MODEL-METHOD``, of letters that are safe in a path.

    Examples
    --------
    >>> run_name("/tables/my proteins.csv.gz", "facebook/esm2_t6_8M_UR50D", "lora")
    'my-proteins-esm2_t6_8M_UR50D-lora'
    """
    words = (str(data).rpartition(":")[2], str(model), str(method))
    return "-".join(word for word in (_as_name(w) for w in words) if word) or "run"


def whole_of(run: Run) -> Run:
    """Return the run that another one is a member or a trial of, or the run itself."""
    above = run.path.parent
    if above.name not in (MEMBERS, TRIALS) or not (above.parent / "status.json").is_file():
        return run
    log.info("%s is a part of %s, which goes on as a whole.", run.path.name, above.parent)
    return Run.open(above.parent)


def summarise(run: Run) -> RunSummary:
    """Return what ``runs list`` says about a run."""
    status, config = run.status(), run.config()
    words = {key: str(config.get(key) or "") for key in ("data", "model", "method", "task")}
    chosen = {key: str(status[key]) for key in ("task", "method", "model") if status.get(key)}
    numbers = status.get("metrics")
    metrics = {k: float(v) for k, v in numbers.items() if isinstance(v, int | float)} if numbers else {}
    created, updated = str(status.get("created", "")), str(status.get("updated", ""))
    return RunSummary(run.path, status["state"], created, updated, metrics=metrics, **{**words, **chosen})


def _as_name(word: str) -> str:
    stem = re.split(r"[/\\]", word.rstrip("/\\"))[-1]
    stem = re.sub(r"(\.(csv|tsv|txt|fasta|fa|faa|parquet|json|jsonl|gz))+$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.]+", "-", stem).strip("-.")[:60]


def _summarise(path: Path) -> RunSummary:
    try:
        return summarise(Run.open(path))
    except RunError:
        return RunSummary(path, "damaged")
