"""Keys: what stands for a line, a level, a band, above a figure or at the ends of its lines.

It knows looks and axes, not sweeps.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.parts.figure import axes_size, text_width
from layerscope.figures.parts.markers import EDGE, LOOKS, MARKER, Look, level_style, marker_size, size_by_affected
from layerscope.figures.parts.segments import spread
from layerscope.figures.parts.style import GREY, LINE, SHADE, SMALL

__all__ = [
    "band_entry",
    "bar_entry",
    "draw_end_labels",
    "draw_legend",
    "end_labels_width",
    "filled_entry",
    "hollow_entry",
    "legend_entry",
    "legend_height",
    "level_entry",
    "size_entries",
]

_SAMPLE, _WORDS_FROM, _AFTER = 0.20, 0.27, 0.16  # inches: a key's sample, where its words begin, what follows them
_KEY_ROW, _ROW = 0.1275, 0.138  # inches from row to row of a key, and of names beside lines
_KEY_TOP, _KEY_BELOW = 0.06, 0.05
_BESIDE = 0.14  # inches between axes and samples beside them
_SAME = 0.02  # inches: heights nearer to each other are told apart by no eye
_POINTS = 72.0


def legend_entry(look: Look, name: str | None = None, joined: bool = True) -> Line2D:
    """Return what stands for a look in a key."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle="-" if joined else "",
        marker=look.marker,
        markersize=marker_size(look),
        markeredgewidth=EDGE,
        label=look.name if name is None else name,
    )


def level_entry(kind: str, marked: bool = False) -> Line2D:
    """Return what stands for a level in a key; `marked` where the full model is a point on it too."""
    entry = Line2D([], [], **level_style(kind), label=kind)
    if marked:
        look = LOOKS["identity"]
        entry.set(marker=look.marker, markersize=MARKER, markerfacecolor=look.colour, markeredgecolor=look.colour)
    return entry


def size_entries(affected: Int[np.ndarray, " run"]) -> list[Line2D]:
    """Return what stands for sizes of markers in a key: the least, a middle and the greatest number of affected blocks."""
    counts = np.unique(affected[affected > 0])
    if not counts.size:
        return []
    middle = counts[np.abs(counts - (counts[0] + counts[-1]) / 2).argmin()]
    shown = np.unique([counts[0], middle, counts[-1]])
    sizes = size_by_affected(shown.astype(np.float64), int(counts[-1]))
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=size,
            color=GREY,
            markeredgewidth=0.0,
            label=f"{count} affected",
        )
        for count, size in zip(shown, sizes, strict=True)
    ]


def hollow_entry(several: bool) -> Line2D:
    """Return what stands for hollow markers in a key."""
    words = "accuracy not above chance" + (" in half the tasks" if several else "")
    return _marker_entry(words, "white")


def filled_entry(words: str) -> Line2D:
    """Return what stands for filled markers in a key."""
    return _marker_entry(words, GREY)


def _marker_entry(words: str, fill: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="",
        marker="o",
        markersize=MARKER,
        color=GREY,
        markerfacecolor=fill,
        markeredgewidth=EDGE,
        label=words,
    )


def band_entry(words: str) -> Patch:
    """Return what stands for a band in a key."""
    return Patch(color=SHADE, label=words)


def bar_entry(words: str) -> Line2D:
    """Return what stands for vertical bars in a key."""
    return Line2D([], [], linestyle="", marker="|", markersize=6.0, markeredgewidth=0.8, color=GREY, label=words)


def _columns(names: Sequence[str], room: float) -> int:
    """Choose the columns of a key: as few rows as fit, then as even as they go, no row of one under a row of six."""
    widths = [_WORDS_FROM + text_width(name, SMALL) + _AFTER for name in names]
    for columns in range(len(names), 1, -1):
        across = sum(max(widths[place::columns]) for place in range(columns)) - _AFTER
        if across <= room:
            return -(-len(names) // -(-len(names) // columns))
    return 1


def legend_height(groups: Sequence[Sequence[Line2D | Patch]], room: float) -> float:
    """Return the inches a key takes at the top of a figure of which it may use `room` inches across."""
    rows = [-(-len(entries) // _columns(_names(entries), room)) for entries in groups if entries]
    return _KEY_TOP + _KEY_ROW * sum(rows) + _KEY_BELOW if rows else 0.0


def draw_legend(
    figure: Figure, groups: Sequence[Sequence[Line2D | Patch]], left: float, room: float, top: float = 0.0
) -> None:
    """Draw a key `top` inches down a figure, `left` inches in, to be read row by row, each group in rows of its own."""
    across, down = figure.get_size_inches()
    em = SMALL / _POINTS
    top += _KEY_TOP
    for entries in groups:
        if not entries:
            continue
        columns = _columns(_names(entries), room)
        figure.legend(
            handles=[entry for place in range(columns) for entry in entries[place::columns]],
            loc="upper left",
            bbox_to_anchor=(left / across, 1.0 - top / down),
            ncols=columns,
            borderpad=0.0,
            borderaxespad=0.0,
            handlelength=_SAMPLE / em,
            handletextpad=(_WORDS_FROM - _SAMPLE) / em,
            columnspacing=_AFTER / em,
            labelspacing=0.45,
            handleheight=0.7,
        )
        top += _KEY_ROW * -(-len(entries) // columns)


def _names(entries: Sequence[Line2D | Patch]) -> list[str]:
    return [str(entry.get_label()) for entry in entries]


def end_labels_width(entries: Sequence[Line2D]) -> float:
    """Return the inches that names beside the ends of lines take."""
    return _BESIDE + _WORDS_FROM + max(text_width(str(entry.get_label()), SMALL) for entry in entries)


def draw_end_labels(axes: Axes, entries: Sequence[Line2D], lines: Sequence[Float[np.ndarray, "_ 2"]]) -> None:
    """Name lines right of the axes with a sample of each, as near to its end as the others leave room, and tied to it.

    Lines that end together are named in the order in which they come there. Limits of the axes must be final: places
    are taken from them.

    Parameters
    ----------
    axes
        Where the lines are.
    entries
        What stands for each line in a key.
    lines
        Their points, across and up, from left to right; one point at the right for a level.
    """
    width, height = axes_size(axes)
    to_axes = axes.transScale + axes.transLimits
    paths = [np.clip(to_axes.transform(points), 0.0, 1.0) for points in lines]
    longest = max(map(len, paths))
    # From the end on backwards, as far as the eye tells heights apart.
    heights = np.stack([np.pad(path[::-1, 1], (0, longest - len(path)), "edge") for path in paths])
    order = np.lexsort(-np.round(heights * height / _SAME)[:, ::-1].T)
    places = spread([float((1.0 - heights[index, 0]) * height) for index in order], _ROW, 0.0, height)
    left = 1.0 + _BESIDE / width
    for index, place in zip(order, places, strict=True):
        entry, middle = entries[index], 1.0 - place / height
        across, up = paths[index][-1]
        # Level to the edge of the axes first: from there lines in the order of their heights cross nowhere.
        tie = Line2D(
            [across, 1.0, left], [up, up, middle], color=entry.get_color(), linewidth=LINE, alpha=0.5, zorder=1.2
        )
        sample = Line2D([left, left + _SAMPLE / 2 / width, left + _SAMPLE / width], [middle] * 3, markevery=[1])
        sample.update_from(entry)
        for line, words in ((tie, "tie to"), (sample, "end of")):
            line.set(transform=axes.transAxes, clip_on=False, label=f"_{words} {entry.get_label()}")
            axes.add_line(line)
        axes.text(
            left + _WORDS_FROM / width,
            middle,
            str(entry.get_label()),
            transform=axes.transAxes,
            fontsize=SMALL,
            verticalalignment="center_baseline",
        )
