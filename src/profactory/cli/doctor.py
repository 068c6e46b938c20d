"""``profactory doctor``."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from profactory import doctor as checks
from profactory.cli import terminal
from profactory.cli.flags import Json

SAMPLE = "bundled:demo-membrane"
#: Rows and epochs of the self-test: enough to pass through every part, in a few seconds.
ROWS, EPOCHS = 120, 2


def doctor(
    *, quick: Annotated[bool, Parameter(negative=(), show_default=False)] = False, json: Json = False
) -> int:
    """Check this machine: Python, torch, GPU and driver, memory, disk, packages.

    Prints one line per finding, with the line to type where something has
    to be mended, and trains and predicts once on a few bundled sequences.
    Ends with exit code 1 if anything is broken.

    Example: profactory doctor

    Parameters
    ----------
    quick
        Leave out the training, which takes about ten seconds.
    json
        Print the findings as JSON, for a report of a bug.
    """
    found = []
    for finding in checks.diagnose([] if quick else [self_test]):
        found.append(finding)
        if not json:
            terminal.say(finding.line())
    broken = [finding for finding in found if finding.state == checks.BROKEN]
    if json:
        terminal.say_json({"ok": not broken, "findings": [finding.to_dict() for finding in found]})
    else:
        terminal.say("", f"{len(broken)} to mend" if broken else "All is well.")
    return 1 if broken else 0


def self_test() -> Iterator[checks.Finding]:
    """Train on bundled sequences with the bundled model, and predict with what came out."""
    from profactory import api

    start = time.perf_counter()
    log = logging.getLogger("profactory")
    level = log.level
    log.setLevel(logging.ERROR)  # what a training says is of no interest here
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = api.train(SAMPLE, out=Path(folder) / "run", limit=ROWS, epochs=EPOCHS)
            (record,) = run.predict(["MKTAYIAKQRQISFVKSHFSRQ"])
    finally:
        log.setLevel(level)
    seconds = time.perf_counter() - start
    yield checks.Finding(
        "self-test",
        checks.OK,
        f"trained on {ROWS} sequences, predicted {record['prediction']!r} ({seconds:.0f} s)",
    )
