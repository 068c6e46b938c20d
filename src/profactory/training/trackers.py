"""What is measured, told to other programs as well: TensorBoard, Weights & Biases, trackio, MLflow.

Through the trackers of accelerate; ``events.jsonl`` is written whether there are any or not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profactory.errors import ConfigError, MissingExtraError

PROJECT = "profactory"
EVENTS = ("step", "evaluation")
_PLACE = ("step", "epoch")
_IN_EXTRA = ("tensorboard", "trackio")
_REMEDY = {
    "wandb": "`wandb login`, or WANDB_MODE=offline and `wandb sync` later",
    "mlflow": "MLFLOW_TRACKING_URI of a server that answers, or none for a file in this folder",
}

log = logging.getLogger("profactory")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose package is not installed.

    Raises
    ------
    MissingExtraError, ConfigError
        Naming the package to install.
    """
    for name in names:
        if find_spec(name) is not None:
            continue
        if name in _IN_EXTRA:
            raise MissingExtraError(f"--report-to {name}", "trackers")
        raise ConfigError(
            f"--report-to {name} needs the package {name}, which is not installed.", fix=f"pip install {name}"
        )


class Trackers:
    """The trackers of one training; without names there is none, and nothing happens.

    One that cannot be started is an error. One that fails later, because its server is gone for instance, is
    named in a warning and told nothing more: a training does not die of those who watch it.

    Parameters
    ----------
    names
        ``tensorboard``, ``wandb``, ``trackio``, ``mlflow``.
    run
        Run directory; its name is that of the run with the trackers. TensorBoard and Weights & Biases store
        in its folder ``trackers``, trackio and MLflow where all their runs are.
    settings
        Told to them once.

    Raises
    ------
    ConfigError
        A tracker cannot be started: no account, no server.
    """

    def __init__(self, names: Sequence[str], run: Path, settings: Mapping[str, Any]) -> None:
        plain = {name: value for name, value in settings.items() if isinstance(value, str | int | float)}
        self._trackers = {name: _open(name, run, plain) for name in names}

    def tell(self, event: str, fields: Mapping[str, Any]) -> None:
        """Pass on the numbers of an event, if it is one that measures."""
        if not self._trackers or event not in EVENTS:
            return
        nested = {f"validation/{name}": value for name, value in (fields.get("metrics") or {}).items()}
        own = {f"training/{name}": value for name, value in fields.items() if name not in _PLACE}
        numbers = {
            name: value
            for name, value in {**own, **nested, "epoch": fields.get("epoch")}.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        self._ask("log", numbers, step=int(fields["step"]))

    def close(self) -> None:
        """Let them write what they hold."""
        self._ask("finish")
        self._trackers = {}

    def _ask(self, method: str, *arguments: Any, **named: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                getattr(tracker, method)(*arguments, **named)
            except Exception as error:  # noqa: BLE001 - each service has errors of its own; all are named
                log.warning("%s fails and is told nothing more: %s", name, error)
                del self._trackers[name]


def _open(name: str, run: Path, settings: Mapping[str, Any]) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    check_trackers([name])
    folder = run / "trackers"
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": run.name, "logging_dir": folder},
        "wandb": {"run_name": PROJECT, "name": run.name, "dir": str(folder)},
        "trackio": {"run_name": PROJECT, "name": run.name},
        "mlflow": {"experiment_name": PROJECT, "run_name": run.name},
    }
    if str(folder) in map(str, options[name].values()):
        folder.mkdir(exist_ok=True)
    try:
        tracker = LOGGER_TYPE_TO_CLASS[name](**options[name])
        tracker.start()
        tracker.store_init_configuration(settings)
    except Exception as error:
        raise ConfigError(
            f"--report-to {name}: it cannot be started: {error}",
            expected="a tracker that takes what it is told",
            fix=_REMEDY.get(name, f"train without --report-to {name}"),
        ) from error
    return tracker
