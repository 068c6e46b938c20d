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
    words = [sys.executable, "-m", "profactory", verb, *arguments, "--json"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        answer = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(
            f"The command {verb} took longer than {seconds:g} s.", fix="run it in a terminal"
        ) from error
    try:
        found = json.loads(answer.stdout)
    except ValueError:
        raise CommandError(answer.stderr.strip()[-2000:] or f"The command {verb} said nothing.") from None
    if answer.returncode and isinstance(found, dict) and "found" in found:
        problems = [Problem(**problem) for problem in found.get("problems", [])]
        raise CommandError(found["found"], expected=found["expected"], fix=found["fix"], problems=problems)
    return found
