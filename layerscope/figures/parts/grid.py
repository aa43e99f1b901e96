"""Panels of one size in rows, measured in inches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from layerscope.figures.parts.figure import Figure, axes_size, longest_fitting, place_axes, wrapped
from layerscope.figures.parts.legend import draw_legend, legend_height
from layerscope.figures.parts.style import TEXT

__all__ = ["Grid", "PanelRows", "Spacing", "arrange", "even_rows", "make_grid"]

_TWO_BELOW = 5.0  # inches: narrower figures have two panels in a row, wider ones three
_LEFT, _RIGHT, _BETWEEN = 0.42, 0.08, 0.12  # inches; panels with separate ticks are `_LEFT` apart
_TICKS, _DOWN, _BELOW = 0.14, 0.10, 0.36
_TITLE, _LINE = 0.08, 0.115
_TOP = 0.08  # without a legend


@dataclass(frozen=True)
class Spacing:
    """Inches around the panels of a figure.

    Attributes
    ----------
    left, right
        Between the edges of the figure and the outer panels of a row.
    between
        Between the panels of a row.
    down
        Between the axes of a row and the titles of the next.
    title, line
        Above a row with titles, and for each line of the longest title.
    """

    left: float
    right: float
    between: float
    down: float
    title: float = 0.0
    line: float = 0.0


@dataclass(frozen=True)
class PanelRows:
    """Positions of equal panels in rows.

    Attributes
    ----------
    width, height
        Inches of a panel.
    corners
        Inches from the left and the top of the figure to the top left corner of each panel, row by row.
    titles
        Lines of the title of each panel.
    in_a_row
        Number of panels in a full row.
    """

    width: float
    height: float
    corners: list[tuple[float, float]]
    titles: list[list[str]]
    in_a_row: int

    @property
    def top(self) -> float:
        """Inches from the top of the figure to the first row."""
        return self.corners[0][1]

    @property
    def bottom(self) -> float:
        """Inches from the top of the figure to the lower edge of the last row."""
        return self.corners[-1][1] + self.height

    def place(self, figure: MatplotlibFigure, **title: Any) -> list[Axes]:
        """Add the axes with their titles to a figure."""
        places = []
        for (left, top), words in zip(self.corners, self.titles, strict=True):
            axes = place_axes(figure, left, top, self.width, self.height)
            if words:
                axes.set_title("\n".join(words), loc="left", **({"pad": 3.0} | title))
            places.append(axes)
        return places


def _wrap(title: str, room: float) -> list[str]:
    return [part for line in title.split("\n") for part in wrapped(line, TEXT, room)]


def arrange(
    across: float,
    titles: Sequence[str],
    spacing: Spacing,
    *,
    in_a_row: int,
    ratio: float,
    columns: int | None = None,
    top: float = 0.0,
    wrap: Callable[[str, float], list[str]] = _wrap,
) -> PanelRows:
    """Compute the positions of a panel for each title; empty titles use no space.

    Parameters
    ----------
    across
        Width of the figure in inches.
    titles
        Titles above the panels.
    spacing
        Inches around the panels.
    in_a_row
        Number of panels in a row.
    ratio
        Height of a panel over its width.
    columns
        Number of panels that would fill a row, if more than `in_a_row`.
    top
        Inches above the first row.
    wrap
        Function that breaks a title into lines no wider than some inches.

    Examples
    --------
    >>> rows = arrange(3.0, ["", "", ""], Spacing(0.4, 0.1, 0.1, 0.2), in_a_row=2, ratio=0.5)
    >>> (round(rows.width, 2), round(rows.height, 2)), [(round(left, 2), round(top, 2)) for left, top in rows.corners]
    ((1.2, 0.6), [(0.4, 0.0), (1.7, 0.0), (0.4, 0.8)])
    """
    columns = columns or in_a_row
    width = (across - spacing.left - spacing.right - (columns - 1) * spacing.between) / columns
    height = width * ratio
    lines = [wrap(title, width) for title in titles]
    corners = []
    for first in range(0, len(lines), in_a_row):
        deepest = max(len(words) for words in lines[first : first + in_a_row])
        if deepest:
            top = top + spacing.title + spacing.line * deepest
        count = len(lines[first : first + in_a_row])
        corners += [(spacing.left + column * (width + spacing.between), top) for column in range(count)]
        top = top + height + spacing.down
    return PanelRows(width, height, corners, lines, in_a_row)


def even_rows(count: int, most: int) -> int:
    """Return the number of panels in a row, at most `most`, for rows as even as possible.

    Examples
    --------
    >>> even_rows(4, 3), even_rows(6, 3), even_rows(2, 3)
    (2, 3, 2)
    """
    return -(-count // -(-count // most))


@dataclass(frozen=True)
class Grid:
    """A figure with panels.

    Attributes
    ----------
    figure
        The figure.
    places
        The axes, row by row.
    in_a_row
        Number of panels in a row.
    """

    figure: Figure
    places: list[Axes]
    in_a_row: int

    def name_axes(self, across: Sequence[str], up: Sequence[str], shared: bool) -> None:
        """Name the outer axes by the longest names that fit.

        With `shared` scales, inner panels get no numbers.
        """
        for index, axes in enumerate(self.places):
            width, height = axes_size(axes)
            if index + self.in_a_row >= len(self.places):
                axes.set_xlabel(longest_fitting(across, width))
            if index % self.in_a_row == 0:
                axes.set_ylabel(longest_fitting(up, height))
            elif shared:
                axes.tick_params(labelleft=False)


def make_grid(
    across: float,
    titles: Sequence[str],
    groups: Sequence[Sequence[Line2D | Patch]] = (),
    *,
    height: float = 0.8,
    shared: bool = True,
    right: float = 0.0,
) -> Grid:
    """Make a figure with a legend above and a panel for each title.

    Parameters
    ----------
    across
        Width of the figure in inches.
    titles
        Titles above the panels; empty ones use no space.
    groups
        Entries of the legend; each group begins a row.
    height
        Height of a panel over its width.
    shared
        Whether panels share the scale upwards: then only the first of a row has numbers, and panels are closer.
    right
        Inches to leave free at the right.
    """
    room = across - _LEFT - _RIGHT
    rows = arrange(
        across,
        titles,
        Spacing(_LEFT, _RIGHT + right, _BETWEEN if shared else _LEFT, _TICKS + _DOWN, _TITLE, _LINE),
        in_a_row=even_rows(len(titles), 2 if across < _TWO_BELOW else 3),
        ratio=height,
        top=max(_TOP, legend_height(groups, room)),
    )
    figure = Figure(figsize=(across, rows.bottom + _BELOW))
    places = rows.place(figure)
    for axes in places:
        axes.spines[["top", "right"]].set_visible(False)
    draw_legend(figure, groups, _LEFT, room)
    return Grid(figure, places, rows.in_a_row)
