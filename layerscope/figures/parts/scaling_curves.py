"""Draw the size of each segment against the size of the model: points with intervals, and the curve that the data support."""

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from layerscope.figures.parts.axes import number_ticks
from layerscope.figures.parts.figure import axes_size, longest_fitting
from layerscope.figures.parts.legend_entries import bar_entry, legend_entry
from layerscope.figures.parts.looks import Look
from layerscope.figures.parts.markers import EDGE, MARKER, marker_size
from layerscope.figures.parts.style import FIRST, GREY, SECOND

__all__ = ["draw_counts", "draw_shares", "scaling_entries"]

_LOOKS = {
    "beginning": Look("beginning", FIRST, "o"),
    "middle": Look("middle", GREY, "s"),
    "ending": Look("ending", SECOND, "^"),
}
_ASIDE = {"beginning": -1, "middle": 0, "ending": 1}
_APART = 0.018  # of the axis, between the intervals of two segments
_MARGIN = 0.08
_DASH = 1.08  # half the length of a dash, as a factor
_ROUND = (1.0, 2.0, 5.0)
_TICK_APART = 0.3  # inches


def scaling_entries(reading: xr.Dataset) -> list[Line2D | Patch]:
    """Return legend entries of each segment with its supported form, and of the bars."""
    forms = dict(zip(reading.segment.values.tolist(), reading.supported.values.tolist(), strict=True))
    named = [legend_entry(look, f"{look.name}: {forms[name]}") for name, look in _LOOKS.items()]
    return [*named, bar_entry("95 % interval over texts")]


def draw_counts(axes: Axes, reading: xr.Dataset) -> None:
    """Draw the layers of each segment against the states of each model, on logarithmic axes.

    There a proportional size is a line of slope 1, and a constant size a level line.
    """
    states = reading.states.values.astype(np.float64)
    _set_size_axis(axes, states, whole=True)
    axes.set_yscale("log")
    along = np.geomspace(states.min(), states.max(), 60)
    for name in _LOOKS:
        of = reading.sel(segment=name)
        if of.supported.item() == "logarithmic":  # in parameters, which are known at the models only
            _draw_segment(axes, name, states, of, "size", *_dashes(states, _fitted(of, reading)))
        else:
            _draw_segment(axes, name, states, of, "size", along, _predicted(of, along))
    axes.yaxis.set_major_locator(LogLocator(subs=_ROUND, numticks=12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(number_ticks())
    drawn = np.concatenate([line.get_ydata() for line in axes.get_lines()]).astype(np.float64)
    ends = [reading["size"].values, reading["size_high"].values]
    axes.set_ylim(min(0.8, 0.9 * float(np.nanmin(drawn))), 1.25 * float(np.nanmax(ends)))
    width, height = axes_size(axes)
    axes.set_xlabel(longest_fitting(["states (blocks + 1)", "states"], width))
    axes.set_ylabel(longest_fitting(["layers of the segment", "layers"], height))


def draw_shares(axes: Axes, reading: xr.Dataset) -> None:
    """Draw the share of the states in each segment against the parameters, or the states if some are unknown."""
    known = not np.isnan(reading.parameters.values).any()
    scale = (reading.parameters if known else reading.states).values.astype(np.float64)
    _set_size_axis(axes, scale, whole=not known)
    order = np.argsort(scale, kind="stable")
    for name in _LOOKS:
        of = reading.sel(segment=name)
        _draw_segment(
            axes, name, scale, of, "proportion", scale[order], (_fitted(of, reading) / reading.states.values)[order]
        )
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(number_ticks())
    width, height = axes_size(axes)
    axes.set_xlabel("parameters" if known else longest_fitting(["states (blocks + 1)", "states"], width))
    axes.set_ylabel(longest_fitting(["proportion of the states", "proportion"], height))


def _draw_segment(
    axes: Axes,
    name: str,
    scale: Float[np.ndarray, " model"],
    of: xr.Dataset,
    quantity: str,
    along: Float[np.ndarray, " point"],
    curve: Float[np.ndarray, " point"],
) -> None:
    look = _LOOKS[name]
    low, high = axes.get_xlim()
    places = scale * (high / low) ** (_APART * _ASIDE[name])
    axes.plot(
        along, np.where(curve > 0, curve, np.nan), color=look.colour, linewidth=0.8, alpha=0.7, label=f"_{name} fit"
    )
    low_ends, high_ends = (of[f"{quantity}_{end}"].values for end in ("low", "high"))
    axes.vlines(places, low_ends, high_ends, color=look.colour, linewidth=1.0, zorder=2.0)
    axes.plot(
        places,
        of[quantity].values,
        linestyle="",
        color=look.colour,
        marker=look.marker,
        markersize=marker_size(look, MARKER),
        markeredgewidth=EDGE,
        label=name,
        zorder=2.1,
    )


def _dashes(
    states: Float[np.ndarray, " model"], fitted: Float[np.ndarray, " model"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Return a line with gaps: a short dash for each model."""
    ends = states[:, None] * np.array([1 / _DASH, _DASH, np.nan])
    return ends.ravel(), np.repeat(fitted, ends.shape[1])


def _predicted(of: xr.Dataset, along: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    best = of.sel(form=of.supported.item())
    curve: np.ndarray = float(best.intercept) + float(best.slope) * along
    return curve


def _fitted(of: xr.Dataset, reading: xr.Dataset) -> Float[np.ndarray, " model"]:
    """Return the supported form at each model."""
    logarithmic = of.supported.item() == "logarithmic"
    return _predicted(
        of, np.log10(reading.parameters.values) if logarithmic else reading.states.values.astype(np.float64)
    )


def _set_size_axis(axes: Axes, values: Float[np.ndarray, " model"], whole: bool) -> None:
    """Set a logarithmic axis with ticks at the states of the models, or at round numbers of parameters."""
    axes.set_xscale("log")
    low, high = float(values.min()), float(values.max())
    margin = max(high / low, 1.2) ** _MARGIN
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_minor_locator(NullLocator())
    if whole:
        axes.xaxis.set_major_locator(FixedLocator(_apart(axes, np.unique(values))))
    else:
        subs = _ROUND if high / low < 30 else (1.0, 3.0) if high / low < 300 else (1.0,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if whole else _parameters(value)))


def _apart(axes: Axes, values: Float[np.ndarray, " value"]) -> list[float]:
    """Return the values whose ticks do not collide, always including the last."""
    low, high = np.log(axes.get_xlim())
    places = axes_size(axes)[0] * (np.log(values) - low) / (high - low)
    kept = [len(values) - 1]
    for index in range(len(values) - 2, -1, -1):
        if places[kept[-1]] - places[index] >= _TICK_APART:
            kept.append(index)
    return [float(values[index]) for index in reversed(kept)]


def _parameters(value: float) -> str:
    """Return the tick text of a number of parameters.

    Examples
    --------
    >>> _parameters(2e7), _parameters(1e9), _parameters(5e5)
    ('20M', '1B', '500k')
    """
    for factor, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.999 * factor:
            return f"{value / factor:g}{letter}"
    return f"{value:g}"
