"""``profactory push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from profactory.cli import terminal
from profactory.cli.flags import FLAG, Json


def push(
    run: Path,
    repository: str,
    /,
    *,
    private: Annotated[bool, FLAG] = False,
    json: Json = False,
) -> None:
    """Share a trained model on the Hugging Face Hub, with its card.

    The card says task, data, split, what was measured, limits and licences.
    A backbone that is on the Hub is referenced by its commit and not
    uploaded. Others load the model with profactory.load("user/name").

    Example: profactory push runs/proteins-esm2-35m-lora me/solubility

    Parameters
    ----------
    run
        The run directory, or its model folder.
    repository
        user/name; made if it does not exist.
    private
        Make the repository for your eyes only.
    json
        Print the result as JSON.
    """
    from profactory import api

    address = api.push(run, repository, private=private)
    if json:
        terminal.say_json({"url": address, "repository": repository})
    else:
        terminal.say(f"pushed: {address}", f'load with: profactory.load("{repository}")')
