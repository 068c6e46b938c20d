"""Run directories: layout, lock, events, status; lists of them."""

from profactory.runs.layout import SCHEMA_VERSION, STATES
from profactory.runs.listing import RUNS_FOLDER, RunSummary, list_runs, new_run_path, summarise
from profactory.runs.run import ACTIVE_STATES, RUN_ENTRIES, Run

__all__ = [
    "ACTIVE_STATES",
    "RUNS_FOLDER",
    "RUN_ENTRIES",
    "SCHEMA_VERSION",
    "STATES",
    "Run",
    "RunSummary",
    "list_runs",
    "new_run_path",
    "summarise",
]
