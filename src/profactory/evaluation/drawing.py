"""Figures without global state: matplotlib's object interface on the Agg canvas.

Colours are Okabe & Ito's (https://jfly.uni-koeln.de/color/) and cividis: told apart with any colour
vision. Text from data is never parsed as mathematics and never breaks a figure.
"""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Sequence

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
GREY, LIGHT, INK = "#8a8f98", "#e3e6ea", "#24292f"
DPI = 160
_OTHER_SCRIPTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Arial Unicode MS",
)


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure of `width` x `height` inches and its axes, row by row."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat:
        _tidy(each)
    return figure, list(axes.flat)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(visible=True, color=LIGHT, linewidth=0.7)
    axes.set_axisbelow(True)


def name_axes(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Label the axes; texts may come from data."""
    axes.set_xlabel(plain(x, 60), fontsize=10, color=INK)
    axes.set_ylabel(plain(y, 60), fontsize=10, color=INK)
    if title:
        axes.set_title(plain(title, 70), fontsize=11, color=INK, loc="left")


def show_legend(axes: Axes, *, title: str = "", outside: bool = False) -> None:
    """Add a quiet legend, inside where there is room or to the right of the axes."""
    if outside:
        axes.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title=title,
            title_fontsize=8.5,
            fontsize=8.5,
            frameon=False,
            labelcolor=INK,
            alignment="left",
        )
    else:
        axes.legend(loc="best", fontsize=8.5, frameon=False, labelcolor=INK)


def plain(text: str, limit: int = 28) -> str:
    """Return text from data as matplotlib shall show it: one line, not too long, no mathematics."""
    line = "".join(c if c.isprintable() else " " for c in str(text))
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    line = " " + line if line.startswith("_") else line  # matplotlib hides labels with an underscore
    return re.sub(r"\\*\$", r"\\$", line)


def label_ticks(
    axes: Axes, labels: Sequence[str], *, x: bool = False, limit: int = 24, size: float = 9
) -> None:
    """Name the ticks 0, 1, … of the y axis (or the x axis, turned if the names are long)."""
    shown = [plain(label, limit) for label in labels]
    if not x:
        axes.set_yticks(range(len(shown)), shown, fontsize=size)
        return
    turn = 0 if max(map(len, shown), default=0) * len(shown) < 40 else 90
    axes.set_xticks(range(len(shown)), shown, fontsize=size, rotation=turn)


def png_of(figure: Figure) -> bytes:
    """Draw a figure to the bytes of a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A script that no installed font covers is drawn as boxes; that is no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        for axes in figure.axes:  # whose ticks are made when they are asked for
            axes.get_xticklabels(), axes.get_yticklabels()
        for text in figure.findobj(Text):
            text.set_fontfamily(list(_families()))
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


@functools.cache
def _families() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return ("DejaVu Sans", *(name for name in _OTHER_SCRIPTS if name in installed))
