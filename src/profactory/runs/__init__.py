"""Run directories: layout, lock, events, status; lists of them."""

from profactory.runs.layout import SCHEMA_VERSION, STATES
from profactory.runs.listing import (
    MEMBERS,
    RUNS_FOLDER,
    TRIALS,
    RunSummary,
    list_runs,
    new_run_path,
    summarise,
    whole_of,
)
from profactory.runs.run import ACTIVE_STATES, RUN_ENTRIES, Run

__all__ = [
    "ACTIVE_STATES",
    "MEMBERS",
    "RUNS_FOLDER",
    "RUN_ENTRIES",
    "SCHEMA_VERSION",
    "STATES",
    "TRIALS",
    "Run",
    "RunSummary",
    "list_runs",
    "new_run_path",
    "summarise",
    "whole_of",
]
