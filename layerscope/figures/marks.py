"""How a variant, a task and a level look: one colour and one marker each, the same in every figure, and their key.

It knows names and axes, not sweeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.brackets import spread
from layerscope.figures.canvas import size_of, text_width
from layerscope.figures.style import GREY, SHADE, SMALL

__all__ = [
    "LOOKS",
    "Look",
    "draw_end_labels",
    "draw_key",
    "draw_level",
    "draw_points",
    "end_labels_width",
    "hollow_entry",
    "key_entry",
    "key_height",
    "level_entry",
    "task_looks",
]

_MARKER = 3.2  # points
_EDGE = 0.8
_SAMPLE, _WORDS_FROM, _AFTER = 0.20, 0.27, 0.16  # inches: a key's sample, where its words begin, what follows them
_ROW = 0.138  # inches from row to row of a key
_KEY_TOP, _KEY_BELOW = 0.06, 0.05
_POINTS = 72.0
_BAND = 0.18  # opacity


@dataclass(frozen=True)
class Look:
    """Name, colour and marker of something drawn as points."""

    name: str
    colour: str
    marker: str


LOOKS: dict[str, Look] = {
    "identity": Look("full model", "#000000", "D"),
    "skip": Look("skip", "#0072B2", "o"),
    "middle_repeat": Look("middle repeat", "#D55E00", "s"),
    "reverse": Look("reverse", "#009E73", "^"),
    "random": Look("random order", "#CC79A7", "d"),
    "parallel": Look("parallel", "#E69F00", "v"),
    "looped_parallel": Look("looped parallel", "#56B4E9", "P"),
    "drop": Look("drop one", "#000000", "X"),
    "swap": Look("swap neighbours", "#882255", "p"),
    "repeat": Look("repeat range", "#8C6D31", "<"),
    "repeat_each": Look("repeat each", "#7B4173", ">"),
    "explicit": Look("written out", GREY, "h"),
}
"""Every variant, by name. The six that figures show together have six of the eight Okabe-Ito colours."""

# Tol's muted set, darkest first: told apart from each other without colour vision, and from the variants' own colours.
_TASK_COLOURS = ("#332288", "#CC6677", "#117733", "#882255", "#44AA99", "#999933", "#AA4499", "#88CCEE")
_TASK_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "*")


def task_looks(tasks: Sequence[str]) -> dict[str, Look]:
    """Return how the tasks of a sweep look, named without what comes before a colon where that leaves them distinct.

    Examples
    --------
    >>> [look.name for look in task_looks(["builtin:cloze", "lm-eval:piqa"]).values()]
    ['cloze', 'piqa']
    """
    short = [task.split(":", 1)[-1] for task in tasks]
    names = short if len(set(short)) == len(short) else list(tasks)
    return {
        task: Look(
            name.replace("_", " "),
            _TASK_COLOURS[index % len(_TASK_COLOURS)],
            _TASK_MARKERS[index % len(_TASK_MARKERS)],
        )
        for index, (task, name) in enumerate(zip(tasks, names, strict=True))
    }


def draw_points(
    axes: Axes,
    along: Float[np.ndarray, " point"],
    values: Float[np.ndarray, " point"],
    look: Look,
    above: Bool[np.ndarray, " point"],
    *,
    low: Float[np.ndarray, " point"] | None = None,
    high: Float[np.ndarray, " point"] | None = None,
    band: bool = False,
    joined: bool = True,
    size: float = _MARKER,
) -> None:
    """Draw points of one look, hollow where they are not above chance, with their band or bars.

    Parameters
    ----------
    axes
        Where.
    along, values
        Places across and up.
    look
        Their colour and marker; its name becomes the line's label.
    above
        Which points are filled.
    low, high
        Ends of bars, or of the band.
    band
        Whether they are a band.
    joined
        Whether a line goes through the points.
    size
        Of a marker, in points.
    """
    if low is not None and high is not None:
        if band:
            axes.fill_between(along, low, high, color=look.colour, alpha=_BAND, linewidth=0.0, zorder=1.5)
        else:
            axes.vlines(along, low, high, color=look.colour, linewidth=0.6, alpha=0.55, zorder=1.8)
    axes.plot(along, values, color=look.colour, linestyle="-" if joined else "", label=look.name, zorder=2.0)
    for which, inside in ((above, look.colour), (~above, "white")):
        if which.any():
            axes.plot(
                along[which],
                values[which],
                linestyle="",
                marker=look.marker,
                markersize=size,
                color=look.colour,
                markerfacecolor=inside,
                markeredgewidth=_EDGE,
                label=f"_{look.name}",
                zorder=2.1,
            )


def draw_level(axes: Axes, value: float, kind: str) -> None:
    """Draw the full model (broken line) or chance (dotted) as a level across the axes."""
    axes.axhline(value, **_level(kind), zorder=1.0)


def _level(kind: str) -> dict[str, object]:
    return {"color": GREY, "linestyle": (0, (5, 2)) if kind == "full model" else (0, (1, 1.6)), "linewidth": 0.8}


def key_entry(look: Look, name: str | None = None, joined: bool = True) -> Line2D:
    """Return what stands for a look in a key."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle="-" if joined else "",
        marker=look.marker,
        markersize=_MARKER,
        markeredgewidth=_EDGE,
        label=look.name if name is None else name,
    )


def level_entry(kind: str) -> Line2D:
    """Return what stands for a level in a key."""
    return Line2D([], [], **_level(kind), label=kind)


def hollow_entry(filled: bool = False) -> Line2D:
    """Return what stands for hollow markers in a key."""
    return Line2D(
        [],
        [],
        linestyle="",
        marker="o",
        markersize=_MARKER,
        color=GREY,
        markerfacecolor=GREY if filled else "white",
        markeredgewidth=_EDGE,
        label="accuracy above chance" if filled else "accuracy not above chance",
    )


def band_entry(words: str) -> Patch:
    """Return what stands for a band in a key."""
    return Patch(color=SHADE, label=words)


def _rows(names: Sequence[str], room: float) -> list[list[int]]:
    """Set a key's entries in rows of a column grid as wide as the widest of each column."""
    widths = [_WORDS_FROM + text_width(name, SMALL) + _AFTER for name in names]
    for columns in range(len(names), 0, -1):
        grid = [list(range(first, min(first + columns, len(names)))) for first in range(0, len(names), columns)]
        across = sum(max(widths[index] for index in range(place, len(names), columns)) for place in range(columns))
        if across - _AFTER <= room or columns == 1:
            # As many rows, but as even as they go: no row of one under a row of six.
            even = -(-len(names) // len(grid))
            return [list(range(first, min(first + even, len(names)))) for first in range(0, len(names), even)]
    return []


def key_height(entries: Sequence[Line2D | Patch], room: float) -> float:
    """Return the inches a key takes above a figure of which it may use `room` inches across."""
    if not entries:
        return 0.0
    return _KEY_TOP + _ROW * len(_rows([str(entry.get_label()) for entry in entries], room)) + _KEY_BELOW


def draw_key(figure: Figure, entries: Sequence[Line2D | Patch], left: float, room: float) -> None:
    """Draw a key at the top of a figure, row by row, from `left` inches on."""
    if not entries:
        return
    names = [str(entry.get_label()) for entry in entries]
    rows = _rows(names, room)
    across, down = figure.get_size_inches()
    offset = left
    for place in range(len(rows[0])):
        widest = 0.0
        for number, row in enumerate(rows):
            if place >= len(row):
                continue
            entry, name = entries[row[place]], names[row[place]]
            middle = 1.0 - (_KEY_TOP + _ROW * (number + 0.5)) / down
            _sample(figure, entry, offset / across, (offset + _SAMPLE) / across, middle)
            figure.text((offset + _WORDS_FROM) / across, middle, name, fontsize=SMALL, verticalalignment="center_baseline")
            widest = max(widest, _WORDS_FROM + text_width(name, SMALL) + _AFTER)
        offset += widest
