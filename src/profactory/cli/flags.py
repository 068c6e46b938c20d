"""Command-line flags made from the fields of a configuration, such as :class:`profactory.config.TrainConfig`.

Each field is one flag: its type gives the choices, its docstring the help, its group the place on the page.
Only what was typed reaches the command, so that a file given with ``--config`` fills in the rest.
"""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from cyclopts import Group, Parameter

from profactory.config import Configuration, TrainConfig
from profactory.errors import ConfigError


class UsageError(ConfigError):
    """A command line that cannot be meant."""

    exit_code = 2


Command = TypeVar("Command", bound=Callable[..., Any])
#: A switch that is off unless typed.
FLAG = Parameter(negative=(), show_default=False)
OUTPUT = Group("Output", sort_key=1)
#: Options that take all words up to the next option. Not the label column: a table may be typed behind it.
_LISTS = ("features", "structure_columns", "lora_target_modules", "augment")


def _group(configuration: type[Configuration], title: str) -> Group:
    """Return the place of a section on the help page, behind our own groups."""
    titles = [section.group for section in configuration.sections]
    return Group(title, sort_key=titles.index(title) + 2)


#: For every command that prints a result.
Json = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, group=OUTPUT)]
Overwrite = Annotated[bool, Parameter(negative=(), show_default=False, group=OUTPUT)]
Detach = Annotated[bool, Parameter(negative=(), show_default=False, group=OUTPUT)]

_MACHINE = Parameter(group=_group(TrainConfig, "Machine"))
Device = Annotated[str, _MACHINE]
Engine = Annotated[str, _MACHINE]
Precision = Annotated[str, _MACHINE]
TokensPerBatch = Annotated[int | None, _MACHINE]
TrustRemoteCode = Annotated[bool, Parameter(negative=(), show_default=False, group=_MACHINE.group)]
_CLUSTER = Parameter(group=Group("Cluster", sort_key=len(TrainConfig.sections) + 2))
Cluster = Annotated[Literal["ray"] | None, _CLUSTER]
Address = Annotated[str | None, _CLUSTER]
Workers = Annotated[int | None, _CLUSTER]
_DATA = Parameter(group=_group(TrainConfig, "Data"))
Structures = Annotated[str | None, _DATA]
MissingStructure = Annotated[Literal["refuse", "mask"], _DATA]


def with_settings(*names: str, of: type[Configuration] = TrainConfig) -> Callable[[Command], Command]:
    """Replace ``**settings`` of a command by flags for fields of a configuration.

    Parameters
    ----------
    *names
        Which fields; all of them if none is named.
    of
        The configuration.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        chosen: Iterable[str] = names or of.model_fields
        flags = [_flag(of, name) for name in chosen]
        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        return command

    return decorate


def _flag(configuration: type[Configuration], name: str) -> inspect.Parameter:
    field = configuration.model_fields[name]
    about = Parameter(
        group=_group(configuration, configuration.group_of(name)),
        help=field.description,
        negative=(),
        consume_multiple=name in _LISTS,
        show_default=False if field.default is None or field.default is False else _shown,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=field.default,
        annotation=Annotated[_typed(field.annotation), about],
    )


def _typed(annotation: Any) -> Any:
    """Spell an enumeration as the choice of its values, which is what the user types."""
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Literal[tuple(str(member) for member in annotation)]
    if get_origin(annotation) in (Union, types.UnionType):
        return functools.reduce(operator.or_, map(_typed, get_args(annotation)))
    return annotation


def _shown(default: Any) -> str:
    """Write a default as it would be typed."""
    return " ".join(str(part) for part in default) if isinstance(default, tuple) else str(default)
