"""Draw a map of looped parallel: loop count against number of affected blocks."""

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
from layerscope.figures.data.quantities import Quantity, quantity_of
from layerscope.figures.data.sweep_columns import depth_of
from layerscope.figures.parts.colour_scale import Scale, draw_colour_bar, scale_of
from layerscope.figures.parts.figure import Figure, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.legend_entries import bar_entry
from layerscope.figures.parts.matrix import are_bright, draw_cells
from layerscope.figures.parts.style import GREY, LINE, TEXT, inches, styled

__all__ = ["loops"]

_LEFT, _RIGHT, _TOP, _BELOW = 0.42, 0.10, 0.06, 0.38  # inches round the map
_BAR, _BAR_BELOW, _LINE_APART = 0.08, 0.36, 0.12
_HEIGHT, _WIDE_HEIGHT = 0.85, 0.42  # of the width, narrow and wide
_WIDE = 5.0
_OUTLINE = [Stroke(linewidth=1.6, foreground="black"), Normal()]  # visible on any colour
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
    "interval": {"color": "white", "linewidth": 0.8, "path_effects": _OUTLINE, "zorder": 2.8},
    "proportion": {
        "color": "white",
        "linestyle": (0, (4, 2)),
        "linewidth": 0.9,
        "path_effects": _OUTLINE,
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
    """Draw looped parallel as a map of loop count against the number of affected blocks, M (the paper's Fig. 10).

    High scores and low losses are bright. A dot marks the best loop count of each M: the smallest of equals, none if all are
    equal. If the sweep has its examples, a bar is the 95 % interval of the best count, and a dashed line the best loop counts
    in proportion to M; `layerscope.figures.data.loop_map.loop_map` describes the bootstrap. Crosses mark cells whose accuracy
    is not above chance. `parallel` is one loop.

    Parameters
    ----------
    dataset
        A sweep with several loop counts, as from ``--variants looped_parallel --loops 1-28``.
    quantity
        As for `layerscope.figures.kinds.sweep.sweep`, except ``perplexity``, whose range no colour scale can show.
    task
        One task; all by default.
    width
        ``single``, ``double`` or inches.

    Raises
    ------
    UsageError, MeasureError
        As `layerscope.figures.kinds.sweep.sweep`; perplexity; the sweep has fewer than two loop counts.

    Examples
    --------
    >>> from layerscope.figures.data.synthetic_sweep import example_sweep
    >>> figure = loops(example_sweep(), "loss")
    >>> figure.axes[0].get_ylabel()
    'loops'
    """
    if quantity_of(quantity).logarithmic:
        raise UsageError("perplexity exceeds any colour scale: draw its logarithm, quantity loss")
    counts, across = loop_map(dataset, quantity, task), inches(width)
    side = across - _LEFT - _RIGHT
    tall = side * (_HEIGHT if across < _WIDE else _WIDE_HEIGHT)
    groups = _legend(counts)
    top = max(_TOP, legend_height(groups, side))
    name = wrapped(counts.scores.names[0], TEXT, side)
    figure = Figure(figsize=(across, top + tall + _BELOW + _BAR + _BAR_BELOW + (len(name) - 1) * _LINE_APART))
    draw_legend(figure, groups, _LEFT, side)
    axes = place_axes(figure, _LEFT, top, side, tall)
    matrix = _matrix(counts)
    scale = _draw_map(axes, matrix, counts.scores.quantity)
    _draw_crosses(axes, counts, are_bright(matrix, scale))
    _draw_marks(axes, counts)
    depth = depth_of(dataset)
    names = [f"number of affected blocks, M (of {depth})", f"affected blocks, M (of {depth})", "M"]
    axes.set_xlabel(longest_fitting(names, side))
    axes.set_ylabel("loops")
    draw_colour_bar(figure, place_axes(figure, _LEFT, top + tall + _BELOW, side, _BAR), scale, "\n".join(name))
    return figure


def _matrix(counts: LoopMap) -> xr.DataArray:
    return xr.DataArray(
        counts.values, dims=("loops", "affected"), coords={"loops": counts.loops, "affected": counts.affected}
    )


def _draw_map(axes: Axes, matrix: xr.DataArray, kind: Quantity) -> Scale:
    low, high = kind.ends or (float(np.nanmin(matrix)), float(np.nanmax(matrix)))
    scale = replace(scale_of([matrix], low, high if high > low else low + 1.0), distance=kind.better < 0)
    draw_cells(axes, matrix, scale)
    axes.set_aspect("auto")
    axes.set_ylim(-0.5, len(matrix) - 0.5)  # loop counts grow upwards
    return scale


def _draw_crosses(axes: Axes, counts: LoopMap, bright: Bool[np.ndarray, "loops affected"]) -> None:
    """Draw crosses where accuracy is not above chance, except under intervals."""
    rows = counts.loops[:, None]
    free = ~((counts.low <= rows) & (rows <= counts.high))  # NaN: no interval
    for ink, of_ink in (("black", bright), ("white", ~bright)):
        up, along = np.nonzero((counts.above == 0) & free & of_ink)
        look = _LOOKS["not above chance"] | {"color": ink}
        axes.add_line(Line2D(along, up, **look, label="_not above chance"))


def _draw_marks(axes: Axes, counts: LoopMap) -> None:
    """Draw the best loop counts, their intervals and the best proportion."""
    places, rows = np.arange(len(counts.affected), dtype=np.float64), np.arange(len(counts.loops))

    def draw(kind: str, along: np.ndarray | list[float], up: np.ndarray | list[float]) -> None:
        axes.add_line(Line2D(along, up, **_LOOKS[kind], label=f"_{kind}"))

    def row_of(loops: np.ndarray) -> np.ndarray:
        return np.asarray(np.interp(loops, counts.loops, rows))

    if counts.proportion is not None:
        wanted = counts.proportion.loops_a_block * counts.affected
        inside = (wanted >= counts.loops[0]) & (wanted <= counts.loops[-1])
        draw("proportion", places[inside], row_of(wanted[inside]))
    known = np.isfinite(counts.best)
    sure = known & np.isfinite(counts.low)
    for place, low, high in zip(places[sure], row_of(counts.low[sure]), row_of(counts.high[sure]), strict=True):
        draw("interval", [place, place], [low, high])
    draw("best", places[known], row_of(counts.best[known]))


def _legend(counts: LoopMap) -> list[list[Line2D]]:
    def entry(kind: str, words: str, **look: Any) -> Line2D:
        return Line2D([], [], **(_LOOKS[kind] | look), label=words)

    on_paper = {"color": GREY, "path_effects": []}
    groups = [[entry("best", "best number of loops for each M")]]
    if np.isfinite(counts.low).any():
        groups[0].append(bar_entry("its 95 % interval"))
    if counts.proportion is not None:
        groups.append([entry("proportion", _words(counts.proportion), **on_paper)])
    if (counts.above == 0).any():
        groups.append([entry("not above chance", "accuracy not above chance", **on_paper)])
    return groups


def _words(proportion: Proportion) -> str:
    interval = "" if np.isnan(proportion.low) else f" [{proportion.low:.2f}, {proportion.high:.2f}]"
    return f"best proportion: loops = {proportion.loops_a_block:.2f} M{interval}"
