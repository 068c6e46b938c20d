"""Short work for which a visitor waits: a command in a process of its own, its answer as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from profactory.errors import Problem, ProFactoryError

SECONDS = 1800.0


class CommandError(ProFactoryError):
    """A command refused, in its own words."""


def ask(verb: str, arguments: Sequence[str], *, seconds: float = SECONDS) -> Any:
    """Run ``profactory VERB ARGUMENTS --json`` and return what it printed.

    Parameters
    ----------
    verb, arguments
        What would be typed.
    seconds
        How long to wait.

    Raises
    ------
    CommandError
        With what the command said.
    """
    return _answer(["profactory", verb, *arguments, "--json"], verb, seconds)


def ask_module(module: str, arguments: Sequence[str], *, seconds: float = SECONDS) -> Any:
    """Run ``python -m MODULE ARGUMENTS``, which prints JSON, and return that; otherwise as :func:`ask`."""
    return _answer([module, *arguments], module.rpartition(".")[2], seconds)


def _answer(words: Sequence[str], name: str, seconds: float) -> Any:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        answer = subprocess.run(
            [sys.executable, "-m", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"The command {name} took longer than {seconds:g} s.", fix="run it in a terminal"
        ) from error
    try:
        found = json.loads(answer.stdout)
    except ValueError:
        raise CommandError(answer.stderr.strip()[-2000:] or f"The command {name} said nothing.") from None
    if answer.returncode and isinstance(found, dict) and "found" in found:
        problems = [Problem(**problem) for problem in found.get("problems", [])]
        raise CommandError(found["found"], expected=found["expected"], fix=found["fix"], problems=problems)
    return found
