"""Draw how much attention, MLP and the whole block add to the residual stream, and in which direction."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from layerscope.arguments import checked
from layerscope.errors import UsageError
from layerscope.figures.data.excluded_tokens import excluded_tokens, excluded_words
from layerscope.figures.data.layer_statistics import layer_numbers_of, statistics_of
from layerscope.figures.parts.axes import set_value_axis, set_whole_axis
from layerscope.figures.parts.figure import Figure, axes_size
from layerscope.figures.parts.grid import make_grid
from layerscope.figures.parts.legend_entries import legend_entry
from layerscope.figures.parts.looks import PARTS
from layerscope.figures.parts.markers import MARKER, draw_points
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.statistics import CAPTURES, spans_decades
from layerscope.figures.parts.style import GREY, LINE, inches, styled
from layerscope.segmentation.analysis_matrices import require_analysis

__all__ = ["contributions"]

_TITLES = {"ratio": "norm of the addition / norm of the state", "cosine": "cosine of the addition with the state"}
"""Title of a panel by the ending of its measures."""
_HEIGHT = 0.62  # of the width
_OF_STEP = 0.6  # size of a marker over the distance of blocks


@checked
@styled
def contributions(result: xr.Dataset, *, width: str | float = "double") -> Figure:
    """Draw the measures of blocks against the block: the size and the direction of what its parts add to the residual stream.

    Bootstrap intervals are bands. Norms that grow more than tenfold have a logarithmic axis. The second of two captures is
    dashed, with hollow markers. The titles state how many tokens at the start of each sequence the analysis leaves out.

    Parameters
    ----------
    result
        An analysis with some of ``attn_ratio``, ``mlp_ratio``, ``update_ratio``, ``attn_cosine``, ``mlp_cosine``,
        ``update_cosine`` over ``block``.
    width
        ``double`` (6.9 inches), ``single`` (3.33) or inches.

    Raises
    ------
    UsageError
        The analysis has no measure of blocks; `width` is invalid.

    Examples
    --------
    >>> figure = contributions(xr.Dataset({"attn_ratio": ("block", [9.0, 0.4]), "mlp_ratio": ("block", [0.5, 0.3])}))
    >>> [(axes.get_title(loc="left"), axes.get_yscale()) for axes in figure.axes]
    [('norm of the addition / norm of the state', 'log')]
    """
    require_analysis(result)
    known = statistics_of(result, "block")
    shown = {ending: [part for part in PARTS if f"{part}_{ending}" in known] for ending in _TITLES}
    shown = {ending: parts for ending, parts in shown.items() if parts}
    if not shown:
        raise UsageError("the analysis holds no measure of blocks: analyze again with --measures attn_ratio,mlp_ratio")
    titles = [_title(result, ending, parts) for ending, parts in shown.items()]
    drawn = [part for part in PARTS if any(part in parts for parts in shown.values())]
    grid = make_grid(inches(width), titles, _legend(result, drawn), height=_HEIGHT, shared=False)
    for axes, (ending, parts) in zip(grid.places, shown.items(), strict=True):
        _draw_panel(axes, result, ending, parts)
    return grid.figure


def _title(result: xr.Dataset, ending: str, parts: list[str]) -> str:
    """Return the title of a panel, and below it which tokens count where the analysis records it."""
    names = [f"{part}_{ending}" for part in parts]
    recorded = any("excluded_first" in result[name].attrs for name in names)
    return _TITLES[ending] + (f"\n{excluded_words(excluded_tokens(result, names))}" if recorded else "")


def _draw_panel(axes: Axes, result: xr.Dataset, ending: str, parts: list[str]) -> None:
    """Draw one kind of measure of some parts, of one or two captures."""
    values = []
    for part in reversed(parts):  # the whole block behind its parts
        for suffix, _, _, style in CAPTURES:
            name = f"{part}_{ending}{suffix}"
            if name not in result:
                continue
            block = layer_numbers_of(result, str(result[name].dims[0])).astype(np.float64)
            value = np.asarray(result[name], dtype=np.float64)
            low, high = (
                np.asarray(result[one], dtype=np.float64) if one in result else None
                for one in (f"{name}_low", f"{name}_high")
            )
            filled, size = np.full(len(block), not suffix), _marker_size(axes, len(block))
            draw_points(axes, block, value, PARTS[part], filled, low=low, high=high, band=True, style=style, size=size)
            values += [one for one in (value, low, high) if one is not None]
    mark_missing(axes, *values)
    set_value_axis(axes, ending == "ratio" and spans_decades(np.concatenate(values)))
    if ending == "cosine":
        axes.axhline(0.0, color=GREY, linewidth=LINE, zorder=1.0)
    _set_blocks(axes, result)


def _marker_size(axes: Axes, blocks: int) -> float:
    """Return a size of markers in points at which those of neighbouring blocks do not touch."""
    return min(MARKER, _OF_STEP * 72.0 * axes_size(axes)[0] / blocks)


def _set_blocks(axes: Axes, result: xr.Dataset) -> None:
    numbers = np.concatenate(
        [layer_numbers_of(result, name) for name in ("block", "block_other") if name in result.dims]
    )
    set_whole_axis(axes, int(numbers.min()), int(numbers.max()))
    axes.set_xlabel("block")


def _legend(result: xr.Dataset, parts: list[str]) -> list[list[Line2D]]:
    """Return legend entries of the parts of a block, and of the captures where there are two."""
    captures = [
        Line2D([], [], color=GREY, linestyle=style, label=f"{number} capture")
        for (_, _, _, style), number in zip(CAPTURES, ("first", "second"), strict=True)
        if "block_other" in result.dims
    ]
    return [[legend_entry(PARTS[part]) for part in parts], captures]
