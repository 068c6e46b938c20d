"""``profactory models``: the catalogue of protein language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cyclopts import App

from profactory.cli import terminal
from profactory.cli.flags import Json, with_settings
from profactory.data.checking_text import duration, size

if TYPE_CHECKING:
    from profactory.pipeline.recommending import Candidate

models = App(
    name="models",
    help="The catalogue of protein language models.\n\nExample: profactory models list",
    help_format="plaintext",
)


@models.command(name="list")
def list_(word: str | None = None, /, *, json: Json = False) -> None:
    """List the models that --model knows by name.

    Any Hub id or local folder of a supported family works as well.

    Example: profactory models list
             profactory models list esm2

    Parameters
    ----------
    word
        Only models with this in their name, family or source.
    json
        Print the list as JSON.
    """
    from profactory.models.zoo import list_models

    specs = [spec.to_dict() for spec in list_models()]
    if word:
        places = ("name", "family", "source")
        specs = [spec for spec in specs if any(word.lower() in str(spec[p]).lower() for p in places)]
    if json:
        terminal.say_json(specs)
    elif not specs:
        terminal.say(f"no model with {word!r} in its name; profactory models list shows all")
    else:
        terminal.say(terminal.table([_row(spec) for spec in specs]))


@models.command
def show(name: str, /, *, revision: str | None = None, json: Json = False) -> None:
    """Show all that is known about one model.

    Example: profactory models show esm2-8m

    Parameters
    ----------
    name
        A name of the list, a Hub id or a folder.
    revision
        Commit or tag of a Hub model.
    json
        Print it as JSON.
    """
    from profactory.models.zoo import resolve

    spec = resolve(name, revision=revision)
    facts = spec.to_dict()
    if json:
        terminal.say_json(facts)
    else:
        terminal.say(terminal.facts({key: _readable(value) for key, value in facts.items()}))


@models.command
@with_settings("sequence_column", "label_column", "split_column", "header_pattern", "task", "limit")
def recommend(  # noqa: D417 - the settings describe themselves
    data: str | None = None, /, *, minutes: float = 60.0, json: Json = False, **settings: Any
) -> None:
    """Recommend a model for this machine and these data, with reasons.

    Weighs the catalogue by free memory, expected time, number and length of the sequences and the task.
    Nothing is trained and no model is fetched.

    Example: profactory models recommend proteins.csv
             profactory models recommend --minutes 10

    Parameters
    ----------
    data
        Whatever train takes; without it a thousand sequences of 350 residues are assumed.
    minutes
        How long a training on a processor may take.
    json
        Print it as JSON.
    """
    from profactory import api

    found = api.recommend(data, minutes=minutes, **settings)
    if json:
        terminal.say_json(found.to_dict())
        return
    terminal.say(terminal.table([_weighed(candidate) for candidate in found.candidates]), "")
    terminal.say(*found.reasons, "", *found.commands)


def _weighed(candidate: Candidate) -> dict[str, object]:
    return {
        "name": candidate.name,
        "parameters": _short(candidate.parameters),
        "memory": size(candidate.memory_bytes) if candidate.memory_bytes else "",
        "time": "" if candidate.seconds is None else duration(candidate.seconds),
        "cut": f"{candidate.cut:.0%}" if candidate.cut else "",
        "against it": candidate.against,
    }


def _row(spec: dict[str, Any]) -> dict[str, object]:
    row = {name: spec.get(name) for name in ("name", "family")}
    return {
        **row,
        "parameters": _short(spec.get("parameters")),
        "max length": spec.get("max_length"),
        "licence": spec.get("licence"),
    }


def _short(number: int | None) -> str:
    """Write a parameter count as people say it."""
    if not number:
        return ""
    for unit, scale in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return str(number)


def _readable(value: Any) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {entry}" for key, entry in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
