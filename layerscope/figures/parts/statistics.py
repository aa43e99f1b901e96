"""Draw one per-layer statistic with its intervals and references."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from layerscope.figures.data.layer_statistics import layer_numbers_of
from layerscope.figures.parts.figure import axes_size
from layerscope.figures.parts.missing import mark_missing
from layerscope.figures.parts.style import BAND, FIRST, GREY, SECOND

__all__ = ["CAPTURES", "REFERENCES", "draw_statistic", "spans_decades"]

CAPTURES: tuple[tuple[str, str, str, Literal["-", "--"]], ...] = (
    ("", "layer", FIRST, "-"),
    ("_other", "layer_other", SECOND, "--"),
)
"""Suffix of the variable, dimension, colour and line style of the first and the second capture."""

REFERENCES: dict[str, tuple[str, Any]] = {
    "null": ("by chance", (0, (1, 1.6))),
    "ceiling": ("split-half reliability", (0, (5, 1.6, 1, 1.6))),
}
"""Name in legends and line style of each reference of a measure."""

_MAGNITUDES = ("norm", "max_abs", "variance")
_FACTOR = 10.0  # magnitudes that grow by more have a logarithmic axis
_MARKER_APART = 0.045  # inches


def draw_statistic(axes: Axes, result: xr.Dataset, name: str) -> None:
    """Draw a statistic of one or two captures with its intervals, on a linear or logarithmic axis."""
    shown = []
    for suffix, dimension, colour, style in CAPTURES:
        if f"{name}{suffix}" not in result:
            continue
        layer, values = layer_numbers_of(result, dimension), np.asarray(result[f"{name}{suffix}"], dtype=np.float64)
        sparse = len(layer) * _MARKER_APART <= axes_size(axes)[0]
        axes.plot(layer, values, color=colour, linestyle=style, marker="o" if sparse else "", markeredgewidth=0.0)
        shown.append(values)
        bounds = [result.get(f"{name}{suffix}{bound}") for bound in ("_low", "_high")]
        if bounds[0] is not None and bounds[1] is not None:
            low, high = (np.asarray(bound, dtype=np.float64) for bound in bounds)
            axes.fill_between(layer, low, high, color=colour, alpha=BAND, linewidth=0.0)
            shown += [low, high]
    shown += _draw_references(axes, result, name)
    mark_missing(axes, *shown)
    everything = np.concatenate(shown)
    _set_scale(axes, name, everything[np.isfinite(everything)])


def spans_decades(values: np.ndarray) -> bool:
    """Return whether values need a logarithmic axis: all finite ones are positive, and grow more than tenfold.

    Examples
    --------
    >>> spans_decades(np.array([0.2, np.nan, 17.0])), spans_decades(np.array([0.0, 17.0])), spans_decades(np.array([]))
    (True, False, False)
    """
    finite = values[np.isfinite(values)]
    return finite.size > 0 and bool(finite.min() > 0 and finite.max() > _FACTOR * finite.min())


def _draw_references(axes: Axes, result: xr.Dataset, name: str) -> list[np.ndarray]:
    """Draw the permutation null with its interval, and the split-half reliability; return the drawn values."""
    layer, shown = layer_numbers_of(result, "layer"), []
    references = {
        ending: np.asarray(result[f"{name}_{ending}"]) for ending in REFERENCES if f"{name}_{ending}" in result
    }
    for ending, values in references.items():
        axes.plot(layer, values, color=GREY, linestyle=REFERENCES[ending][1], linewidth=0.8, zorder=1.8)
        shown.append(values)
    if "null" in references:
        low, high = (np.asarray(result[f"{name}_null_{bound}"]) for bound in ("low", "high"))
        axes.fill_between(layer, low, high, color=GREY, alpha=BAND, linewidth=0.0, zorder=1.5)
        shown += [low, high]
    return shown


def _set_scale(axes: Axes, name: str, values: np.ndarray) -> None:
    """Set a logarithmic or a linear axis, with ticks as full numbers without an offset."""
    if name in _MAGNITUDES and spans_decades(values):
        axes.set_yscale("log")
        decades = np.log10(values.max() / values.min())
        within = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 2.5 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=within, numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
