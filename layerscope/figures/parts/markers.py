"""How a variant, a task and a level look: one colour and one marker each, the same in every figure.

It knows names and axes, not sweeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from layerscope.figures.parts.style import GREY

__all__ = [
    "CHANCE",
    "EDGE",
    "FULL",
    "LOOKS",
    "MARKER",
    "Look",
    "draw_level",
    "draw_markers",
    "draw_points",
    "level_style",
    "marker_size",
    "size_by_affected",
    "task_looks",
]

MARKER = 3.2  # points
EDGE = 0.8
_LARGER = {"P": 1.35, "X": 1.3, "*": 1.4, "d": 1.2}  # markers whose shape takes little of their square
FULL, CHANCE = "full model", "chance"
_BAND = 0.18  # opacity
_LEAST, _MOST = 2.2, 4.8  # points: markers of runs that affect one block and all


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
    above: Bool[np.ndarray, " point"] | None = None,
    *,
    low: Float[np.ndarray, " point"] | None = None,
    high: Float[np.ndarray, " point"] | None = None,
    band: bool = False,
    size: float | Float[np.ndarray, " point"] = MARKER,
) -> None:
    """Draw points of one look and a line through them, with their band or bars; see `draw_markers`.

    Parameters
    ----------
    axes
        Where.
    along, values
        Places across and up.
    look
        Their colour and marker; its name becomes the line's label.
    above
        Which points are filled; all by default.
    low, high
        Ends of bars, or of the band.
    band
        Whether they are a band.
    size
        Of a marker, in points.
    """
    axes.plot(along, values, color=look.colour, label=look.name, zorder=2.0)
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
    """Draw markers of one look, hollow where points are not above chance, the large ones first: none hides a small one."""
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
    """Return sizes of markers in points, that grow with the number of affected blocks up to the `most` of all runs."""
    return np.asarray(_LEAST + (_MOST - _LEAST) * np.maximum(affected, 0.0) / max(most, 1))


def marker_size(look: Look, size: float = MARKER) -> float:
    """Return the size in points at which markers of all looks weigh alike."""
    return size * _LARGER.get(look.marker, 1.0)


def draw_level(axes: Axes, value: float, kind: str, colour: str = GREY) -> None:
    """Draw the full model (broken line) or chance (dotted) as a level across the axes."""
    axes.axhline(value, **(level_style(kind) | {"color": colour}), zorder=1.0, label=f"_{kind}")


def level_style(kind: str) -> dict[str, Any]:
    """Return how a level is drawn."""
    return {"color": GREY, "linestyle": (0, (5, 2)) if kind == FULL else (0, (1, 1.6)), "linewidth": 0.8}
