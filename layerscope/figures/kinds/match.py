"""Draw the best match of each layer in another capture."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from layerscope.arguments import checked
from layerscope.cross_model.layer_matching import best_match
from layerscope.figures.data.layer_matrix import measure_name
from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes
from layerscope.figures.parts.style import BAND, FIRST, GREY, LINE, SECOND, inches, styled

__all__ = ["match"]

_LEFT, _RIGHT, _TOP = 0.42, 0.08, 0.08  # inches
_BETWEEN, _BELOW, _KEY = 0.10, 0.36, 0.20
_DEPTHS, _VALUES = 0.78, 0.36  # heights of the two axes over their width
_ROUND = (0.0, 0.25, 0.5, 0.75, 1.0)


@checked
@styled
def match(result: xr.Dataset, measure: str = "cka", *, width: str | float = "single") -> Figure:
    """Draw the best-matching depth of each layer of one capture in another, and the value of the measure there.

    Above is relative depth in the second capture against relative depth in the first. The solid line is the best match in the
    second for each layer of the first; its band is the 95 % interval, if the analysis has a bootstrap. Hollow points are the
    best match in the first for each layer of the second. The grey diagonal is equal depth. Below is the measure at the best
    match.

    Parameters
    ----------
    result
        An analysis between two captures.
    measure
        One of its matrices; the best match has the largest similarity or the smallest distance.
    width
        ``single`` (3.33 inches), ``double`` (6.9) or inches.

    Raises
    ------
    UsageError
        The analysis is of one capture, or has no such matrix; `width` is invalid.
    MeasureError
        A layer has no value with any other.

    Examples
    --------
    >>> layers = {"layer": [0, 1], "layer_other": [0, 1, 2]}
    >>> cka = xr.DataArray([[0.9, 0.2, 0.1], [0.3, 0.4, 0.8]], layers, ("layer", "layer_other"))
    >>> figure = match(xr.Dataset({"cka": cka}, attrs={"model": "small", "model_other": "large"}))
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['relative depth in large', 'cka']
    """
    matches = best_match(result, measure)
    across = inches(width)
    side = across - _LEFT - _RIGHT
    tall, low = _DEPTHS * side, _VALUES * side
    top = _TOP + _KEY
    figure = Figure(figsize=(across, top + tall + _BETWEEN + low + _BELOW))
    depths = place_axes(figure, _LEFT, top, side, tall)
    values = place_axes(figure, _LEFT, top + tall + _BETWEEN, side, low)
    _draw_depths(depths, matches)
    _draw_line(values, matches, "best_value")
    _name_axes(depths, values, matches, measure_name(result[measure]))
    return figure


def _draw_depths(axes: Axes, matches: xr.Dataset) -> None:
    axes.plot([0.0, 1.0], [0.0, 1.0], color=GREY, linewidth=LINE, linestyle=(0, (4, 3)), zorder=1.0)
    _draw_line(axes, matches, "best_depth", "best in the second")
    axes.plot(
        matches["best_depth_other"],
        matches["depth_other"],
        linestyle="",
        marker="s",
        markersize=2.6,
        markerfacecolor="none",
        markeredgecolor=SECOND,
        markeredgewidth=0.6,
        label="best in the first",
        zorder=1.5,
    )
    axes.set_ylim(-0.03, 1.03)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2
    )


def _draw_line(axes: Axes, matches: xr.Dataset, name: str, label: str | None = None) -> None:
    depth = np.asarray(matches["depth"], dtype=np.float64)
    if f"{name}_low" in matches:
        axes.fill_between(
            depth, matches[f"{name}_low"], matches[f"{name}_high"], color=FIRST, alpha=BAND, linewidth=0.0
        )
    axes.plot(depth, matches[name], color=FIRST, marker="o", markeredgewidth=0.0, label=label, zorder=2.0)


def _name_axes(depths: Axes, values: Axes, matches: xr.Dataset, measured: str) -> None:
    models = [str(matches.attrs.get(name) or words) for name, words in (("model", "first"), ("model_other", "second"))]
    if models[0] == models[1]:
        models = ["the first capture", "the second capture"]
    for axes in (depths, values):
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks(_ROUND)
    depths.set_yticks(_ROUND)
    depths.tick_params(labelbottom=False)
    width, tall = axes_size(depths)
    depths.set_ylabel(longest_fitting([f"relative depth in {models[1]}", "relative depth, second"], tall))
    values.set_xlabel(longest_fitting([f"relative depth in {models[0]}", "relative depth, first"], width))
    values.set_ylabel(
        longest_fitting([measured, str(matches.attrs["measure"]).replace("_", " ")], axes_size(values)[1])
    )
