"""Collecting row problems: every one counted, the first ten thousand kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from profactory.errors import Problem, shorten

KEPT = 10_000
VALUE_LENGTH = 200


class Problems:
    """All rows that cannot be used.

    Parameters
    ----------
    kept
        How many are remembered with their place; the rest are only counted, so that memory stays flat.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept = kept
        self.listed: list[Problem] = []
        self.total = 0
        self.kinds: Counter[str] = Counter()

    def add(self, problem: Problem, *, kind: str) -> None:
        """Count a problem under a kind (``unreadable``, ``sequence``, ``label``, ``split``)."""
        self.total += 1
        self.kinds[kind] += 1
        if len(self.listed) < self.kept:
            value = shorten(problem.value, VALUE_LENGTH)
            self.listed.append(Problem(problem.reason, problem.file, problem.line, problem.column, value))

    def extend(self, problems: Iterable[Problem], *, kind: str) -> None:
        """Count several problems of one kind."""
        for problem in problems:
            self.add(problem, kind=kind)

    def summary(self) -> str:
        """Return the numbers by kind, such as ``sequence: 3, label: 1``."""
        return ", ".join(f"{kind}: {number:,}" for kind, number in self.kinds.most_common())

    def in_order(self, files: Sequence[str]) -> list[Problem]:
        """Return the listed problems as they stand in the files."""
        place = {file: index for index, file in enumerate(files)}
        return sorted(self.listed, key=lambda problem: (place.get(problem.file, -1), problem.line or 0))
