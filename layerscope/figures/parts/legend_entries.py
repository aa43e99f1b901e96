"""Legend entries of looks, levels, marker sizes, bands and bars."""

import numpy as np
from jaxtyping import Int
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.parts.looks import Look, variant_look
from layerscope.figures.parts.markers import EDGE, MARKER, level_style, marker_size, size_by_affected
from layerscope.figures.parts.style import GREY, SHADE

__all__ = [
    "band_entry",
    "bar_entry",
    "filled_entry",
    "hollow_entry",
    "legend_entry",
    "level_entry",
    "size_entries",
]


def legend_entry(look: Look, name: str | None = None, joined: bool = True) -> Line2D:
    """Return the legend entry of a look."""
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
    """Return the legend entry of a level; `marked` adds the marker of the full model."""
    entry = Line2D([], [], **level_style(kind), label=kind)
    if marked:
        look = variant_look("identity")
        entry.set(marker=look.marker, markersize=MARKER, markerfacecolor=look.colour, markeredgecolor=look.colour)
    return entry


def size_entries(affected: Int[np.ndarray, " run"]) -> list[Line2D]:
    """Return legend entries of marker sizes: for the smallest, a middle and the largest number of affected blocks."""
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
    """Return the legend entry of hollow markers."""
    words = "accuracy not above chance" + (" in half the tasks" if several else "")
    return _marker_entry(words, "white")


def filled_entry(words: str) -> Line2D:
    """Return the legend entry of filled markers."""
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
    """Return the legend entry of a band."""
    return Patch(color=SHADE, label=words)


def bar_entry(words: str) -> Line2D:
    """Return the legend entry of vertical bars."""
    return Line2D([], [], linestyle="", marker="|", markersize=6.0, markeredgewidth=0.8, color=GREY, label=words)
