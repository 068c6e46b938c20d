"""Settings as they would be typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_flags(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as command-line flags; what is None or off is left out.

    Parameters
    ----------
    settings
        Fields of :class:`profactory.TrainConfig` or other options of a command, by name.

    Examples
    --------
    >>> as_flags({"model": "mini", "epochs": 3, "trust_remote_code": True, "split_ratios": (0.7, 0.2, 0.1)})
    ['--model=mini', '--epochs=3', '--trust-remote-code', '--split-ratios', '0.7', '0.2', '0.1']
    """
    return [word for name, value in settings.items() for word in _flag(f"--{name.replace('_', '-')}", value)]


def _flag(flag: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if isinstance(value, tuple):  # of a fixed number of parts, typed behind one flag
        return [flag, *map(str, value)]
    if isinstance(value, list):
        return [f"{flag}={entry}" for entry in value]
    return [f"{flag}={value}"]
