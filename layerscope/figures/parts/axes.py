"""Ticks, limits and names of axes."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, SymmetricalLogLocator

from layerscope.figures.data.sweep_curves import Curve
from layerscope.figures.parts.figure import axes_size

__all__ = [
    "affected_names",
    "number_ticks",
    "set_affected_axis",
    "set_ticks_across",
    "set_value_axis",
    "set_whole_axis",
    "share_values",
]

_TICK_APART = 0.34  # inches
# Ticks within a decade, by the least room for ticks in each decade.
_WITHIN = {12.0: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), 4.0: (1.0, 2.0, 5.0), 2.5: (1.0, 3.0), 0.0: (1.0,)}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def set_value_axis(axes: Axes, logarithmic: bool = False, linear_within: float = 0.0, nbins: int = 5) -> None:
    """Set a value axis with few, round ticks.

    It is linear, logarithmic, or with `linear_within` linear up to this distance from 0 and logarithmic beyond.
    """
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(NullLocator())
    elif linear_within:
        axes.set_yscale("symlog", linthresh=linear_within, linscale=0.6)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10.0, linthresh=linear_within))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
    axes.autoscale_view(scalex=False)  # margins in the new scale
    axes.yaxis.set_major_formatter(number_ticks())


def share_values(places: Sequence[Axes]) -> None:
    """Give all panels the same value limits, which include those of each."""
    limits = [axes.get_ylim() for axes in places]
    for axes in places:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def written(value: float) -> str:
    """Return the text of a tick: the number in full, or a power of ten if that is shorter.

    Examples
    --------
    >>> written(-0.25), written(1000.0), written(1e5)
    ('−0.25', '1000', '10⁵')
    """
    power = round(math.log10(value)) if value > 0 else 0
    if power >= 4 and math.isclose(value, 10.0**power):
        return "10" + str(power).translate(_RAISED)
    return f"{value:g}".replace("-", "−")


def number_ticks() -> FuncFormatter:
    """Return the formatter of numbers at ticks."""
    return FuncFormatter(lambda value, _: written(float(value)))


def set_ticks_across(axes: Axes, logarithmic: bool = False) -> None:
    """Set as many round ticks across as fit; the limits must be final."""
    nbins = max(2, int(axes_size(axes)[0] / _TICK_APART))
    if logarithmic:
        low, high = axes.get_xlim()
        decades = math.log10(high / low)
        room = nbins / decades
        within = next(subs for least, subs in _WITHIN.items() if room > least)
        axes.xaxis.set_major_locator(LogLocator(subs=within, numticks=nbins))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(number_ticks())


def set_whole_axis(axes: Axes, low: int, high: int) -> None:
    """Set an axis across of whole numbers."""
    margin = max(0.7, 0.03 * (high - low))
    axes.set_xlim(low - margin, high + margin)
    nbins = max(4, int(axes_size(axes)[0] / _TICK_APART))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(nbins, 10), steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def set_affected_axis(places: Sequence[Axes], curves: Sequence[Curve]) -> None:
    """Set the axis across of all panels to the numbers of affected blocks of some curves."""
    counts = [int(count) for curve in curves for count in curve.affected]
    for axes in places:
        set_whole_axis(axes, min(min(counts), 1), max(counts))


def affected_names(depth: int) -> list[str]:
    """Return names of the axis of affected blocks in a model of `depth` blocks, longest first."""
    return [f"number of affected blocks, M (of {depth})", f"affected blocks, M (of {depth})", "affected, M", "M"]
