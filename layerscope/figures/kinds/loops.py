"""How often a parallel stage should run: loops against the number of affected blocks, as colours.

A sweep in, a figure out.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.data.loop_map import LoopMap, Proportion, loop_map
from layerscope.figures.data.sweep_scores import Quantity, depth_of, quantity_of
from layerscope.figures.parts.figure import Figure, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.legend import bar_entry, draw_legend, legend_height
from layerscope.figures.parts.matrix import Scale, are_bright, draw_cells, draw_colour_bar, scale_of
from layerscope.figures.parts.style import GREY, LINE, TEXT, inches, styled

__all__ = ["loops"]

_LEFT, _RIGHT, _TOP, _BELOW = 0.42, 0.10, 0.06, 0.38  # inches round the map
_BAR, _BAR_BELOW, _LINE_APART = 0.08, 0.36, 0.12
_HEIGHT, _WIDE_HEIGHT = 0.85, 0.42  # of the width, narrow and wide
_WIDE = 5.0
_SEEN = [Stroke(linewidth=1.6, foreground="black"), Normal()]  # on any colour
_LOOKS: dict[str, dict[str, Any]] = {
    "best": {
        "linestyle": "",
        "marker": "o",
        "markersize": 3.0,
        "markerfacecolor": "white",
        "markeredgecolor": "black",
        "markeredgewidth": LINE,
        "clip_on": False,
        "zorder": 3.0,
    },
    "interval": {"color": "white", "linewidth": 0.8, "path_effects": _SEEN, "zorder": 2.8},
    "proportion": {
        "color": "white",
        "linestyle": (0, (4, 2)),
        "linewidth": 0.9,
        "path_effects": _SEEN,
        "zorder": 2.6,
    },
    "not above chance": {
        "linestyle": "",
        "marker": "x",
        "markersize": 2.2,
        "markeredgewidth": 0.5,
        "zorder": 2.4,
    },
}


@checked
@styled
def loops(
    dataset: xr.Dataset, quantity: str = "normalized", *, task: str | None = None, width: str | float = "single"
) -> Figure:
    """Draw looped parallel as a map: how often the stage runs, against the number of blocks in it (the paper's Fig. 10).

    Bright is good: a high score or a low loss. A dot marks the best number of loops for each M, the least of several
    equally good; where all are equal there is none. A bar through it goes over its 95 % interval, and a broken line is
    the best proportion of loops to M, with its own, where the sweep holds its examples: both come from drawing the
    examples again (see `layerscope.figures.data.loop_map.loop_map`). Crosses stand where accuracy is not above chance.
    `parallel` counts as one loop.

    Parameters
    ----------
    dataset
        A sweep with several loop counts, as from ``--variants looped_parallel --loops 1-28``.
    quantity
        As for `layerscope.figures.kinds.sweep.sweep`, but not ``perplexity``, which grows beyond any colour scale.
    task
        One task; all by default.
    width
        ``single``, ``double`` or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; perplexity; the sweep holds fewer than two loop counts.

    Examples
    --------
    >>> from layerscope.figures.data.example import example_sweep
    >>> figure = loops(example_sweep(), "loss")
    >>> figure.axes[0].get_ylabel()
    'loops'
    """
    if quantity_of(quantity).logarithmic:
        raise UsageError("perplexity grows beyond any colour scale: draw quantity loss, its logarithm")
    found, across = loop_map(dataset, quantity, task), inches(width)
    side = across - _LEFT - _RIGHT
    tall = side * (_HEIGHT if across < _WIDE else _WIDE_HEIGHT)
    groups = _key(found)
    top = max(_TOP, legend_height(groups, side))
    name = wrapped(found.found.names[0], TEXT, side)
    figure = Figure(figsize=(across, top + tall + _BELOW + _BAR + _BAR_BELOW + (len(name) - 1) * _LINE_APART))
    draw_legend(figure, groups, _LEFT, side)
    axes = place_axes(figure, _LEFT, top, side, tall)
    matrix = _matrix(found)
    scale = _draw_map(axes, matrix, found.found.quantity)
    _draw_crosses(axes, found, are_bright(matrix, scale))
    _draw_marks(axes, found)
    depth = depth_of(dataset)
    names = [f"number of affected blocks, M (of {depth})", f"affected blocks, M (of {depth})", "M"]
    axes.set_xlabel(longest_fitting(names, side))
    axes.set_ylabel("loops")
    draw_colour_bar(figure, place_axes(figure, _LEFT, top + tall + _BELOW, side, _BAR), scale, "\n".join(name))
    return figure


def _matrix(found: LoopMap) -> xr.DataArray:
    return xr.DataArray(
        found.values, dims=("loops", "affected"), coords={"loops": found.loops, "affected": found.affected}
    )


def _draw_map(axes: Axes, matrix: xr.DataArray, kind: Quantity) -> Scale:
    low, high = kind.ends or (float(np.nanmin(matrix)), float(np.nanmax(matrix)))
    scale = replace(scale_of([matrix], low, high if high > low else low + 1.0), distance=kind.better < 0)
    draw_cells(axes, matrix, scale)
    axes.set_aspect("auto")
    axes.set_ylim(-0.5, len(matrix) - 0.5)  # loops go up, as numbers on an axis do
    return scale


def _draw_crosses(axes: Axes, found: LoopMap, bright: Bool[np.ndarray, "loops affected"]) -> None:
    """Draw where accuracy says nothing; not under the intervals, beside which crosses would be stubs."""
    rows = found.loops[:, None]
    free = ~((found.low <= rows) & (rows <= found.high))  # NaN covers nothing
    for ink, of_ink in (("black", bright), ("white", ~bright)):
        up, along = np.nonzero((found.above == 0) & free & of_ink)
        look = _LOOKS["not above chance"] | {"color": ink}
        axes.add_line(Line2D(along, up, **look, label="_not above chance"))


def _draw_marks(axes: Axes, found: LoopMap) -> None:
    """Draw what is known of the best numbers of loops."""
    places, rows = np.arange(len(found.affected), dtype=np.float64), np.arange(len(found.loops))

    def draw(kind: str, along: np.ndarray | list[float], up: np.ndarray | list[float]) -> None:
        axes.add_line(Line2D(along, up, **_LOOKS[kind], label=f"_{kind}"))

    def row_of(loops: np.ndarray) -> np.ndarray:
        return np.asarray(np.interp(loops, found.loops, rows))

    if found.proportion is not None:
        wanted = found.proportion.loops_a_block * found.affected
        inside = (wanted >= found.loops[0]) & (wanted <= found.loops[-1])
        draw("proportion", places[inside], row_of(wanted[inside]))
    known = np.isfinite(found.best)
    sure = known & np.isfinite(found.low)
    for place, low, high in zip(places[sure], row_of(found.low[sure]), row_of(found.high[sure]), strict=True):
        draw("interval", [place, place], [low, high])
    draw("best", places[known], row_of(found.best[known]))


def _key(found: LoopMap) -> list[list[Line2D]]:
    def entry(kind: str, words: str, **look: Any) -> Line2D:
        return Line2D([], [], **(_LOOKS[kind] | look), label=words)

    on_paper = {"color": GREY, "path_effects": []}
    groups = [[entry("best", "best number of loops for each M")]]
    if np.isfinite(found.low).any():
        groups[0].append(bar_entry("its 95 % interval"))
    if found.proportion is not None:
        groups.append([entry("proportion", _words(found.proportion), **on_paper)])
    if (found.above == 0).any():
        groups.append([entry("not above chance", "accuracy not above chance", **on_paper)])
    return groups


def _words(proportion: Proportion) -> str:
    interval = "" if np.isnan(proportion.low) else f" [{proportion.low:.2f}, {proportion.high:.2f}]"
    return f"best proportion: loops = {proportion.loops_a_block:.2f} M{interval}"
