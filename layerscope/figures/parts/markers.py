"""Draw markers, lines with bands or bars, and levels."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from layerscope.figures.parts.looks import Look
from layerscope.figures.parts.style import GREY

__all__ = [
    "CHANCE",
    "EDGE",
    "FULL",
    "MARKER",
    "draw_level",
    "draw_markers",
    "draw_points",
    "level_style",
    "marker_size",
    "size_by_affected",
]

MARKER = 3.2  # points
EDGE = 0.8
_LARGER = {"P": 1.35, "X": 1.3, "*": 1.4, "d": 1.2}  # markers that fill little of their square
FULL, CHANCE = "full model", "chance"
_BAND = 0.18  # opacity
_LEAST, _MOST = 2.2, 4.8  # points: markers of runs that affect one block, and all blocks


def draw_points(
    axes: Axes,
    along: Float[np.ndarray, " point"],
    values: Float[np.ndarray, " point"],
    look: Look,
    above: Bool[np.ndarray, " point"] | None = None,
    *,
    low: Float[np.ndarray, " point"] | None = None,
    high: Float[np.ndarray, " point"] | None = None,
    band: bool = False,
    style: str = "-",
    size: float | Float[np.ndarray, " point"] = MARKER,
) -> None:
    """Draw points of one look, a line through them, and their band or bars; see `draw_markers`.

    Parameters
    ----------
    axes
        Axes to draw into.
    along, values
        Positions across and up.
    look
        Colour and marker; its name becomes the label of the line.
    above
        Points with filled markers; all by default.
    low, high
        Ends of bars, or of the band.
    band
        Whether to draw a band instead of bars.
    style
        Style of the line.
    size
        Size of a marker in points.
    """
    axes.plot(along, values, color=look.colour, linestyle=style, label=look.name, zorder=2.0)
    draw_markers(axes, along, values, look, above, size)
    if low is not None and high is not None:
        if band:
            axes.fill_between(along, low, high, color=look.colour, alpha=_BAND, linewidth=0.0, zorder=1.5)
        else:
            axes.vlines(along, low, high, color=look.colour, linewidth=0.6, alpha=0.55, zorder=1.8)


def draw_markers(
    axes: Axes,
    along: Float[np.ndarray, " point"],
    values: Float[np.ndarray, " point"],
    look: Look,
    above: Bool[np.ndarray, " point"] | None = None,
    size: float | Float[np.ndarray, " point"] = MARKER,
) -> None:
    """Draw markers of one look, hollow where `above` is false, and large ones first so that they hide no small one."""
    sizes = np.broadcast_to(np.asarray(size, dtype=np.float64), along.shape)
    filled = np.ones(along.shape, bool) if above is None else above
    order = np.argsort(-sizes, kind="stable")
    axes.scatter(
        along[order],
        values[order],
        s=marker_size(look, 1.0) ** 2 * sizes[order] ** 2,
        marker=look.marker,
        facecolors=[look.colour if full else "white" for full in filled[order]],
        edgecolors=look.colour,
        linewidths=EDGE,
        label=f"_{look.name}",
        zorder=2.1,
    )


def size_by_affected(affected: Float[np.ndarray, " point"], most: int) -> Float[np.ndarray, " point"]:
    """Return sizes of markers in points, which grow with the number of affected blocks up to `most`."""
    return np.asarray(_LEAST + (_MOST - _LEAST) * np.maximum(affected, 0.0) / max(most, 1))


def marker_size(look: Look, size: float = MARKER) -> float:
    """Return the size in points at which the markers of all looks have the same visual weight."""
    return size * _LARGER.get(look.marker, 1.0)


def draw_level(axes: Axes, value: float, kind: str, colour: str = GREY) -> None:
    """Draw the level of the full model (dashed) or of chance (dotted) across the axes."""
    axes.axhline(value, **(level_style(kind) | {"color": colour}), zorder=1.0, label=f"_{kind}")


def level_style(kind: str) -> dict[str, Any]:
    """Return the line style of a level."""
    return {"color": GREY, "linestyle": (0, (5, 2)) if kind == FULL else (0, (1, 1.6)), "linewidth": 0.8}
