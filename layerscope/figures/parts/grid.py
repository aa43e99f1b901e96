"""Small multiples: panels of one size in rows, counted in inches, with a key above them.

It knows sizes, not what is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.style import TEXT

__all__ = ["Grid", "make_grid"]

_TWO_BELOW = 5.0  # inches: narrower, a figure has two panels in a row, else three
_LEFT, _RIGHT, _ACROSS = 0.42, 0.08, 0.12  # inches: ticks and name, nothing, between panels that share them
_TITLE, _LINE_APART = 0.08, 0.115
_DOWN, _BELOW = 0.10, 0.36
_TICKS = 0.14
_PLAIN = 0.08


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
            width, height = axes_size(axes)
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
    tops, below = [], max(_PLAIN, legend_height(groups, across - _LEFT - _RIGHT))
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
    draw_legend(figure, groups, _LEFT, across - _LEFT - _RIGHT)
    return Grid(figure, places, in_a_row)
