"""From the form to the command that is run: the same words that would be typed in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profactory.config import TrainConfig
from profactory.errors import ConfigError, Problem, UnknownModelError
from profactory.jobs import as_flags
from profactory.runs.listing import run_name
from profactory.web.form import read_form
from profactory.web.workspace import Workspace, is_inside

#: Settings that name a file or folder beside data and model.
PLACES = ("structures", "init")
#: Settings for structures beside a table, which evaluation and prediction have too.
STRUCTURES = ("structures", "missing_structure")


@dataclass(frozen=True)
class Plan:
    """A command to be started.

    Parameters
    ----------
    run
        The run that it makes.
    verb, arguments
        The words behind ``profactory``.
    """

    run: Path
    verb: str
    arguments: list[str]

    @property
    def command(self) -> str:
        """The command as it would be typed into a shell."""
        return shlex.join(["profactory", self.verb, *self.arguments])


def plan_training(workspace: Workspace, source: str, name: str, values: Mapping[str, Any]) -> Plan:
    """Plan what the form asks for.

    Parameters
    ----------
    workspace
        Where the run is made.
    source
        The data that were chosen.
    name
        Name of the run.
    values
        Content of the controls by name of the setting.

    Raises
    ------
    ProFactoryError
        Data, name, model or settings cannot be used.
    """
    checked = workspace.check_data(source)
    settings = read_form(values)
    check_model(workspace, settings.get("model", ""))
    check_places(workspace, settings)
    run = workspace.run_path(name)
    return Plan(run, "train", [checked, f"--out={run}", *as_flags(settings)])


def suggest_name(workspace: Workspace, source: str, values: Mapping[str, Any]) -> str:
    """Return a name for the run that no other has, after data, model and method."""
    words = (source, values.get("model") or "mini", values.get("method") or "auto")
    base = run_name(*map(str, words))
    names = (base if number == 1 else f"{base}-{number}" for number in range(1, 10_000))
    return next(name for name in names if not is_taken(workspace, name))


def is_taken(workspace: Workspace, name: str) -> bool:
    """Whether a run or a job has that name."""
    return (workspace.runs / name).exists() or (workspace.runs / ".jobs" / name).exists()


def settings_of_run(workspace: Workspace, name: str) -> tuple[str, dict[str, Any]]:
    """Return the data and the settings that a run was asked for."""
    config = workspace.open_run(name).config()
    source = str(config.pop("data", ""))
    return source, {key: value for key, value in config.items() if key in TrainConfig.model_fields}


def check_model(workspace: Workspace, name: str) -> None:
    """Refuse a folder that the page may not read; names of the catalogue and of the Hub pass.

    Raises
    ------
    UnknownModelError
        With what is expected.
    """
    if not name or not Path(name).expanduser().exists():
        return
    if not any(is_inside(Path(name).expanduser(), folder) for folder in (workspace.runs, workspace.data)):
        raise UnknownModelError(
            f"The folder {name} is not in the folders of this page.",
            expected=f"a name of the catalogue, a Hub id, a folder in {workspace.runs} or {workspace.data}",
            fix="copy the model there, or train it in a terminal",
        )


def check_places(workspace: Workspace, settings: Mapping[str, Any]) -> None:
    """Refuse settings that name a file or folder which the page may not read.

    Raises
    ------
    ConfigError
        With all of them.
    """
    folders = (workspace.data, workspace.runs)
    wrong = [
        Problem(f"{name}: {settings[name]!r} is not in the folders of this page")
        for name in PLACES
        if settings.get(name)
        and not any(is_inside(Path(settings[name]).expanduser(), folder) for folder in folders)
    ]
    if wrong:
        raise ConfigError(
            "The page may not read what the settings name.",
            expected=f"a path in {workspace.data} or {workspace.runs}",
            fix="copy it there, or do this in a terminal",
            problems=wrong,
        )


def structure_flags(workspace: Workspace, values: Mapping[str, Any]) -> list[str]:
    """Return the flags for structures beside a table; none where none were named.

    Parameters
    ----------
    workspace
        Of the page.
    values
        Content of the controls of :data:`STRUCTURES` by name.

    Raises
    ------
    ConfigError
        The page may not read them.
    """
    if not str(values.get("structures") or "").strip():
        return []
    settings = read_form(values)
    check_places(workspace, settings)
    return as_flags(settings)
