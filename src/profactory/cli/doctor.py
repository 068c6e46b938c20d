"""``profactory doctor``."""

from __future__ import annotations

import time
from collections.abc import Iterator

from profactory import doctor as checks
from profactory.cli import terminal
from profactory.cli.flags import Json


def doctor(*, json: Json = False) -> int:
    """Check this machine: Python, torch, GPU and driver, memory, disk, packages.

    Prints one line per finding, with the line to type where something has
    to be mended. Ends with exit code 1 if anything is broken.

    Example: profactory doctor

    Parameters
    ----------
    json
        Print the findings as JSON.
    """
    found = []
    for finding in checks.diagnose([bundled_model]):
        found.append(finding)
        if not json:
            terminal.say(finding.line())
    broken = [finding for finding in found if finding.state == checks.BROKEN]
    if json:
        terminal.say_json({"ok": not broken, "findings": [finding.to_dict() for finding in found]})
    else:
        terminal.say("", f"{len(broken)} to mend" if broken else "All is well.")
    return 1 if broken else 0


def bundled_model() -> Iterator[checks.Finding]:
    """Load the model inside the package and run it."""
    from profactory.models.backbone import Backbone
    from profactory.models.zoo import resolve

    start = time.perf_counter()
    spec = resolve("mini")
    backbone = Backbone.load(spec)
    batch = backbone.collate(backbone.tokenize(["MKTAYIAKQR"], backbone.max_length))
    shape = tuple(backbone(batch.input_ids, batch.attention_mask, batch.lengths).residues.shape)
    seconds = time.perf_counter() - start
    if shape == (1, 10, backbone.width):
        yield checks.Finding("bundled model", checks.OK, f"{spec.name} loads and runs ({seconds:.1f} s)")
    else:
        again = "pip install --force-reinstall --no-deps profactory"
        yield checks.Finding("bundled model", checks.BROKEN, f"{spec.name} yields the shape {shape}", again)
