"""How numbers are written for people."""

from __future__ import annotations

import math

MISSING = "–"


def number(value: float | int | None, *, sign: bool = False) -> str:
    """Return a number with three decimals, or in four digits where three decimals say nothing.

    Examples
    --------
    >>> number(0.8123), number(1234.5678), number(0.00012), number(None), number(0.1, sign=True)
    ('0.812', '1,235', '0.00012', '–', '+0.100')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    plus = "+" if sign else ""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:{plus},.0f}"
    if value != 0 and abs(value) < 0.001:
        return f"{value:{plus}.2g}"
    return f"{value:{plus}.3f}" if abs(value) < 10 else f"{value:{plus}.4g}"


def interval(low: float | None, high: float | None) -> str:
    """Return ``0.780 to 0.840``, or nothing where there is no interval."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{number(low)} to {number(high)}"
