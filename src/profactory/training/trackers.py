"""What is measured, told to other programs as well: TensorBoard, Weights & Biases, trackio, MLflow.

Through the trackers of accelerate; ``events.jsonl`` is written whether there are any or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from profactory.errors import ConfigError, MissingExtraError

PROJECT = "profactory"
EVENTS = ("step", "evaluation")
_PLACE = ("step", "epoch")


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
        if name == "tensorboard":
            raise MissingExtraError("--report-to tensorboard", "trackers")
        raise ConfigError(
            f"--report-to {name} needs the package {name}, which is not installed.", fix=f"pip install {name}"
        )


class Trackers:
    """The trackers of one training; without names there is none, and nothing happens.

    Parameters
    ----------
    names
        ``tensorboard``, ``wandb``, ``trackio``, ``mlflow``.
    run
        Run directory; its name is that of the run with the trackers, and what they store lies in its folder
        ``trackers``.
    settings
        Told to them once.
    """

    def __init__(self, names: Sequence[str], run: Path, settings: Mapping[str, Any]) -> None:
        self._trackers = [_open(name, run) for name in names]
        plain = {name: value for name, value in settings.items() if isinstance(value, str | int | float)}
        for tracker in self._trackers:
            tracker.store_init_configuration(plain)

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
        for tracker in self._trackers:
            tracker.log(numbers, step=int(fields["step"]))

    def close(self) -> None:
        """Let them write what they hold."""
        for tracker in self._trackers:
            tracker.finish()
        self._trackers = []


def _open(name: str, run: Path) -> Any:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    check_trackers([name])
    folder = run / "trackers"
    folder.mkdir(exist_ok=True)
    options: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": run.name, "logging_dir": folder},
        "wandb": {"run_name": PROJECT, "name": run.name, "dir": str(folder)},
        "trackio": {"run_name": PROJECT, "name": run.name},
        "mlflow": {"experiment_name": PROJECT, "run_name": run.name, "logging_dir": str(folder)},
    }
    tracker = LOGGER_TYPE_TO_CLASS[name](**options[name])
    tracker.start()
    return tracker
