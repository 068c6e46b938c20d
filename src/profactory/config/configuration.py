"""What every configuration can do: be built from plain values or YAML, and name all that is wrong at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from profactory.config.settings import Settings
from profactory.errors import ConfigError, Problem


class Configuration(Settings):
    """A configuration made of sections.

    Attributes
    ----------
    sections : tuple of type
        The sections, in the order of the help page.
    command : str
        The command whose flags the fields are.
    """

    sections: ClassVar[tuple[type[Settings], ...]] = ()
    command: ClassVar[str] = ""

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration from plain values, naming everything wrong at once.

        Raises
        ------
        ConfigError
            For unknown names (with the nearest right one), values out of range and options that
            exclude each other.
        """
        # A path is as good as its text; YAML and the command line know only texts.
        plain = {name: str(v) if isinstance(v, PurePath) else v for name, v in values.items()}
        try:
            config = cls(**plain)
        except ValidationError as error:
            raise cls._error([cls._problem(item) for item in error.errors()]) from None
        config.check()
        return config

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Check those values that are settings, and return them as the configuration reads them.

        Others, which are arguments of something else, are returned as they are.

        Raises
        ------
        ConfigError
            As :meth:`build`.
        """
        settings = {name: value for name, value in values.items() if name in cls.model_fields}
        config = cls.build(settings)
        return {**values, **{name: getattr(config, name) for name in settings}}

    @classmethod
    def group_of(cls, name: str) -> str:
        """Return the title of the section that a field is in."""
        return next(section.group for section in cls.sections if name in section.model_fields)

    def check(self) -> None:
        """Refuse options that exclude each other, all of them at once.

        Raises
        ------
        ConfigError
            With one problem per contradiction.
        """
        found = [reason for section in self.sections for reason in section.contradictions(self)]
        if (getattr(self, "precision", None), getattr(self, "device", None)) == ("fp16", "cpu"):
            found.append("precision fp16 needs a GPU; take bf16 or fp32 on a processor")
        if found:
            raise self._error([Problem(reason) for reason in found])

    @classmethod
    def _error(cls, problems: list[Problem]) -> ConfigError:
        count = len(problems)
        return ConfigError(
            f"The options cannot be used ({count} problem{'' if count == 1 else 's'}).",
            problems=problems,
            fix=f"see `profactory {cls.command} --help`",
        )

    @classmethod
    def _problem(cls, item: Any) -> Problem:
        """Put one of pydantic's findings into our words."""
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            return Problem(f"no option is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        message = item["msg"][0].lower() + item["msg"][1:]
        return Problem(f"{name}: {message}", value=str(item["input"]))


def read_yaml(path: str | Path) -> tuple[str | None, dict[str, Any]]:
    """Read a file of settings: one written by hand, or the ``config.yaml`` of a run.

    Returns
    -------
    source, settings
        What the file says about ``data``, if it does, and settings, not yet checked.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds no settings.
    """
    import yaml

    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"The configuration {file} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {file} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"The configuration {file} is not a list of `name: value` lines.")
    source = values.pop("data", None)
    return None if source is None else str(source), values
