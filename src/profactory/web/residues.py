"""What is known of every residue as a colour and a word: of a sequence, and of a chain in the viewer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from profactory.web.charts import COLOURS
from profactory.web.markup import cell, safe
from profactory.web.words import Words

BLOCK = 10
#: Cividis (Nuñez et al. 2018, https://doi.org/10.1371/journal.pone.0199239) at five places from low to high.
SCALE = ((0, 34, 78), (66, 78, 107), (125, 124, 120), (188, 175, 111), (254, 232, 56))
#: Helix, strand, coil (Okabe & Ito).
STATES = {"H": "#D55E00", "E": "#0072B2", "C": "#9ca3af"}
#: The bands of AlphaFold DB, https://alphafold.ebi.ac.uk: from this pLDDT on.
BANDS = ((90.0, "#0053D6"), (70.0, "#65CBF3"), (50.0, "#FFDB13"), (0.0, "#FF7D45"))
_DARK, _LIGHT = "#111", "#fff"
_BRIGHT = 0.36  # relative luminance from which dark letters are easier to read


@dataclass(frozen=True)
class Colouring:
    """A colour and a word for every residue.

    Parameters
    ----------
    colours
        ``#rrggbb``; empty for a residue of which nothing is known.
    marks
        What is known, in a word.
    legend
        HTML that says which colour means what.
    """

    colours: Sequence[str]
    marks: Sequence[str]
    legend: str


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
    return painted(sequence, by_prediction(str(record.get("prediction", "")), len(sequence), words))


def painted(sequence: str, colouring: Colouring) -> str:
    """Show a sequence in blocks of ten residues with a colouring and its legend."""
    parts = []
    for start in range(0, len(sequence), BLOCK):
        block = range(start, min(start + BLOCK, len(sequence)))
        letters = "".join(
            _letter(sequence[i], i + 1, colouring.colours[i], colouring.marks[i]) for i in block
        )
        parts.append(f'<span class="pf-block"><small>{start + 1}</small>{letters}</span>')
    return f'<div class="pf-residues">{"".join(parts)}</div>{colouring.legend}'


def by_prediction(text: str, length: int, words: Words) -> Colouring:
    """Colour by a prediction: one letter or one item per residue, classes or numbers."""
    items = _items(text, length)
    if any(_number(item) is not None for item in items):
        return by_number(items, words)
    names = sorted(set(items) - {"", "-", "?"})
    if set(names) <= set(STATES):  # as the structure itself is coloured
        return by_class(items, {name: colour for name, colour in STATES.items() if name in names})
    return by_class(items, {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)})


def by_class(
    items: Sequence[str], colours: Mapping[str, str], names: Mapping[str, str] | None = None
) -> Colouring:
    """Colour by class.

    Parameters
    ----------
    items
        Class of every residue.
    colours
        Of each class, in the order of the legend; others stay without.
    names
        What the legend calls a class; its own name if not given.
    """
    keys = [
        (colour, f"{(names or {}).get(name, name)} ({items.count(name)})") for name, colour in colours.items()
    ]
    return Colouring([colours.get(item, "") for item in items], items, _legend(keys))


def by_number(items: Sequence[str], words: Words) -> Colouring:
    """Colour by number, from the lowest to the highest; what is no number stays without a colour."""
    numbers = [_number(item) for item in items]
    known = [number for number in numbers if number is not None] or [0.0]
    low, high = min(known), max(known)
    ramp = ", ".join(f"rgb{colour}" for colour in SCALE)
    legend = (
        f'<p class="pf-small">{safe(words("predict.scale"))} <span class="pf-key">{safe(cell(low))} '
        f'<i style="width:120px;background:linear-gradient(90deg,{ramp})"></i> {safe(cell(high))}</span></p>'
    )
    colours = ["" if n is None else _shade((n - low) / ((high - low) or 1.0)) for n in numbers]
    return Colouring(colours, ["" if n is None else cell(n) for n in numbers], legend)


def by_confidence(items: Sequence[str]) -> Colouring:
    """Colour by pLDDT in the bands of AlphaFold DB."""
    numbers = [_number(item) for item in items]
    colours = ["" if n is None else next(colour for low, colour in BANDS if n >= low) for n in numbers]
    tops = ("100", *(f"{low:g}" for low, _ in BANDS))
    keys = [(colour, f"{low:g} – {top}") for (low, colour), top in zip(BANDS, tops, strict=False)]
    return Colouring(colours, ["" if n is None else f"pLDDT {n:g}" for n in numbers], _legend(keys))


def _legend(keys: Sequence[tuple[str, str]]) -> str:
    shown = "".join(
        f'<span class="pf-key"><i style="background:{colour}"></i>{safe(name)}</span>'
        for colour, name in keys
    )
    return f'<p class="pf-small">{shown}</p>'


def _items(text: str, length: int) -> list[str]:
    found = text.split(",") if "," in text or length == 1 else list(text)
    return (found + [""] * length)[:length]


def _letter(letter: str, number: int, colour: str, mark: str) -> str:
    style = f"background:{colour};color:{_ink(colour)}" if colour else ""
    return f'<b style="{style}" title="{safe(f"{letter}{number}: {mark}")}">{safe(letter)}</b>'


def _ink(colour: str) -> str:
    """Return the colour of letters on a ground, by its relative luminance (WCAG 2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return _DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > _BRIGHT else _LIGHT


def _shade(share: float) -> str:
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    lower = min(int(place), len(SCALE) - 2)
    mixed = [
        round(a + (b - a) * (place - lower)) for a, b in zip(SCALE[lower], SCALE[lower + 1], strict=True)
    ]
    return f"#{mixed[0]:02x}{mixed[1]:02x}{mixed[2]:02x}"


def _number(item: str) -> float | None:
    try:
        value = float(item)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
