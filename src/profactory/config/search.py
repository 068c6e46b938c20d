"""What a sweep tries: settings that stay, alternatives, ranges. Torch-free."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from profactory.config import TrainConfig
from profactory.config.data import DataSettings
from profactory.config.methods import METHODS
from profactory.errors import ConfigError, Problem

#: Trials on other rows, by another measure or on other devices cannot be told better from worse.
_FIXED = {*DataSettings.model_fields, "monitor", "coverage", "seed", "seeds", "device", "threads"}
_NEVER = ("folds", "fold_split", "seeds")
_SPECIAL = {option for method in METHODS.values() for option in method.options}
USUAL_TRIALS = 20  # of a search among ranges, unless told otherwise


@dataclass(frozen=True)
class Range:
    """Numbers between two bounds, both included.

    Parameters
    ----------
    low, high
        The bounds; whole numbers for a setting that counts something.
    log
        Whether to try them evenly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class Search:
    """What a sweep tries.

    Parameters
    ----------
    fixed
        Settings of every trial.
    choices
        Setting to its alternatives.
    ranges
        Setting to its range.
    """

    fixed: dict[str, Any]
    choices: dict[str, tuple[Any, ...]]
    ranges: dict[str, Range]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Search:
        """Sort what a file says: a value stays, a list holds alternatives, ``{low, high, log}`` is a range.

        Raises
        ------
        ConfigError
            With everything that cannot be tried, before anything is.
        """
        problems: list[Problem] = []
        fixed, choices, ranges = {}, {}, {}
        for name, value in values.items():
            if isinstance(value, Mapping):
                ranges[name] = _range(name, value, problems)
            elif isinstance(value, list) and not _holds_list(name):
                choices[name] = tuple(value)
                problems += _wrong_choices(name, value)
            else:
                fixed[name] = value
        problems += [
            Problem(f"{name} cannot be tried: trials would not be measured alike; give one value")
            for name in (*choices, *ranges)
            if name in _FIXED
        ]
        problems += [Problem(f"{name} cannot be part of a sweep") for name in _NEVER if name in fixed]
        if not choices and not ranges:
            problems.append(Problem("there is nothing to try: no setting has a list or a range"))
        if not problems:
            problems = _wrong_values(fixed, choices, ranges)
        if problems:
            raise ConfigError(
                f"The sweep cannot be done ({len(problems)} problem{'' if len(problems) == 1 else 's'}).",
                problems=problems,
                expected="setting: value, setting: [value, value] or setting: {low: 0.1, high: 1.0}",
                fix="see profactory sweep --help and examples/sweep.yaml",
            )
        return cls(fixed, choices, ranges)

    @property
    def tried(self) -> list[str]:
        """Names of what is tried, the method first: others may have no meaning with it."""
        names = [*self.choices, *self.ranges]
        return sorted(names, key=lambda name: name != "method")

    def has_meaning(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether a setting means something with the method of `settings`."""
        method = settings.get("method", self.fixed.get("method", "auto"))
        return name not in _SPECIAL or method == "auto" or name in METHODS[method].options

    def settings(self, tried: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a trial; what is fixed for another method is left out."""
        fixed = {name: value for name, value in self.fixed.items() if self.has_meaning(name, tried)}
        return {**fixed, **tried}

    def grid(self) -> list[dict[str, Any]]:
        """Return every combination of alternatives that means something; none if there are ranges."""
        return [] if self.ranges else list(self._combinations())

    def _combinations(self) -> Iterator[dict[str, Any]]:
        seen = set()
        names = [name for name in self.tried if name in self.choices]
        for values in itertools.product(*(self.choices[name] for name in names)):
            whole = dict(zip(names, values, strict=True))
            kept = {name: value for name, value in whole.items() if self.has_meaning(name, whole)}
            if (key := repr(kept)) not in seen:
                seen.add(key)
                yield kept


def _holds_list(name: str) -> bool:
    """Whether a setting's own value is a list, so that a list is one value and not alternatives."""
    field = TrainConfig.model_fields.get(name)
    parts = (field.annotation, *get_args(field.annotation)) if field else ()
    return any(getattr(part, "__origin__", None) in (list, tuple) for part in parts)


def _range(name: str, value: Mapping[str, Any], problems: list[Problem]) -> Range:
    low, high, log = value.get("low"), value.get("high"), value.get("log", False)
    numbers = [bound for bound in map(_number, (low, high)) if bound is not None]
    if set(value) - {"low", "high", "log"} or len(numbers) < 2 or not isinstance(log, bool):
        problems.append(Problem(f"{name}: a range is {{low: number, high: number, log: true or false}}"))
        return Range(0.0, 1.0)
    if not numbers[0] < numbers[1] or (log and numbers[0] <= 0):
        problems.append(Problem(f"{name}: low must be below high, and above 0 on a logarithmic scale"))
    field = TrainConfig.model_fields.get(name)
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    if float in kinds:
        numbers = [float(bound) for bound in numbers]
    elif int not in kinds:
        problems.append(Problem(f"{name} is no number; give a list of values"))
    return Range(numbers[0], numbers[1], log)


def _number(bound: Any) -> float | None:
    """Return a bound if it is a number; YAML takes 1e-4, which has no point, for a word."""
    if isinstance(bound, str):
        with contextlib.suppress(ValueError):
            return float(bound)
    return bound if type(bound) in (int, float) else None


def _wrong_choices(name: str, values: list[Any]) -> list[Problem]:
    if not values:
        return [Problem(f"{name}: the list is empty")]
    if not all(value is None or isinstance(value, str | int | float | bool) for value in values):
        return [Problem(f"{name}: alternatives are words, numbers, true or false")]
    if len(set(map(repr, values))) < len(values):
        return [Problem(f"{name}: a value is listed twice")]
    return []


def _wrong_values(
    fixed: dict[str, Any], choices: dict[str, tuple[Any, ...]], ranges: dict[str, Range]
) -> list[Problem]:
    """Ask the configuration about what is fixed, and about every single value beside it."""
    single = [(name, value) for name, values in choices.items() for value in values]
    single += [(name, bound) for name, span in ranges.items() for bound in (span.low, span.high)]
    plain = {name: value for name, value in fixed.items() if name not in _SPECIAL and name != "method"}
    found: dict[str, Problem] = {}
    for values in (plain, *({**plain, name: value} for name, value in single)):
        try:
            TrainConfig.build(values)
        except ConfigError as error:
            found |= {str(problem): problem for problem in error.problems}
    return list(found.values())
