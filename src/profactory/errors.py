"""Every error that ProFactory raises on purpose.

::

    ProFactoryError
    ├── ConfigError             options that are unknown, impossible or contradict each other
    ├── DataError               the user's data
    │   ├── ReadError           a file is not what it says: encoding, format, empty, missing
    │   ├── ColumnError         a column is missing or ambiguous
    │   ├── RowError            rows that cannot be used, all of them
    │   └── SplitError          the data cannot be divided as asked
    ├── ModelError              pre-trained and saved models
    │   ├── UnknownModelError   no such model; nearest names offered
    │   ├── ModelLoadError      a model is damaged, incomplete, unsafe or from a newer version
    │   └── ExportError         an exported model does not answer as the original
    ├── RunError                run directories
    │   ├── NotARunError
    │   ├── RunExistsError
    │   ├── RunLockedError
    │   └── CheckpointError
    ├── TrainingError           what happens while training
    │   ├── NonFiniteError      a loss or gradient is NaN or infinite
    │   ├── MemoryBudgetError   it does not fit into memory
    │   └── StoppedError        stopped by a signal; the run can be resumed
    └── MissingExtraError       an optional package is not installed

Each says what was found, what was expected and what to do about it. Where data are at fault the
error carries every problem with its place, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class Problem:
    """One thing wrong at one place of the user's data.

    Parameters
    ----------
    reason
        What is wrong, as a clause: "letter '1' at position 7 is no residue".
    file, line, column, value
        Where it is, as far as known. Lines count from 1, the header included.
    """

    reason: str
    file: str = ""
    line: int | None = None
    column: str = ""
    value: str = ""

    def __str__(self) -> str:
        place = ", ".join(
            part
            for part in (
                self.file,
                f"line {self.line}" if self.line is not None else "",
                f"column {self.column!r}" if self.column else "",
            )
            if part
        )
        value = f" (found {shorten(self.value)!r})" if self.value else ""
        return f"{place}: {self.reason}{value}" if place else f"{self.reason}{value}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary, for JSON and ``rejected_rows.csv``."""
        return asdict(self)


class ProFactoryError(Exception):
    """Base of all our errors: found, expected, fix.

    Parameters
    ----------
    found
        One sentence: what is wrong, with the names and values at fault.
    expected
        What would have been right.
    fix
        The next step for the user: a flag to type, a file to mend.
    problems
        Every single problem behind the sentence, if there are several.
    """

    exit_code = 1
    #: Problems that are counted and not listed, of an error that was read from a text.
    unlisted = 0

    def __init__(
        self, found: str, *, expected: str = "", fix: str = "", problems: Sequence[Problem] = ()
    ) -> None:
        self.found = found
        self.expected = expected
        self.fix = fix
        self.problems = tuple(problems)
        super().__init__(self.message())

    @property
    def not_shown(self) -> int:
        """Problems beyond those that are shown."""
        return max(0, len(self.problems) - SHOWN_PROBLEMS) + self.unlisted

    def message(self) -> str:
        """Return the whole message as shown in a terminal."""
        lines = [self.found]
        lines += [f"  - {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if self.not_shown:
            lines.append(f"  - … and {self.not_shown:,} more")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the parts of the message for ``--json`` and ``status.json``."""
        return {
            "error": type(self).__name__,
            "found": self.found,
            "expected": self.expected,
            "fix": self.fix,
            "problems": [problem.to_dict() for problem in self.problems],
        }


class ConfigError(ProFactoryError):
    """Options that are unknown, impossible or contradict each other."""


class DataError(ProFactoryError):
    """Something about the user's data."""


class ReadError(DataError):
    """A file cannot be read as what it says it is."""


class ColumnError(DataError):
    """A column is missing or more than one could be meant."""


class RowError(DataError):
    """Rows that cannot be used; ``problems`` holds all of them."""


class SplitError(DataError):
    """The data cannot be divided as asked."""


class ModelError(ProFactoryError):
    """Something about a pre-trained or saved model."""


class UnknownModelError(ModelError):
    """No model of that name."""


class ModelLoadError(ModelError):
    """A model is damaged, incomplete, unsafe or written by a newer version."""


class ExportError(ModelError):
    """An exported model does not answer as the original."""


class RunError(ProFactoryError):
    """Something about a run directory."""


class NotARunError(RunError):
    """The path is not a run directory."""


class RunExistsError(RunError):
    """The run directory exists already."""


class RunLockedError(RunError):
    """Another live process is writing this run."""


class CheckpointError(RunError):
    """No usable checkpoint, or one that does not fit."""


class TrainingError(ProFactoryError):
    """Training cannot go on."""


class NonFiniteError(TrainingError):
    """A loss or gradient is NaN or infinite."""


class MemoryBudgetError(TrainingError):
    """The work does not fit into this machine's memory."""


class StoppedError(TrainingError):
    """Training was stopped by a signal after writing a checkpoint.

    Parameters
    ----------
    signal
        Number of the signal; the process exits with ``128 + signal``.
    """

    def __init__(self, found: str, *, signal: int, expected: str = "", fix: str = "") -> None:
        super().__init__(found, expected=expected, fix=fix)
        self.signal = signal
        self.exit_code = 128 + signal


class MissingExtraError(ProFactoryError):
    """An optional package is not installed.

    Parameters
    ----------
    feature
        What the user asked for.
    extra
        The extra of ``pip install "profactory[extra]"`` that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs a package that is not installed.",
            fix=f'pip install "profactory[{extra}]"',
        )


_PLACE = re.compile(
    r"(?P<file>.*?)(?:(?:, |^)line (?P<line>\d+))?"
    r"(?:(?:, |^)column (?P<column>'.*?'|\".*?\"))?: (?P<rest>.*)",
    re.DOTALL,
)
_FURTHER = re.compile(r"  - … and ([\d,]+) more")
_VALUE = re.compile(r"(?P<reason>.*) \(found (?P<value>'.*'|\".*\")\)", re.DOTALL)


def read_message(text: str) -> ProFactoryError:
    """Take a message apart again that :meth:`ProFactoryError.message` put together and a process printed.

    What is left of an error in the log of a job is this text; whoever shows it shows its parts.
    """
    found: list[str] = []
    parts = {"expected": "", "fix": ""}
    problems: list[Problem] = []
    unlisted = 0
    for line in text.splitlines():
        name, mark, rest = line.strip().partition(": ")
        if further := _FURTHER.fullmatch(line):
            unlisted = int(further[1].replace(",", ""))
        elif line.startswith("  - "):
            problems.append(_read_problem(line[4:]))
        elif line.startswith("  ") and mark and name in parts:
            parts[name] = rest
        else:
            found.append(line)
    error = ProFactoryError("\n".join(found).strip(), problems=problems, **parts)
    error.unlisted = unlisted
    return error


def _read_problem(text: str) -> Problem:
    found = _VALUE.fullmatch(text)
    text, value = (found["reason"], found["value"][1:-1]) if found else (text, "")
    place = _PLACE.fullmatch(text)
    if place is None or not (place["line"] or place["column"]):
        return Problem(text, value=value)
    line = int(place["line"]) if place["line"] else None
    column = place["column"][1:-1] if place["column"] else ""
    return Problem(place["rest"], place["file"], line, column, value)


def shorten(text: str, limit: int = 60) -> str:
    """Cut a long value for display, keeping its beginning and saying how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
