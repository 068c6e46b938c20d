"""What became of the rows of a file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profactory.data.domain import NOVELTY, UNLIKE, UNLIKE_IN
from profactory.errors import Problem
from profactory.files import counted

SHOWN_PROBLEMS = 20
#: Share of sequences unlike the training data that is worth a warning; one in a hundred is to be expected.
MANY = 0.1

_SUMS = ("rows", "predicted", "truncated", "windowed", "failed", "unlike")

log = logging.getLogger("profactory")


@dataclass
class FileReport:
    """What became of the rows of a file.

    Parameters
    ----------
    out
        The file written.
    engine
        What computed: ``torch fp32 on cpu``.
    rows, predicted, truncated, windowed
        Rows in all, those with a prediction, those of which only the beginning was read, and those
        read in overlapping windows.
    unlike
        Rows that are unlike the training data: ``novelty`` above 0.99.
    unlike_in
        How many of them are so in length, in composition, in the embedding.
    residue_table
        The file with a row per residue, if one was written.
    problems
        One per row without a prediction, in order, at most `kept`; `failed` counts all.
    """

    out: Path
    engine: str = ""
    rows: int = 0
    predicted: int = 0
    truncated: int = 0
    windowed: int = 0
    failed: int = 0
    unlike: int = 0
    unlike_in: Counter[str] = field(default_factory=Counter)
    residue_table: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    kept: int = 1000

    def count(self, problems: Sequence[Problem | None], columns: dict[str, list[Any]]) -> None:
        """Count some rows: their problem, if any, and the columns that say how it was read."""
        failed = [problem for problem in problems if problem is not None]
        self.rows += len(problems)
        self.failed += len(failed)
        self.predicted += len(problems) - len(failed)
        self.truncated += sum(map(bool, columns["truncated"]))
        self.windowed += sum((number or 0) > 1 for number in columns.get("windows", ()))
        self.unlike += sum((value or 0) > UNLIKE for value in columns.get(NOVELTY, ()))
        for cell in filter(None, columns.get(UNLIKE_IN, ())):
            self.unlike_in.update(cell.split(", "))
        self.problems += failed[: self.kept - len(self.problems)]

    def counts(self) -> dict[str, Any]:
        """Return what was counted as JSON-ready values, for :meth:`merge`."""
        values = self.to_dict()
        return {name: values[name] for name in (*_SUMS, "unlike_in", "problems")}

    def merge(self, counts: Mapping[str, Any]) -> None:
        """Add what another report counted of the rows behind; see :meth:`counts`."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + counts[name])
        self.unlike_in.update(counts["unlike_in"])
        found = counts["problems"][: self.kept - len(self.problems)]
        self.problems += [Problem(**problem) for problem in found]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        values = {name: value for name, value in vars(self).items() if name != "kept"}
        table = None if self.residue_table is None else str(self.residue_table)
        problems = [problem.to_dict() for problem in self.problems]
        plain = {"out": str(self.out), "residue_table": table, "problems": problems}
        return {**values, **plain, "unlike_in": dict(self.unlike_in)}

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [f"{self.predicted:,} of {self.rows:,} rows predicted ({self.engine}): {self.out}"]
        if self.residue_table is not None:
            lines.append(f"a row per residue: {self.residue_table}")
        if self.truncated:
            longer = counted(self.truncated, "sequence was", "sequences were")
            lines.append(
                f"{longer} longer than the model reads (column truncated); --long windows reads them whole"
            )
        if self.windowed:
            windowed = counted(self.windowed, "sequence was", "sequences were")
            lines.append(f"{windowed} read in overlapping windows (column windows)")
        return "\n".join(lines)

    def list_failures(self) -> None:
        """Name the rows without a prediction, at the end, where they are seen."""
        if not self.failed:
            return
        lines = [f"  - {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if self.failed > SHOWN_PROBLEMS:
            lines.append(f"  - … and {self.failed - SHOWN_PROBLEMS:,} more (column error)")
        rows = "1 row has" if self.failed == 1 else f"{self.failed:,} rows have"
        log.warning("%s no prediction:\n%s", rows, "\n".join(lines))

    def warn_of_novelty(self) -> None:
        """Say that many sequences are unlike what the model was trained on, if they are."""
        if not self.predicted or self.unlike < MANY * self.predicted:
            return
        share = [
            f"{100 * count / self.predicted:.0f} % in {name}" for name, count in self.unlike_in.most_common()
        ]
        log.warning(
            "%.0f %% of the sequences look unlike the training data (column %s above %s): %s."
            " Predictions for them are guesses.",
            *(100 * self.unlike / self.predicted, NOVELTY, UNLIKE, ", ".join(share)),
        )
