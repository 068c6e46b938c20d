"""What the page says of data that were divided."""

from __future__ import annotations

from typing import Any

from profactory.web import checked
from profactory.web.words import Words

ENGLISH = Words("en")
LEAKAGE: dict[str, Any] = {
    "method": "mmseqs2", "exact_duplicates": {"train-test": 2}, "test_rows_examined": 10,
    "near_duplicates": 3,
    "no_relative_found": 4, "warning": "much",
    "identity_histogram": {"edges": [0.0, 0.5, 1.0], "counts": [6, 4]},
}  # fmt: skip
REPORT: dict[str, Any] = {"counts": {"train": 80, "validation": 10, "test": 10}, "leakage": LEAKAGE}


def test_a_division_is_shown_with_the_relatives_of_the_test_set() -> None:
    shown = checked.division(REPORT, ENGLISH)
    assert all(text in shown for text in ("3 / 10", "4 / 10", "<dd>80</dd>", "<dd>2</dd>", "pf-warn"))
    assert "MMseqs2 is not installed" not in shown
    figure = checked.relatives_chart(REPORT, ENGLISH)
    assert figure is not None
    (trace,) = figure.data
    assert list(trace.x) == [25.0, 75.0]
    assert list(trace.y) == [6, 4]


def test_an_estimate_is_called_so_and_nothing_is_said_where_nobody_looked() -> None:
    estimated = {**REPORT, "leakage": {**LEAKAGE, "method": "kmer_estimate", "warning": ""}}
    shown = checked.division(estimated, ENGLISH)
    assert "MMseqs2 is not installed" in shown
    assert "pf-warn" not in shown
    without = {**REPORT, "leakage": None}
    assert checked.relatives_chart(without, ENGLISH) is None
    assert "identity" not in checked.division(without, ENGLISH)
