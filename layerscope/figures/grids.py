"""Small multiples: panels of one size in rows, counted in inches, with a key above them.

It knows sizes, not what is drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, SymmetricalLogLocator

from layerscope.figures.canvas import Figure, longest_fitting, place_axes, size_of, wrapped
from layerscope.figures.keys import draw_key, key_height
from layerscope.figures.style import TEXT

__all__ = [
    "Grid",
    "make_grid",
    "set_ticks_across",
    "set_value_axis",
    "set_whole_axis",
    "share_values",
    "written_ticks",
]

_TWO_BELOW = 5.0  # inches: narrower, a figure has two panels in a row, else three
_LEFT, _RIGHT, _ACROSS = 0.42, 0.08, 0.12  # inches: ticks and name, nothing, between panels that share them
_TITLE, _LINE_APART = 0.08, 0.115
_DOWN, _BELOW = 0.10, 0.36
_TICKS = 0.14
_TICK_APART = 0.34
_PLAIN = 0.08
# Ticks within a decade, where there is room for more than so many.
_WITHIN = {12.0: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0), 4.0: (1.0, 2.0, 5.0), 2.5: (1.0, 3.0), 0.0: (1.0,)}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Grid:
    """A figure with panels.

    Attributes
    ----------
    places
        The axes, row by row.
    in_a_row
        How many a row has.
    """

    figure: Figure
    places: list[Axes]
    in_a_row: int

    def name_axes(self, below: Sequence[str], beside: Sequence[str], shared: bool) -> None:
        """Name the axes, by the longest name that fits: below the lowest panel of a column, beside the first of a row.

        With `shared` scales panels further in have no numbers of their own.
        """
        for index, axes in enumerate(self.places):
            width, height = size_of(axes)
            if index + self.in_a_row >= len(self.places):
                axes.set_xlabel(longest_fitting(below, width))
            if index % self.in_a_row == 0:
                axes.set_ylabel(longest_fitting(beside, height))
            elif shared:
                axes.tick_params(labelleft=False)


def make_grid(
    across: float,
    titles: Sequence[str],
    groups: Sequence[Sequence[Line2D | Patch]] = (),
    *,
    height: float = 0.8,
    shared: bool = True,
    beside: float = 0.0,
) -> Grid:
    """Make a figure of as many panels as titles (empty ones take no room), a key above.

    Parameters
    ----------
    across
        Inches of the whole figure.
    titles
        Above the panels.
    groups
        Entries of the key, each group in rows of its own.
    height
        Of a panel, over its width.
    shared
        Whether panels share the scale upwards: then only the first of a row has numbers, and they stand closer.
    beside
        Inches to leave free at the right.
    """
    most = 2 if across < _TWO_BELOW else 3
    in_a_row = -(-len(titles) // -(-len(titles) // most))  # rows as even as they go
    apart = _ACROSS if shared else _LEFT
    side = (across - _LEFT - _RIGHT - beside - (in_a_row - 1) * apart) / in_a_row
    tall = side * height
    lines = [[part for line in title.split("\n") for part in wrapped(line, TEXT, side)] for title in titles]
    tops, below = [], max(_PLAIN, key_height(groups, across - _LEFT - _RIGHT))
    for first in range(0, len(lines), in_a_row):
        deepest = max(len(words) for words in lines[first : first + in_a_row])
        tops.append(below + (_TITLE + _LINE_APART * deepest if deepest else 0.0))
        below = tops[-1] + tall + _TICKS + _DOWN
    figure = Figure(figsize=(across, below - _TICKS - _DOWN + _BELOW))
    places = []
    for index, words in enumerate(lines):
        row, place = divmod(index, in_a_row)
        axes = place_axes(figure, _LEFT + place * (side + apart), tops[row], side, tall)
        axes.spines[["top", "right"]].set_visible(False)
        if words:
            axes.set_title("\n".join(words), loc="left", pad=3.0)
        places.append(axes)
    draw_key(figure, groups, _LEFT, across - _LEFT - _RIGHT)
    return Grid(figure, places, in_a_row)


def set_value_axis(axes: Axes, logarithmic: bool = False, linear_within: float = 0.0, nbins: int = 5) -> None:
    """Set the axis upwards, with few, round ticks, written out.

    Linear, logarithmic, or with `linear_within` logarithmic on both sides of 0 but linear so near to it.
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
    axes.autoscale_view(scalex=False)  # margins are those of the new scale
    axes.yaxis.set_major_formatter(written_ticks())


def share_values(places: Sequence[Axes]) -> None:
    """Give all panels the limits upwards that hold those of each."""
    limits = [axes.get_ylim() for axes in places]
    for axes in places:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def written(value: float) -> str:
    """Write a number at a tick: in full, or as a power of ten where that is shorter.

    Examples
    --------
    >>> written(-0.25), written(1000.0), written(1e5)
    ('−0.25', '1000', '10⁵')
    """
    power = round(math.log10(value)) if value > 0 else 0
    if power >= 4 and math.isclose(value, 10.0**power):
        return "10" + str(power).translate(_RAISED)
    return f"{value:g}".replace("-", "−")


def written_ticks() -> FuncFormatter:
    """Return what writes the numbers at the ticks of an axis."""
    return FuncFormatter(lambda value, _: written(float(value)))


def set_ticks_across(axes: Axes, logarithmic: bool = False) -> None:
    """Set as many round ticks across as have room, written out; the limits must be final."""
    nbins = max(2, int(size_of(axes)[0] / _TICK_APART))
    if logarithmic:
        low, high = axes.get_xlim()
        decades = math.log10(high / low)
        room = nbins / decades
        within = next(subs for least, subs in _WITHIN.items() if room > least)
        axes.xaxis.set_major_locator(LogLocator(subs=within, numticks=nbins))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=nbins, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(written_ticks())


def set_whole_axis(axes: Axes, low: int, high: int) -> None:
    """Set an axis of whole numbers across."""
    margin = max(0.7, 0.03 * (high - low))
    axes.set_xlim(low - margin, high + margin)
    nbins = max(4, int(size_of(axes)[0] / _TICK_APART))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(nbins, 10), steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
