"""A sequence with every residue coloured by its class or its number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from profactory.web.charts import COLOURS
from profactory.web.markup import cell, safe
from profactory.web.words import Words

BLOCK = 10
#: Cividis (Nuñez et al. 2018, https://doi.org/10.1371/journal.pone.0199239) at five places from low to high.
SCALE = ((0, 34, 78), (66, 78, 107), (125, 124, 120), (188, 175, 111), (254, 232, 56))


def coloured(sequence: str, record: Mapping[str, Any], words: Words) -> str:
    """Show a sequence in blocks of ten residues, each coloured by what was predicted for it.

    Parameters
    ----------
    sequence
        Residue letters.
    words
        Texts of the legend.
    record
        One record of ``profactory predict --json``: ``prediction`` is one letter or one item per residue.
    """
    items = _items(str(record.get("prediction", "")), len(sequence))
    numbers = [_number(item) for item in items]
    if any(number is not None for number in numbers):
        return _by_number(sequence, numbers, words)
    return _by_class(sequence, items)


def _items(text: str, length: int) -> list[str]:
    found = text.split(",") if "," in text or length == 1 else list(text)
    return (found + [""] * length)[:length]


def _by_class(sequence: str, items: Sequence[str]) -> str:
    names = sorted(set(items) - {"", "-"})
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    marks = [(f"background:{colours[i]};color:#fff" if i in colours else "", i) for i in items]
    legend = "".join(
        f'<span class="pf-key"><i style="background:{colours[name]}"></i>{safe(name)} '
        f"({items.count(name)})</span>"
        for name in names
    )
    return _blocks(sequence, marks) + f'<p class="pf-small">{legend}</p>'


def _by_number(sequence: str, numbers: Sequence[float | None], words: Words) -> str:
    known = [number for number in numbers if number is not None]
    low, high = min(known), max(known)
    marks = [("", "") if n is None else (_shade((n - low) / ((high - low) or 1.0)), cell(n)) for n in numbers]
    ramp = ", ".join(f"rgb{colour}" for colour in SCALE)
    legend = (
        f'<span class="pf-key">{safe(cell(low))} '
        f'<i style="width:120px;background:linear-gradient(90deg,{ramp})"></i> {safe(cell(high))}</span>'
    )
    return _blocks(sequence, marks) + f'<p class="pf-small">{safe(words("predict.scale"))} {legend}</p>'


def _blocks(sequence: str, marks: Sequence[tuple[str, str]]) -> str:
    parts = []
    for start in range(0, len(sequence), BLOCK):
        letters = "".join(
            f'<b style="{style}" title="{safe(f"{letter}{place + 1}: {item}")}">{safe(letter)}</b>'
            for place, (letter, (style, item)) in enumerate(
                zip(sequence[start : start + BLOCK], marks[start : start + BLOCK], strict=True), start
            )
        )
        parts.append(f'<span class="pf-block"><small>{start + 1}</small>{letters}</span>')
    return f'<div class="pf-residues">{"".join(parts)}</div>'


def _shade(share: float) -> str:
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    lower = min(int(place), len(SCALE) - 2)
    mixed = [
        round(a + (b - a) * (place - lower)) for a, b in zip(SCALE[lower], SCALE[lower + 1], strict=True)
    ]
    ink = "#fff" if share < 0.6 else "#111"
    return f"background:rgb({mixed[0]},{mixed[1]},{mixed[2]});color:{ink}"


def _number(item: str) -> float | None:
    try:
        value = float(item)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
